"""
Have the system's package manager install what tests need and Python's packages do not
bring: where that may be done without asking anybody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

#: Runs a command to its end.
Call = Callable[[list[str]], "subprocess.CompletedProcess[str]"]

#: Package lists may be older than the packages: mirrors keep the newest ones only.
UPDATE = ("apt-get", "update", "-qq")
INSTALL = ("apt-get", "install", "-qq", "-y", "--no-install-recommends")

#: How long either step may take, seconds.
PATIENCE_S = 600.0


def privilege() -> list[str] | None:
    """
    What to put before a command that installs packages.

    @return: nothing for root; C{sudo} where it asks for no password; C{None} where
        neither is so.
    """
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and call_quietly(["sudo", "-n", "true"]).returncode == 0:
        return ["sudo", "-n"]
    return None


def call_quietly(command: list[str]) -> subprocess.CompletedProcess[str]:
    """
    Run a command, which may ask nothing, and keep what it says.

    @raises subprocess.TimeoutExpired: it took longer than L{PATIENCE_S}.
    """
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


def install_packages(packages: Sequence[str], call: Call = call_quietly) -> str | None:
    """
    Install packages of the system.

    @return: C{None} when that is done, or why it is not.
    """
    if not shutil.which("apt-get"):
        return "apt-get, which would install it, is not here"
    before = privilege()
    if before is None:
        return "only root, or a sudo that asks for no password, may install it"
    for step in (UPDATE, (*INSTALL, *packages)):
        try:
            done = call([*before, *step])
        except subprocess.TimeoutExpired:
            return f"{' '.join(step)} took longer than {PATIENCE_S:g} s"
        if done.returncode:
            said = done.stdout.strip().splitlines()[-3:]
            return f"{' '.join(step)} failed: " + " ".join(said)
    return None
