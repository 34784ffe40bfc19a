"""
Pages of the scene, and what tests have to do with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from taskqueue.wire import MessageType
from tests.browser.browsing import PATIENCE_MS, BrowserCase
from tests.browser.scene import Scene, scene
from tests.process.peer import Peer

expect.set_options(timeout=PATIENCE_MS)


class SceneCase(BrowserCase):
    """
    @ivar scene: the broker in the middle of its day; what a test does there others see.
    """

    scene: Scene

    def setUp(self) -> None:
        super().setUp()
        self.scene = scene()
        self.site = self.scene.site

    def peer(self) -> Peer:
        """A connection on which the test itself may be a worker."""
        peer = Peer(self.scene.broker.port())
        self.addCleanup(peer.close)
        return peer

    def worker(self, name: str, **more: Any) -> Peer:
        """A worker that does what the test says, of a queue of its own."""
        peer = self.peer()
        registration = {"queues": [f"of-{name}"], "capacity": 3, **more}
        peer.ask(MessageType.REGISTER_WORKER, worker=name, incarnation=1, **registration)
        return peer

    def dead_letters(self, queue: str, error: str, number: int) -> list[str]:
        """Have so many tasks of a queue fail for good; returns their ids."""
        peer = self.peer()
        ids = peer.submit(*[{"type": "test.doomed", "queue": queue}] * number)
        reports = [
            {"task": task["id"], "lease": task["lease"], "status": "failed", "permanent": True}
            for task in peer.claim(number, 10.0, queues=[queue])
        ]
        assert len(reports) == number
        peer.ask(MessageType.TASK_RESULT, results=[{**r, "error": error} for r in reports])
        return ids

    def states(self, *ids: str) -> set[str]:
        """The states that these tasks are in."""
        return {self.scene.ask("GET", f"/tasks/{task}")["state"] for task in ids}


def figure(page: Page, title: str) -> Locator:
    """The value of the figure with this title."""
    return page.locator(".figure", has=page.locator("dt", has_text=title)).locator("dd").first


def row(page: Page, text: str) -> Locator:
    """The row of a table that has this text."""
    return page.locator("tbody tr", has_text=text)


def changes(page: Page, locator: Locator, act: Callable[[], object] = lambda: None) -> str:
    """What the text of C{locator} becomes, without a reload, once it is another one."""
    before = locator.inner_text()
    act()
    expect(locator).not_to_have_text(before)
    return locator.inner_text()
