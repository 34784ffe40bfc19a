"""
What the dashboard makes of numbers, moments and histories, asked of its modules.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.browser.broker import DashboardCase

#: Call a function of a module, found where the document says that modules are.
CALL = """async ([path, name, ...given]) => {
    const links = [...document.querySelectorAll("link[rel=modulepreload]")];
    const address = links.map((link) => link.href).find((href) => href.endsWith(path));
    const found = (await import(address))[name](...given);
    return JSON.parse(JSON.stringify(found));
}"""

NOW = 1_777_636_800.0


class WordsTests(DashboardCase):
    def setUp(self) -> None:
        super().setUp()
        self.page: Page = self.visit("/welcome")

    def call(self, path: str, name: str, *given: Any) -> Any:
        return self.page.evaluate(CALL, [path, name, *given])

    def table(self, name: str, rows: dict[Any, str]) -> None:
        for given, expected in rows.items():
            values = given if isinstance(given, tuple) else (given,)
            self.assertEqual(self.call("kit/words.js", name, *values), expected, (name, given))

    def test_durations(self) -> None:
        self.table(
            "duration",
            {
                None: "–",
                0: "0 s",
                0.00042: "0.42 ms",
                0.0042: "4.2 ms",
                0.38: "380 ms",
                0.9996: "1 s",
                1.25: "1.3 s",
                9.96: "10 s",
                59.4: "59 s",
                60: "1 min",
                200: "3 min 20 s",
                3600: "1 h",
                7500: "2 h 5 min",
                86_399: "23 h 59 min",
                86_400: "1 d",
                273_600: "3 d 4 h",
                2_592_000: "30 d",
                -5: "-5 s",
            },
        )
        self.table("roughly", {0.2: "1 s", 59: "59 s", 100: "2 min", 240: "4 min", 90_000: "25 h"})

    def test_distances(self) -> None:
        self.table(
            "distance",
            {
                (NOW, NOW): "just now",
                (NOW - 180, NOW): "3 min ago",
                (NOW + 5, NOW): "in 5 s",
                (NOW - 86_400 * 3, NOW): "3 d ago",
            },
        )

    def test_numbers(self) -> None:
        self.table("count", {None: "–", 0: "0", 12_345: "12,345", 1_234_567: "1.2M"})
        self.table("decimal", {0: "0", 0.0412: "0.041", 1.26: "1.3", 27.4: "27", 1204.2: "1,204"})
        self.table("counted", {(1, "task"): "1 task", (0, "task"): "0 tasks"})
        self.table("bytes", {1: "1 byte", 999: "999 bytes", 1500: "1.5 kB", 3_000_000: "3 MB"})

    # --- the life of a task --------------------------------------------------------------

    def events(self, **task: Any) -> list[tuple[str, float]]:
        found = self.call("pages/timeline.js", "eventsOf", {"submitted_at": 0, **task})
        return [(event["event"], event["at"]) for event in found]

    def test_it_waits(self) -> None:
        self.assertEqual(self.events(state="pending"), [("submitted", 0)])

    def test_it_runs(self) -> None:
        found = self.events(state="in_progress", claimed_at=2, worker="w", attempt=1)
        self.assertEqual(found, [("submitted", 0), ("began", 2)])

    def test_it_completes(self) -> None:
        found = self.events(state="completed", claimed_at=2, ended_at=5, history=[])
        self.assertEqual(found, [("submitted", 0), ("began", 2), ("completed", 5)])

    def test_its_last_failure_is_its_end(self) -> None:
        """A history tells of deliveries that ended, and so does the task itself."""
        first = {"event": "failed", "at": 3, "started_at": 2, "attempt": 1}
        last = {"event": "failed", "at": 9, "started_at": 8, "attempt": 2}
        found = self.events(state="dead_letter", claimed_at=8, ended_at=9, history=[first, last])
        begun = [("began", 2), ("failed", 3), ("began", 8), ("failed", 9), ("dead_letter", 9)]
        self.assertEqual(found, [("submitted", 0), *begun])

    def test_it_is_laid_aside_and_not_failed(self) -> None:
        """What a worker buried, or somebody took out of its queue, has not failed as well."""
        for event, started in (("buried", 2), ("killed", None)):
            last = {"event": event, "at": 3, "attempt": 1}
            last |= {} if started is None else {"started_at": started}
            found = self.events(state="dead_letter", ended_at=3, history=[last])
            began = [] if started is None else [("began", started)]
            self.assertEqual(found, [("submitted", 0), *began, (event, 3)])

    def test_it_runs_again_after_a_failure(self) -> None:
        failure = {"event": "failed", "at": 3, "started_at": 2, "attempt": 1}
        found = self.events(state="in_progress", claimed_at=7, attempt=2, history=[failure])
        self.assertEqual(found, [("submitted", 0), ("began", 2), ("failed", 3), ("began", 7)])

    def test_it_is_cancelled_while_it_waits(self) -> None:
        found = self.events(state="cancelled", ended_at=4, history=[])
        self.assertEqual(found, [("submitted", 0), ("cancelled", 4)])

    def test_it_is_cancelled_while_it_runs(self) -> None:
        asked = {"event": "cancel_requested", "at": 3}
        done = {"event": "cancelled", "at": 4, "started_at": 2}
        found = self.events(state="cancelled", claimed_at=2, ended_at=4, history=[asked, done])
        order = [("submitted", 0), ("began", 2), ("cancel_requested", 3), ("cancelled", 4)]
        self.assertEqual(found, order)

    # --- graphs --------------------------------------------------------------------------

    def test_many_samples_become_few(self) -> None:
        """Three samples in half a minute are one point, and slow ones are not hidden."""
        spread = {"count": 1, "p50": 1, "p90": 2, "p99": 3}
        samples = [
            {
                "at": 3000 + 10 * number,
                "depth": number,
                "in_progress": 0,
                "workers": 2,
                "tiers": {"high": 0, "normal": number, "low": 0},
                "rates": {"submitted": number},
                "wait_s": None,
                "run_s": spread | {"p50": number, "p99": number} if number != 1 else None,
            }
            for number in range(7)
        ]
        self.assertEqual(self.call("kit/history.js", "thinned", samples, 10, 900), samples)
        points = self.call("kit/history.js", "thinned", samples, 10, 3600)
        self.assertEqual([point["at"] for point in points], [3020, 3050, 3060])
        self.assertEqual([point["depth"] for point in points], [1, 4, 6])
        self.assertEqual([point["rates"]["submitted"] for point in points], [1, 4, 6])
        self.assertEqual([point["tiers"]["normal"] for point in points], [1, 4, 6])
        self.assertEqual(points[0]["wait_s"], None)
        self.assertEqual(points[0]["run_s"], {"p50": 1, "p90": 2, "p99": 2})
        # One that comes later changes no point but the last.
        self.assertEqual(
            self.call("kit/history.js", "thinned", samples[1:], 10, 3600)[1:], points[1:]
        )
