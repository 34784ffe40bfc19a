"""
huey's storage: the tests of its own that huey ships, and what they do not look at.
"""

from __future__ import annotations

import datetime
import importlib
import sys
import time
from types import ModuleType
from typing import Any
from unittest import mock

from huey import Huey
from huey.constants import EmptyData

from taskqueue.contrib.huey import TaskqueueHuey, TaskqueueStorage
from taskqueue.errors import BadRequest, CannotConnect
from tests.contrib.programs import FrameworkTestCase, SharedBroker

#: Configures Django for the whole process as soon as anything of huey's tests is imported.
DJANGO_TESTS = "huey.tests.test_django_tasks"
sys.modules.setdefault(DJANGO_TESTS, ModuleType(DJANGO_TESTS))

# huey leaves out tests that take a second where nobody asks for them.
with mock.patch.dict("os.environ", {"HUEY_SLOW_TESTS": "1"}):
    huey_tests = importlib.import_module("huey.tests.test_storage")
    from huey.tests.base import BaseTestCase


class HueysOwnTests(huey_tests.StorageTests, BaseTestCase):
    """All ten of C{huey.tests.test_storage.StorageTests}, as they are: none is skipped."""

    def get_huey(self) -> Huey:
        name = f"huey-{self.id().rpartition('.')[2]}"
        made = TaskqueueHuey(name, address=SharedBroker.one().address, utc=False, read_timeout=0.1)
        self.addCleanup(made.storage.close)
        return made

    def test_all_are_here(self) -> None:
        inherited = [name for name in dir(huey_tests.StorageTests) if name.startswith("test")]
        self.assertEqual(len(inherited), 10)


class HueysOwnTestsOfAStorageAlone(HueysOwnTests):
    """The same where C{Huey} is huey's own."""

    def get_huey(self) -> Huey:
        made = Huey(
            f"alone-{self.id().rpartition('.')[2]}",
            storage_class=TaskqueueStorage,
            address=SharedBroker.one().address,
            utc=False,
            read_timeout=0.1,
        )
        self.addCleanup(made.storage.close)
        return made


class StorageTests(FrameworkTestCase):
    def storage(self, **options: Any) -> TaskqueueStorage:
        made = TaskqueueStorage(self.name, self.address, **{"read_timeout": 0.1, **options})
        self.addCleanup(made.close)
        return made

    def setUp(self) -> None:
        super().setUp()
        self.s = self.storage()

    # --- the queue ------------------------------------------------------------------------

    def test_dequeued_is_gone(self) -> None:
        """As with huey's own storages."""
        self.s.enqueue(b"a")
        self.assertEqual(self.s.dequeue(), b"a")
        self.assertEqual(self.states(), {"completed": 1})

    def test_waits_at_the_broker(self) -> None:
        began = time.monotonic()
        self.assertIsNone(self.storage(read_timeout=0.3).dequeue())
        self.assertGreater(time.monotonic() - began, 0.29)

    def test_priorities(self) -> None:
        for priority in (-150, None, 105.0):
            self.s.enqueue(b"a", priority)
        self.assertEqual([task["priority"] for task in self.tasks()], [0, 150, 255])

    def test_priorities_that_the_broker_does_not_have(self) -> None:
        for priority in (106, -151, 0.5, "high"):
            error = self.assertRaises(BadRequest, self.s.enqueue, b"a", priority)
            self.assertIn(repr(priority), str(error))

    def test_enqueued_items_are_those_that_come_next(self) -> None:
        for priority in (0, 1, 0, 9):
            self.s.enqueue(b"p%d" % priority, priority)
        self.assertEqual(self.s.enqueued_items(3), [b"p9", b"p1", b"p0"])
        self.assertEqual(self.s.enqueued_items(), [b"p9", b"p1", b"p0", b"p0"])
        self.assertEqual(self.s.queue_size(), 4)

    def test_flushing_one_leaves_the_other(self) -> None:
        s = self.storage(utc=True)
        later = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        later += datetime.timedelta(minutes=1)
        for flush, left in ((s.flush_queue, {"scheduled": 1}), (s.flush_schedule, {"pending": 1})):
            s.enqueue(b"now")
            s.add_to_schedule(b"later", later)
            flush()
            states = self.states()
            del states["cancelled"]
            self.assertEqual(states, left)
            s.flush_all()

    # --- the schedule ---------------------------------------------------------------------

    def test_schedule_is_kept_at_the_broker(self) -> None:
        """Where it is known what moments mean; local ones just as well."""
        for utc in (True, False):
            s = self.storage(utc=utc)
            now = datetime.datetime.now(datetime.UTC if utc else None).replace(tzinfo=None)
            s.add_to_schedule(b"later", now + datetime.timedelta(minutes=2))
            s.add_to_schedule(b"sooner", now + datetime.timedelta(minutes=1))
            self.assertEqual(s.scheduled_items(), [b"sooner", b"later"])
            self.assertEqual(s.schedule_size(), 2)
            for task, minutes in zip(self.tasks(self.name, "scheduled"), (2, 1), strict=True):
                self.assertAlmostEqual(task["run_at"] - time.time(), 60 * minutes, -1)
            self.assertEqual(s.read_schedule(now + datetime.timedelta(minutes=3)), [])
            s.flush_schedule()
            self.assertEqual(s.schedule_size(), 0)

    def test_schedule_is_in_the_queue_in_time(self) -> None:
        s = self.storage(utc=True, read_timeout=5)
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        s.add_to_schedule(b"soon", now + datetime.timedelta(seconds=0.3))
        self.assertEqual(s.dequeue(), b"soon")

    def test_what_is_due_waits_for_the_scheduler(self) -> None:
        s = self.storage(utc=True)
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        s.add_to_schedule(b"past", now)
        self.assertEqual(s.scheduled_items(), [b"past"])
        self.assertEqual(s.read_schedule(now + datetime.timedelta(seconds=1)), [b"past"])
        self.assertEqual(s.read_schedule(now + datetime.timedelta(seconds=1)), [])

    def test_one_moment_keeps_its_order(self) -> None:
        moment = datetime.datetime(2026, 1, 1)  # noqa: DTZ001  # as huey has them
        for n in range(5):
            self.s.add_to_schedule(b"%d" % n, moment)
        self.assertEqual(self.s.read_schedule(moment), [b"0", b"1", b"2", b"3", b"4"])

    # --- values ---------------------------------------------------------------------------

    def test_values_are_known_by_text_and_bytes(self) -> None:
        self.s.put_data(b"k", b"")
        self.assertEqual(self.s.peek_data("k"), b"")
        self.assertEqual(self.s.peek_many(["k", b"k", b"other"]), {"k": b"", b"k": b""})
        self.assertRaises(BadRequest, self.s.put_data, b"\xff", b"")

    def test_results_expire_where_that_is_wanted(self) -> None:
        """And nothing else does: not a revocation, not a lock."""
        s = self.storage(result_expires_s=60)
        s.put_data("result", b"1", is_result=True)
        s.put_data("revoked", b"1")
        for key, expires in (("result", True), ("revoked", False)):
            value = self.client.get_value(f"{self.name}.results", key)
            self.assertIs(value is not None and value.expires_at is not None, expires, key)

    def test_more_than_a_page(self) -> None:
        for n in range(1001):
            self.s.enqueue(b"%d" % n)
            self.s.put_data(f"k{n}", b"v")
        self.assertEqual(len(self.s.enqueued_items()), 1001)
        self.assertEqual(self.s.result_store_size(), 1001)
        self.s.flush_all()
        self.assertEqual((self.s.queue_size(), self.s.result_store_size()), (0, 0))

    def test_names_do_not_see_each_other(self) -> None:
        other = TaskqueueStorage(f"{self.name}-other", self.address, read_timeout=0)
        self.addCleanup(other.close)
        self.s.enqueue(b"a")
        self.s.put_data("k", b"v")
        self.s.incr("c", 5)
        self.assertIsNone(other.dequeue())
        self.assertIs(other.peek_data("k"), EmptyData)
        self.assertEqual(other.incr("c", 1), 1)

    # --- beginning and ending -------------------------------------------------------------

    def test_closed_connects_again(self) -> None:
        self.s.enqueue(b"a")
        self.s.close()
        self.assertEqual(self.s.dequeue(), b"a")

    def test_what_cannot_be(self) -> None:
        for name, options in (("no spaces", {}), ("a", {"read_timeout": -1}), ("x" * 128, {})):
            self.assertRaises(BadRequest, TaskqueueStorage, name, self.address, **options)
        away = TaskqueueStorage("a", "tq://127.0.0.1:1")
        error = self.assertRaises(CannotConnect, away.enqueue, b"a")
        self.assertIn("tq://127.0.0.1:1", str(error))
