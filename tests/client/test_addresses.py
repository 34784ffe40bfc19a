"""Where brokers are, and whose turn it is."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import connect
from taskqueue.client.addresses import LONGEST_PAUSE_S, Place, Turns, pause_s, places_of
from taskqueue.client.deferreds import TwistedFramework
from taskqueue.client.link import Link
from taskqueue.client.session import Session
from tests.client.broker import BrokerCase, flow


class Places(SynchronousTestCase):
    def test_one(self) -> None:
        self.assertEqual(places_of("tq://a"), [Place("a", 7780)])
        self.assertEqual(places_of("tq://[::1]:5/"), [Place("::1", 5)])
        self.assertEqual(places_of("tcp:a:9"), [Place("a", 9)])
        self.assertEqual(places_of("unix:/run/a"), [Place(None, path="/run/a")])

    def test_several(self) -> None:
        wanted = [Place("a", 1), Place("b", 7780), Place("c", 3)]
        self.assertEqual(places_of("tq://a:1,b, c:3"), wanted)
        self.assertEqual(places_of("tq://a:1,tq://b,tq://c:3"), wanted)

    def test_they_can_be_written(self) -> None:
        for address in ("tq://a:1", "tq://[::1]:5", "unix:/run/a"):
            self.assertEqual(str(places_of(address)[0]), address)

    def test_what_is_none(self) -> None:
        for address in (
            "",
            "a",
            "tq://",
            "tq://a,",
            "tq://a,http://b",
            "tcp:a",
            "unix:",
            "tq://a:b",
        ):
            error = self.assertRaises(errors.BadRequest, places_of, address)
            self.assertIn("write tq://host:port", str(error))

    def test_what_may_be_a_key_or_a_password_is_not_repeated(self) -> None:
        key = "tq_0123456789ab_" + "s3cret" * 5 + "xy"
        for address, told in (
            (f"tq://{key}@host:7780", "'tq://...@host:7780' is no address"),
            ("tq://ann:s3cret@host", "'tq://...@host' is no address"),
            (f"tq://host:7780?key={key}", "'tq://host:7780?key=...' is no address"),
            (f"tq://host:{key}", "'tq://host:...' is no address"),
            (key, "'...' is no address"),
        ):
            said = str(self.assertRaises(errors.BadRequest, places_of, address))
            self.assertIn(told, said)
            self.assertNotIn("s3cret", said)


class Order(SynchronousTestCase):
    def test_who_worked_last_is_first(self) -> None:
        turns = Turns(3)
        self.assertEqual(turns.order(), [0, 1, 2])
        turns.reached(1)
        self.assertEqual(turns.order(), [1, 2, 0])

    def test_who_refused_is_last(self) -> None:
        turns = Turns(3)
        turns.reached(2)
        turns.refused()
        self.assertEqual(turns.order(), [0, 1, 2])

    def test_pauses_grow_to_an_end(self) -> None:
        for attempt in (0, 3, 30, 10**6):
            self.assertLessEqual(pause_s(attempt), LONGEST_PAUSE_S * 1.5)
        self.assertGreater(min(pause_s(10**6) for _ in range(9)), max(pause_s(1) for _ in range(9)))

    def test_one_that_hangs_up_before_hello_loses_its_turn(self) -> None:
        session = Session(TwistedFramework(MemoryReactorClock()), "t", 5)
        link = Link(session, "tq://a,b", MemoryReactorClock())
        session.disconnected("gone")
        self.assertEqual(link._endpoint.turns.order(), [1, 0])


class Several(BrokerCase):
    @flow
    async def test_the_broker_that_is_there_is_found(self) -> None:
        gone = self.start_broker()
        address = self.address(gone)
        await gone.stopService()
        both = f"{address},{self.address()}"
        client = await self.connect(both)
        self.assertGreater(await client.ping(), 0)

    @flow
    async def test_one_that_has_no_room_is_passed_over(self) -> None:
        full = self.start_broker(max_connections=1)
        await self.connect(self.address(full))
        client = self.client(f"{self.address(full)},{self.address()}")
        client.start()
        self.addCleanup(client.close)
        self.assertGreater(await client.ping(), 0)

    @flow
    async def test_none_is_there(self) -> None:
        gone = self.start_broker()
        address = self.address(gone)
        await gone.stopService()
        failed = connect(f"{address},{address}", reactor=reactor)
        await self.assertFailure(failed, errors.CannotConnect)
