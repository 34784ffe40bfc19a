"""
Install what the tests in C{tests/foreign} need: clients of other brokers, written by
others in JavaScript, and what their own test suites run on.

Node and npm come from the system's package manager where they are not here yet.  What
npm installs is pinned by C{tests/foreign/package-lock.json}, and put beside the
environment of Python.  Where that cannot be, this says why, and those tests skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.system_packages import Call, call_quietly, install_packages

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ROOT / "tests" / "foreign"

#: Names another folder for what npm installs.
VARIABLE = "TASKQUEUE_FOREIGN"

#: What npm reads.
_FILES = ("package.json", "package-lock.json", ".npmrc")


def folder() -> Path:
    """Where npm's packages are, or will be."""
    return Path(os.environ.get(VARIABLE) or Path(sys.prefix) / "foreign")


def missing() -> str | None:
    """
    Why the tests with clients in JavaScript cannot run.

    @return: C{None} where they can.
    """
    if shutil.which("node") is None:
        return "node is not here: see tools/foreign.py"
    if not _is_installed():
        return "its packages are not installed, or are old ones: python -m tools.foreign"
    return None


def _is_installed() -> bool:
    """Whether what is installed is what is pinned now."""
    kept = folder() / "package-lock.json"
    if not (folder() / "node_modules").is_dir() or not kept.is_file():
        return False
    return kept.read_bytes() == (LOCKED / "package-lock.json").read_bytes()


def install(call: Call = call_quietly) -> str | None:
    """
    Install all of it.

    @return: C{None} when that is done, or why it is not.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        trouble = install_packages(["nodejs", "npm"], call)
        if trouble is not None:
            return trouble
    into = folder()
    into.mkdir(parents=True, exist_ok=True)
    (into / _FILES[1]).unlink(missing_ok=True)  # until it is done, it is not
    for name in (_FILES[0], _FILES[2]):
        shutil.copyfile(LOCKED / name, into / name)
    lock = into / _FILES[1]
    shutil.copyfile(LOCKED / _FILES[1], lock)
    try:
        done = call(["npm", "ci", "--silent", "--prefix", str(into)])
    except (OSError, subprocess.TimeoutExpired) as error:
        lock.unlink()
        return f"npm ci: {error}"
    if done.returncode:
        lock.unlink()
        return "npm ci failed: " + " ".join(done.stdout.strip().splitlines()[-3:])
    return None


def main() -> int:
    """
    See to it that all is here.

    @return: the exit status: 0 where it is now, 1 where it is not.
    """
    if missing() is None:
        return 0
    print("Clients of other brokers are not here for the tests: installing them.", flush=True)
    trouble = install() or missing()
    if trouble is None:
        return 0
    print(
        f"They are still not: {trouble}.\n"
        f"Tests that need them skip. Node and npm (Debian: apt-get install nodejs npm) and a"
        f" registry that npm reaches are needed.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
