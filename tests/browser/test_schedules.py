"""
When something comes again, in words; and how a worker is.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.browser.broker import DashboardCase
from tests.browser.test_words import CALL


class SchedulesTests(DashboardCase):
    def setUp(self) -> None:
        super().setUp()
        self.page: Page = self.visit("/welcome")

    def call(self, path: str, name: str, *given: Any) -> Any:
        return self.page.evaluate(CALL, [path, name, *given])

    def test_cron(self) -> None:
        for cron, words in (
            ("* * * * *", "every minute"),
            ("*/5 * * * *", "every 5 min"),
            ("7 * * * *", "every hour at :07"),
            ("0 */6 * * *", "every 6 h at :00"),
            ("30 5 * * *", "every day at 05:30"),
            ("0 8 * * 1", "Mondays at 08:00"),
            ("0 8 * * mon,WED,7", "Mondays, Wednesdays and Sundays at 08:00"),
            ("15 9 * * 1-5", "Monday to Friday at 09:15"),
            ("0 0 1 * *", "on day 1 of each month at 00:00"),
            # What has no short words stays as it is.
            ("0 0 1 1 *", "cron 0 0 1 1 *"),
            ("0 0 1 * 1", "cron 0 0 1 * 1"),
            ("1,31 5 * * *", "cron 1,31 5 * * *"),
            ("0 8 * * 1#2", "cron 0 8 * * 1#2"),
            ("*/10 30 5 * * *", "cron */10 30 5 * * *"),
        ):
            found = self.call("kit/schedule.js", "scheduleInWords", {"cron": cron})
            self.assertEqual(found, words)

    def test_every_so_often(self) -> None:
        for every_s, words in (
            (15, "every 15 s"),
            (60, "every minute"),
            (90, "every 1 min 30 s"),
            (3600, "every hour"),
            (86_400, "every day"),
        ):
            found = self.call("kit/schedule.js", "scheduleInWords", {"every_s": every_s})
            self.assertEqual(found, words)

    def test_the_worst_of_a_worker_counts(self) -> None:
        well = {"stalled": False, "connected": True, "order": None, "leases": 0, "capacity": 2}
        for more, word in (
            ({}, "idle"),
            ({"leases": 1}, "working"),
            ({"leases": 2}, "busy"),
            ({"order": "quiet"}, "quiet"),
            ({"order": "terminate", "leases": 2}, "ending"),
            ({"connected": False, "order": "quiet"}, "disconnected"),
            ({"connected": False, "recovered": True}, "missing"),
            ({"stalled": True, "connected": False}, "stalled"),
        ):
            found = self.call("pages/standing.js", "standingOf", {**well, **more})
            self.assertEqual(found, word)

    def test_sections_of_a_configuration(self) -> None:
        config = {"broker": {"name": "b"}, "queues": {"mail": {"max_depth": 5}}, "listen": {}}
        self.assertEqual(
            self.call("pages/configuration.js", "sectionsOf", config),
            [["broker", [["name", "b"]]], ["queues.mail", [["max_depth", 5]]]],
        )
