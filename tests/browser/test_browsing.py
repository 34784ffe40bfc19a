"""
The harness itself: what is untoward is seen, and the page of the API is well.
"""

from __future__ import annotations

import asyncio

from playwright.sync_api import Error

from tests.browser.accessibility import violations
from tests.browser.broker import DashboardCase
from tests.browser.browsing import PHONE


class WatchfulTests(DashboardCase):
    """Each thing that a page must not do is seen, so that no test passes by blindness."""

    def seen(self) -> str:
        words, self.untoward[:] = " | ".join(self.untoward), []
        return words

    def test_the_console(self) -> None:
        page = self.visit("/api/v1/docs")
        page.evaluate("() => { console.log('fine'); console.warn('hm'); console.error('oh'); }")
        self.assertRegex(self.seen(), r"^warning: hm .* \| error: oh [^|]*$")

    def test_what_is_thrown(self) -> None:
        page = self.visit("/api/v1/docs")
        with page.expect_event("pageerror"):
            page.evaluate("() => { setTimeout(() => { throw new Error('lost'); }); }")
        self.assertIn("thrown: lost", self.seen())

    def test_what_the_policy_stops(self) -> None:
        page = self.visit("/api/v1/docs")
        page.evaluate("fetch('http://127.0.0.2:9/x').catch(() => 0)")
        self.assertRegex(self.seen(), "^error: .*'http://127.0.0.2:9/x' violates .*connect-src")

    def test_other_hosts(self) -> None:
        page = self.visit("/api/v1/docs")
        with self.assertRaises(Error):
            page.goto("http://127.0.0.2:9/y")
        self.assertEqual(self.seen(), "asked of another host: http://127.0.0.2:9/y")

    def test_an_expected_complaint(self) -> None:
        self.expect("^warning: hm")
        self.visit("/api/v1/docs").evaluate("console.warn('hm')")
        self.assertEqual(self.untoward, [])

    def test_accessibility(self) -> None:
        page = self.visit("/api/v1/docs")
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('img'), {src: 'data:,'}))"
        )
        (told,) = violations(page)
        self.assertIn("critical image-alt at 1 places", told)

    def test_the_loop_is_no_running_one_elsewhere(self) -> None:
        """Or no test after these could run a loop of its own."""
        self.visit("/api/v1/docs")
        self.doCleanups()
        self.assertEqual(asyncio.run(asyncio.sleep(0, "ran")), "ran")


class PageOfTheApiTests(DashboardCase):
    def test_it_is_readable(self) -> None:
        for theme in ("light", "dark"):
            for size in (PHONE, (1280, 800)):
                page = self.visit("/api/v1/docs", theme=theme, size=size)
                self.assertIn("/api/v1/tasks", page.inner_text("main"))
                self.assertEqual(violations(page), [], theme)
