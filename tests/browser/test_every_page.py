"""
What holds for each page of the dashboard: it shows what there is, in both themes and
on a phone, and can be used without eyes.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote as quoted

from playwright.sync_api import Page, expect

from tests.browser.accessibility import COLOURS, violations
from tests.browser.broker import DashboardCase
from tests.browser.browsing import PHONE
from tests.browser.staged import SceneCase

WIDTH = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


class EveryPageTests(SceneCase):
    def addresses(self) -> Iterator[tuple[str, str]]:
        """An address of each page, and what must be read there."""
        waiting = self.scene.ask("GET", "/tasks?state=blocked&limit=1")["tasks"][0]["id"]
        dead = self.scene.ask("GET", "/dead-letters?queue=reports&limit=1")["tasks"][0]["id"]
        group = self.scene.ask("GET", "/dead-letters/groups?queue=billing")["groups"][0]
        yield "/", "Recent failures"
        yield "/?stay=1&span=15m", "media-1"
        yield "/queues", "imports"
        yield "/queues/media", "media.resize_image"
        yield "/tasks", "billing.charge_card"
        yield f"/tasks/{waiting}", "reports.extract"
        yield f"/tasks/{dead}", "ZeroDivisionError"
        yield "/workers", "disconnected"
        yield "/workers/media-2", "media.transcode_video"
        yield "/dead-letters", "TimeoutError: https://hooks.partner.example"
        yield f"/dead-letters?group={quoted(group['error_group'])}", "the bank declined"
        yield "/periodic?name=nightly-report", "every day at 05:30, Europe/Paris"
        yield "/periodic?new=1", "Cron expression"
        yield "/broker", "queue_depth_threshold"
        yield "/welcome", "Start a worker"
        yield "/workers/nobody", "No worker of this name"

    def test_all(self) -> None:
        self.expect(r"status of 404 .*/workers/nobody\)")
        found: list[str] = []
        for address, text in self.addresses():
            page = self.visit(address)
            found += [f"{address}: {trouble}" for trouble in self.troubles(page, text)]
            page.context.close()
        self.assertEqual(found, [], "\n".join(["", *found]))

    def troubles(self, page: Page, text: str) -> Iterator[str]:
        """What is wrong with a page: in light, in dark, on a phone."""
        expect(page.locator("#main")).to_contain_text(text)
        expect(page.locator("#main h1")).to_have_count(1)
        yield from (f"light: {found}" for found in violations(page))
        page.emulate_media(color_scheme="dark")
        yield from (f"dark: {found}" for found in violations(page, *COLOURS))
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        beyond = page.evaluate(WIDTH)
        if beyond > 0:
            yield f"on a phone, {beyond} pixels are beyond the edge"


class EmptyBrokerTests(DashboardCase):
    """Every list says so when it is empty, and what to do about it."""

    def test_all(self) -> None:
        for address, text in (
            ("/queues", "There is no queue yet"),
            ("/tasks", "There is no task"),
            ("/workers", "No worker is registered"),
            ("/dead-letters", "There are no dead letters"),
            ("/periodic", "Nothing is submitted again and again"),
            ("/", "Waiting for your first task"),
        ):
            page = self.visit(address)
            expect(page.locator("#main")).to_contain_text(text)
            self.assertEqual(violations(page), [], address)
            page.context.close()
