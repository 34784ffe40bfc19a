"""The races that are not beside raw brokers: who takes part, and what stands in for the broker."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import frameworks, limits, scale
from benchmarks.contest import OURS
from benchmarks.echo import EchoFactory, recorded
from benchmarks.groups import Groups
from benchmarks.peers import native
from benchmarks.peers.course import PAYLOAD
from benchmarks.peers.producing import CHUNK, in_chunks, one_by_one, until_stored
from taskqueue.store import MemoryStore

CLAIM = native.frame(native.CLAIM, b'{"id":0,"limit":5,"wait_s":5}')


class WhoTakesPart(SynchronousTestCase):
    def test_every_race_has_somebody_and_ours_among_them(self) -> None:
        for module in (frameworks, limits, scale):
            for quick in (False, True):
                everyone = module.contestants(quick)
                self.assertEqual({who.race for who in everyone}, {r.key for r in module.RACES})
                for race in module.RACES:
                    names = [who.name for who in everyone if who.race == race.key]
                    self.assertEqual(len(names), len(set(names)))
                    self.assertTrue(any(name.startswith(OURS) for name in names), race.key)

    def test_frameworks_are_compared_at_equal_durability(self) -> None:
        promises = {frameworks.ON_DISK, frameworks.SOON}
        for peer in frameworks.PEERS:
            self.assertEqual({promise for _, promise in peer.syncs}, promises)
        found = {who.promise for who in frameworks.contestants() if who.name.startswith(OURS)}
        self.assertEqual(found, promises)

    def test_a_quick_race_has_fewer_tasks(self) -> None:
        whole, quick = frameworks.contestants(), frameworks.contestants(quick=True)
        for long, short in zip(whole, quick, strict=True):
            self.assertGreater(long.variants[0]["tasks"], short.variants[0]["tasks"])
        self.assertLess(len(scale.contestants(quick=True)), len(scale.contestants()))


class Producing(SynchronousTestCase):
    def test_one_by_one_and_in_chunks(self) -> None:
        sent: list[int] = []
        one_by_one(lambda: sent.append(1))(3)
        in_chunks(sent.append)(2 * CHUNK + 7)
        self.assertEqual(sent, [1, 1, 1, CHUNK, CHUNK, 7])

    def test_results_that_never_come(self) -> None:
        self.assertRaises(SystemExit, until_stored, lambda: 4, 5, -1.0)
        until_stored(lambda: 5, 5, -1.0)


class BareServer(SynchronousTestCase):
    def setUp(self) -> None:
        self.answers = recorded(5)
        self.factory = EchoFactory(self.answers)

    def connect(self) -> tuple[object, StringTransport]:
        echo, transport = self.factory.buildProtocol(None), StringTransport()
        echo.makeConnection(transport)
        return echo, transport

    def test_it_says_what_the_broker_said(self) -> None:
        self.assertEqual(
            self.answers.keys(), {native.HELLO, native.SUBMIT, native.CLAIM, native.RESULT}
        )
        self.assertEqual(len(native.DELIVERY.findall(self.answers[native.CLAIM])), 5)
        for kind, answer in self.answers.items():
            self.assertEqual(answer[4], native.ACK, kind)
            self.assertEqual(len(answer), 4 + int.from_bytes(answer[:4], "big"))

    def test_however_the_bytes_arrive(self) -> None:
        echo, transport = self.connect()
        submission = native.submission([PAYLOAD] * 5)
        for byte in native.GREETING + submission:
            echo.dataReceived(bytes([byte]))
        expected = self.answers[native.HELLO] + self.answers[native.SUBMIT]
        self.assertEqual(transport.value(), expected)

    def test_a_claim_waits_for_tasks(self) -> None:
        worker, claimed = self.connect()
        producer, _ = self.connect()
        worker.dataReceived(CLAIM + CLAIM)
        self.assertEqual(claimed.value(), b"")
        submission = native.submission([PAYLOAD] * 5)
        producer.dataReceived(submission)
        self.assertEqual(claimed.value(), self.answers[native.CLAIM])
        producer.dataReceived(submission + submission)
        worker.dataReceived(CLAIM)
        self.assertEqual(claimed.value(), self.answers[native.CLAIM] * 3)


class Changes(SynchronousTestCase):
    def test_groups_are_what_a_store_takes(self) -> None:
        store, groups = MemoryStore(), Groups(7)
        store.open()
        for batch in [*groups.take(3), *groups.take(2)]:
            store.commit(batch)
        left = list(store.recover().tasks)
        self.assertEqual(len(left), 14)
        self.assertEqual(sum(store.recover().ended.values()), 21)
