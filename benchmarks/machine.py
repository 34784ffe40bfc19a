"""
What was measured, and where: the machine, and everybody's version.
"""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version as package_version
from pathlib import Path

import psutil

from benchmarks.install import PROGRAMS, peers_python, version

#: Packages of this environment that decide how fast the broker is.
OWN = ("taskqueue", "Twisted", "msgspec")


def processor() -> str:
    """The processor's name."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def file_system(folder: Path) -> str:
    """What kind of file system C{folder} is on."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder.resolve()
    holding = [
        part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)
    ]
    return max(holding, key=lambda part: len(part.mountpoint)).fstype if holding else "unknown"


def machine(data: Path) -> str:
    """
    The machine in a line.

    @param data: where the servers keep theirs.
    """
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores ({processor()}), {memory:.0f} GiB, data on"
        f" {file_system(data)}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Everybody's version; an empty text for who is missing."""
    found = {name: package_version(name) for name in OWN}
    found |= {name: version(name) for name in (*PROGRAMS, "nats-server")}
    freeze = [str(peers_python()), "-m", "pip", "freeze"]
    listed = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
    packages = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    peers = ("celery", "dramatiq", "rq", "huey", "procrastinate", "redis", "hiredis")
    return found | {f"{name} (Python)": packages[name] for name in peers if name in packages}
