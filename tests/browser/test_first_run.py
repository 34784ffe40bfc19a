"""
The first minutes: what a broker shows that has never had a task.
"""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.broker import DashboardCase, new_broker, new_folder, site_of
from tests.browser.browsing import BrowserCase
from tests.process.peer import Peer


class FirstRunTests(BrowserCase):
    def test_the_first_task_is_followed(self) -> None:
        broker = new_broker(new_folder())
        self.addCleanup(broker.reap)
        self.site = site_of(broker)
        page = self.visit("/")
        expect(page).to_have_url(f"{self.site}/welcome")
        expect(page.locator("#main")).to_contain_text("taskqueue")
        waiting = page.get_by_text("Waiting for your first task")
        expect(waiting).to_be_visible()
        peer = Peer(broker.port())
        self.addCleanup(peer.close)
        peer.submit({"type": "shout"})
        expect(waiting).to_have_count(0)
        expect(page.get_by_text("Your first task is here")).to_be_visible()
        (task,) = peer.claim(queues=["default"])
        peer.complete(task, b"DONE")
        expect(page.get_by_text("gone all the way through")).to_be_visible()
        page.get_by_role("link", name="Go to the overview").last.click()
        expect(page.locator("h1")).to_have_text("Overview")


class CommandsTests(DashboardCase):
    def test_commands_are_copied(self) -> None:
        page = self.visit("/welcome")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy").nth(1).click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        self.assertRegex(copied, "^taskqueue .*worker app:HANDLERS$")
