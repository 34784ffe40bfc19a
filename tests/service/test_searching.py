"""
Tests of searches that end when their time is up.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from taskqueue.core.moments import Now
from taskqueue.core.task import State
from taskqueue.errors import StoreFailed
from taskqueue.service import searching
from taskqueue.service.searching import Found, search
from taskqueue.store.interface import Filter, Page
from tests.service.running import ServiceTestCase


class SearchTests(ServiceTestCase):
    """A store whose calls take time, and windows of three submissions."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(searching, "FIRST_WINDOW", 3)
        self.ids = [self.submit(queue="rare" if n in (1, 9) else "q") for n in range(10)]
        self.store.inline = False
        self.ticks = 0.0
        self.takes_s = 1.0

    def moments(self) -> Now:
        """Each look at the clock takes time."""
        now = super().moments()
        self.ticks = getattr(self, "ticks", 0.0) + getattr(self, "takes_s", 0.0)
        return Now(now.wall, now.mono + self.ticks)

    def search(self, filter: Filter, page: Page, within_s: float = 0.0) -> Found:
        found = Deferred.fromCoroutine(search(self.service, filter, page, within_s))
        result: Found = self.successResultOf(found)
        return result

    def pages(self, filter: Filter, page: Page) -> list[list[int]]:
        """All pages, as the C{seq}s on them."""
        found: list[list[int]] = []
        while True:
            rows, following = self.search(filter, page)
            found.append([row.seq for row in rows])
            if following is None:
                return found
            page = page._replace(after=following)

    def test_ends_when_its_time_is_up(self) -> None:
        self.assertEqual(self.pages(Filter(queue="rare"), Page()), [[10], [], [2], []])
        oldest = Page(descending=False)
        self.assertEqual(self.pages(Filter(queue="rare"), oldest), [[2], [], [], [10]])

    def test_finds_everything_once(self) -> None:
        for limit in (1, 2, 3, 4, 100):
            for descending in (True, False):
                pages = self.pages(Filter(), Page(limit, None, descending))
                found = [seq for page in pages for seq in page]
                self.assertEqual(found, sorted(range(1, 11), reverse=descending))
                self.assertTrue(all(len(page) <= limit for page in pages))

    def test_goes_on_while_there_is_time(self) -> None:
        found = self.search(Filter(queue="rare"), Page(), within_s=1000)
        self.assertEqual([row.seq for row in found.rows], [10, 2])
        self.assertIsNone(found.next)

    def test_a_full_page_ends_it(self) -> None:
        found = self.search(Filter(), Page(2), within_s=1000)
        self.assertEqual(([row.seq for row in found.rows], found.next), ([10, 9], 9))
        self.assertEqual(self.store.count("find"), 1)

    def test_windows_grow_while_they_take_little(self) -> None:
        self.takes_s = 0.0
        self.search(Filter(error_contains="none"), Page(), within_s=1000)
        self.assertEqual(self.store.count("find"), 3)  # 3 + 6 + 12 submissions

    def test_a_store_in_memory_is_asked_once(self) -> None:
        self.store.inline = True
        found = self.search(Filter(queue="rare"), Page())
        self.assertEqual(([row.seq for row in found.rows], found.next), ([10, 2], None))
        found = self.search(Filter(states=[State.PENDING]), Page(4))
        self.assertEqual(found.next, 7)
        self.assertEqual(self.search(Filter(), Page(0)).next, None)

    def test_what_is_not_there_is_not_looked_for(self) -> None:
        for wanted in (
            Filter(queue="none"),
            Filter(type="none"),
            Filter(queue="rare", type="none"),
            Filter(states=[State.EXPIRED]),
            Filter(queue="rare", states=[State.FAILED, State.CANCELLED]),
            Filter(states=[]),
        ):
            self.assertEqual(self.search(wanted, Page()), Found([], None))
        self.assertEqual(self.store.count("find"), 0)
        self.result_of(self.service.cancel([self.ids[1]]))
        cancelled = Filter(queue="rare", type="job", states=[State.CANCELLED])
        self.forget_ended()
        found = self.search(cancelled, Page(), within_s=1000)
        self.assertEqual([row.id for row in found.rows], [self.ids[1]])

    def test_a_store_that_fails(self) -> None:
        self.store.fail("find")
        found = Deferred.fromCoroutine(search(self.service, Filter(), Page()))
        self.failureResultOf(found, StoreFailed)
