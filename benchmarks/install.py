"""
What the races need: servers out of the system's packages, and an environment of
Python packages.

Nothing that a package starts is left running: every round starts a server of its
own.  Where something cannot be had, the race goes on without it and says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build" / "peers"
PINNED = ROOT / "requirements" / "peers.txt"

#: Where the system's packages put what is not on everybody's path, below the root.
PLACES = ("usr/lib/rabbitmq/bin", "usr/lib/postgresql/*/bin", "usr/sbin")

#: Programs, their packages on Debian and Ubuntu, and how each tells its version.
PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "beanstalkd": ("beanstalkd", ("-v",)),
    "redis-server": ("redis-server", ("--version",)),
    "rabbitmq-server": ("rabbitmq-server", ()),
    "gearmand": ("gearman-job-server", ("--version",)),
    "postgres": ("postgresql", ("--version",)),
}

_VERSION = re.compile(r"\d+(?:\.\d+)+")


def program(name: str) -> Path | None:
    """
    Where a program is: in the peers' environment, or else the system's; there not the
    commands in front that would run it as another user, who may not read our folders.
    """
    places = [str(PEERS / "bin")]
    for place in PLACES:
        places += map(str, Path("/").glob(place))
    found = shutil.which(name, path=":".join([*places, os.environ.get("PATH", "")]))
    return Path(found) if found else None


def peers_python() -> Path:
    """The interpreter of the peers' environment, which is made where it is not up to date."""
    stamp = PEERS / "installed.txt"
    python = PEERS / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != PINNED.read_text():
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "-r", str(PINNED)], check=True, cwd=ROOT
        )
        stamp.write_text(PINNED.read_text())
    return python


def missing(names: Iterable[str] = tuple(PROGRAMS)) -> list[str]:
    """Those of the programs that are not here."""
    return [name for name in names if program(name) is None]


def install(names: Iterable[str] = tuple(PROGRAMS)) -> None:
    """
    Install the packages of the programs that are missing, with C{apt-get}, if this
    user may.  Says what it does, and what it could not do.
    """
    packages = [PROGRAMS[name][0] for name in missing(names)]
    if not packages:
        return
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"These peers are not installed and will be missing: {', '.join(packages)}.")
        print(f"On Debian and Ubuntu: sudo {' '.join(apt)}")
        return
    print(f"installing {', '.join(packages)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (ROOT / "build" / "apt.log").open("w") as log:
        for command in (["apt-get", "update"], apt):
            if subprocess.run(command, env=quiet, stdout=log, stderr=log, check=False).returncode:
                print(f"{' '.join(command)} failed: see build/apt.log")
    for package in packages:  # what the package started would share the machine with the races
        subprocess.run(
            ["service", package, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip


def version_in(text: str) -> str:
    """The first thing in C{text} that looks like a version."""
    found = _VERSION.search(text)
    return found[0] if found else ""


def version(name: str) -> str:
    """A program's version, or an empty text where it cannot be told."""
    where = program(name)
    if where is None:
        return ""
    if name == "rabbitmq-server":  # it tells by its folder; its command would need a server
        found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
        return version_in(found[-1].name) if found else ""
    arguments = PROGRAMS[name][1] if name in PROGRAMS else ("--version",)
    told = subprocess.run(
        [where, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return version_in(told.stdout + told.stderr)


def main() -> int:
    """Install everything."""
    (ROOT / "build").mkdir(exist_ok=True)
    install()
    peers_python()
    left = missing()
    print(f"missing: {', '.join(left)}" if left else "everything is installed")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
