"""
A broker with nothing in it, for pages that need no more.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.browser.browsing import BrowserCase
from tests.process.children import Child

#: Nothing it holds matters, and nobody else may reach it.
ARGUMENTS = (
    "--listen=tcp:0:interface=127.0.0.1",
    "--http=tcp:0:interface=127.0.0.1",
    "--data-dir=data",
    "--durability=none",
)


def new_folder() -> Path:
    """A folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="taskqueue-browser-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_broker(folder: Path, *arguments: str, **how: Any) -> Child:
    """
    A broker process that goes when this process ends.

    @param how: as for L{Child}.
    """
    child = Child(folder, *ARGUMENTS, *arguments, **how)
    atexit.register(child.reap)
    return child


def site_of(broker: Child) -> str:
    return f"http://127.0.0.1:{broker.port('HTTP')}"


@functools.cache
def empty_site() -> str:
    """The address of a broker that never had a task; one for all tests of this process."""
    return site_of(new_broker(new_folder()))


class DashboardCase(BrowserCase):
    """Pages of a broker that has nothing to show."""

    def setUp(self) -> None:
        super().setUp()
        self.site = empty_site()
