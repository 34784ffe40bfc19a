"""
The tour of the dashboard: its pictures, and the past that they show.
"""

from __future__ import annotations

import re
from array import array
from itertools import pairwise
from pathlib import Path

from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.counters import BUCKETS_S, COUNTED
from taskqueue.service.history import FINE_S, Sample
from tools.past import hour_before

DOCS = Path(__file__).resolve().parent.parent / "docs"
PICTURES = DOCS / "images" / "dashboard"

MOST_BYTES = 150_000
WIDTHS = {"phone": 390, "light": 1280, "dark": 1280}


class PictureTests(SynchronousTestCase):
    def test_the_page_shows_each(self) -> None:
        text = (DOCS / "dashboard.md").read_text(encoding="utf-8")
        shown = re.findall(r"images/dashboard/([\w-]+\.png)", text)
        self.assertEqual(sorted(shown), sorted(path.name for path in PICTURES.iterdir()))
        self.assertEqual(len(shown), len(set(shown)))

    def test_they_are_small(self) -> None:
        for path in PICTURES.iterdir():
            self.assertLessEqual(path.stat().st_size, MOST_BYTES, path.name)
            with Image.open(path) as picture:
                self.assertEqual(picture.width, WIDTHS[path.stem.rpartition("-")[2]], path.name)

    def test_each_is_there_in_both_themes(self) -> None:
        names = {path.stem.rpartition("-")[0] for path in PICTURES.iterdir()}
        for name in names:
            for theme in ("light", "dark"):
                self.assertTrue((PICTURES / f"{name}-{theme}.png").exists(), f"{name}-{theme}")


class PastTests(SynchronousTestCase):
    def test_an_hour_leads_to_what_there_is(self) -> None:
        numbers = array("q", range(len(COUNTED) + 2 * (len(BUCKETS_S) + 1)))
        newest = Sample(5000.0, 200, (150, 40, 10), 7, 3, numbers)
        samples = [*hour_before(newest), newest]
        for before, sample in pairwise(samples):
            self.assertEqual(sample.mono - before.mono, FINE_S)
            self.assertGreaterEqual(min(map(int.__sub__, sample.numbers, before.numbers)), 0)
        for sample in samples:
            self.assertEqual(sample.depth, sum(sample.tiers))
        hour = newest.totals["completed"] - samples[0].totals["completed"]
        self.assertTrue(40_000 < hour < 55_000, hour)
