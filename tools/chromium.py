"""
Find the Chromium that the tests and the pictures of the dashboard use, or have
the system's package manager install it.

The browsers that Playwright would download come from a host that closed
networks do not reach; Debian's package does just as well.  Where there is no
browser and none may be installed, this says why, and the tests that need one
skip: see C{tests/browser}.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

#: Names the executable, where it is none of L{NAMES} on the path.
VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Package lists may be older than the packages: mirrors keep the newest ones only.
STEPS = (
    ("apt-get", "update", "-qq"),
    ("apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"),
)

#: How long either step may take, seconds.
PATIENCE_S = 600.0


def find_chromium() -> str | None:
    """
    The path of a Chromium that can be run.

    @return: what the variable C{CHROMIUM} names, if that is set, or else the first
        of the usual names on the path; C{None} where there is neither.
    """
    named = os.environ.get(VARIABLE)
    candidates = [named] if named else NAMES
    return next((path for name in candidates if (path := shutil.which(name))), None)


def privilege() -> list[str] | None:
    """
    What to put before a command that installs packages.

    @return: nothing for root; C{sudo} where it asks for no password; C{None} where
        neither is so.
    """
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and _call(["sudo", "-n", "true"]).returncode == 0:
        return ["sudo", "-n"]
    return None


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        env=environment,
    )


def install(call: Callable[[list[str]], subprocess.CompletedProcess[str]] = _call) -> str | None:
    """
    Install Chromium.

    @return: C{None} when that is done, or why it is not.
    """
    if not shutil.which("apt-get"):
        return "apt-get, which would install it, is not here"
    before = privilege()
    if before is None:
        return "only root, or a sudo that asks for no password, may install it"
    for step in STEPS:
        try:
            done = call([*before, *step])
        except subprocess.TimeoutExpired:
            return f"{' '.join(step)} took longer than {PATIENCE_S:g} s"
        if done.returncode:
            said = done.stdout.strip().splitlines()[-3:]
            return f"{' '.join(step)} failed: " + " ".join(said)
    return None


def main() -> int:
    """
    See to it that there is a browser.

    @return: the exit status: 0 where there is one now, 1 where there is none.
    """
    if find_chromium():
        return 0
    print("No Chromium is here for the tests of the dashboard: installing it.", flush=True)
    trouble = install()
    if trouble is None and find_chromium():
        return 0
    print(
        f"There is still none: {trouble or 'the package brought no executable'}.\n"
        f"Tests that need it skip. Install it (Debian: apt-get install chromium), or let the"
        f" variable {VARIABLE} name its executable.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
