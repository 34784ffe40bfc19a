"""What a store in memory keeps is bounded, and counts."""

from dataclasses import replace
from unittest.mock import patch

from taskqueue.config.sections import MIB
from taskqueue.errors import QueueFull
from taskqueue.service.policies import PROCESS_BYTES, most_ended_bytes
from taskqueue.store import MemoryStore, kept
from tests.service.running import QUIET, ServiceTestCase


class InMemory(MemoryStore):
    """A store that never fails."""

    def work(self):
        """It does already."""


class MakingRoomTests(ServiceTestCase):
    config = replace(QUIET, store=replace(QUIET.store, kind="memory", max_ended_bytes=3 * MIB))

    def make_store(self):
        return InMemory()

    def test_the_oldest_ended_tasks_go_before_their_time(self):
        names = [self.complete(payload=bytes(MIB)) for _ in range(9)]
        kept = self.complete(payload=b"small")
        self.submit("live", payload=bytes(4 * MIB))
        self.pass_time(1)
        states = self.service.stats()["states"]
        self.assertEqual((states["completed"], states["pending"]), (3, 1))
        self.assertEqual([name for name in names if self.status(name)], names[-2:])
        self.assertIsNotNone(self.status(kept))

    def test_dead_letters_stay(self):
        for number in range(5):
            self.kill(f"dead{number}", error="e" * MIB)
        self.pass_time(1)
        self.assertEqual(self.service.stats()["states"]["dead_letter"], 5)

    def test_nothing_goes_where_there_is_room(self):
        for _ in range(5):
            self.complete(payload=bytes(MIB // 2))
        self.pass_time(1)
        self.assertEqual(self.service.stats()["states"]["completed"], 5)

    def test_what_is_kept_counts_towards_the_limit(self):
        limited = replace(self.config.broker, memory_limit=PROCESS_BYTES + 8 * MIB)
        self.service.reconfigure(replace(self.config, broker=limited))
        self.submit("first", payload=bytes(MIB))
        for number in range(6):
            self.kill(f"dead{number}", error="e" * MIB)
        self.pass_time(1)
        [refused] = self.result_of(self.submitting("more", payload=bytes(2 * MIB)))
        self.assertIsInstance(refused, QueueFull)

    def test_others_have_their_turn(self):
        """However much is to go: as after a reload, in which it may be far less than before."""
        retention = replace(self.config.retention, sweep_batch=2)
        self.service.reconfigure(replace(self.config, retention=retention))
        for _ in range(7):
            self.complete(payload=b"small")
        self.store.most_ended_bytes = 0
        with patch.object(kept, "_SLACK_BYTES", 0):
            self.service.make_room()
            self.assertEqual(self.service.stats()["states"]["completed"], 5)
            self.clock.advance(0)
        self.assertEqual(self.service.stats()["states"]["completed"], 0)

    def test_how_much_may_be_kept(self):
        self.assertEqual(most_ended_bytes(self.config), 3 * MIB)
        limited = replace(self.config.broker, memory_limit=PROCESS_BYTES + 4 * MIB)
        self.assertEqual(most_ended_bytes(replace(self.config, broker=limited)), 2 * MIB)
        on_disk = replace(self.config, store=replace(self.config.store, kind="sqlite"))
        self.assertIsNone(most_ended_bytes(on_disk))
        self.service.reconfigure(replace(self.config, broker=limited))
        self.assertEqual(self.store.most_ended_bytes, 2 * MIB)
