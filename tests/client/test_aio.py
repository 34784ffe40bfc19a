"""The client for asyncio, with a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import Client, Report, Search, TaskHandle, aio, aio_link
from taskqueue.client.aio import AsyncClient
from taskqueue.client.futures import AsyncioFramework
from taskqueue.client.session import Session
from taskqueue.core.task import State
from tests.client.broker import BrokerCase, flow


def elsewhere(call: Callable[[], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
    """Run a coroutine of asyncio in a thread of its own, while the reactor runs the broker."""
    return deferToThread(lambda: asyncio.run(asyncio.wait_for(call(), 15)))


def in_asyncio(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Deferred[None]]:
    """A test that awaits what belongs to asyncio."""

    @wraps(test)
    def run(self: Any) -> Deferred[None]:
        return elsewhere(lambda: test(self))

    return run


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


class Talking(BrokerCase):
    def test_from_submit_to_result(self) -> Deferred[None]:
        async def main() -> None:
            async with aio.connect(self.address(), name="tester") as client:
                self.assertTrue(client.connected)
                self.assertEqual(client.broker["version"], 1)
                task = await client.submit("greet", {"to": "you"}, headers={"lang": "en"})
                (delivery,) = await client.claim(wait_s=5)
                self.assertEqual((delivery.id, delivery.payload), (task.id, b'{"to":"you"}'))
                waiting = asyncio.ensure_future(task.result(timeout=5))
                await client.complete(delivery.holding, b'{"hello":"you"}')
                self.assertEqual(await waiting, {"hello": "you"})
                self.assertEqual(await task, {"hello": "you"})
                self.assertEqual(await client.result(task), b'{"hello":"you"}')
                self.assertEqual((await task.status())["state"], "completed")
                self.assertIsNone(await task.delete())
                self.assertIsNone(await task.status())
            self.assertFalse(client.connected)

        return elsewhere(main)

    def test_many_as_they_complete(self) -> Deferred[None]:
        async def main() -> None:
            client = await aio.connect(self.address())
            told: list[Any] = []
            progress: list[Any] = []
            tasks = await client.submit_many(
                ({"type": "t", "payload": n} for n in range(2500)),
                told.append,
                on_progress=progress.append,
            )
            self.assertEqual(progress[-1], (2500, 0))

            async def follow() -> list[str]:
                return [outcome.task async for outcome in client.as_completed(tasks)]

            following = asyncio.ensure_future(follow())
            done = 0
            while done < 2500:
                deliveries = await client.claim(limit=500, wait_s=5)
                await client.report([Report(*d.holding, State.COMPLETED) for d in deliveries])
                done += len(deliveries)
            ended = await following
            await until(lambda: len(told) == 2500)
            self.assertEqual(sorted(ended), sorted(tasks))
            found = [task async for task in client.search(Search(queue="default", limit=1000))]
            self.assertEqual(len(found), 2500)
            await client.close()

        return elsewhere(main)

    def test_a_task_that_nobody_knows(self) -> Deferred[None]:
        async def main() -> None:
            async with aio.connect(self.address()) as client:
                unknown = client.handle("01a20c31-8cc5-7a05-b409-9ec287260001")
                found = [outcome async for outcome in client.as_completed([unknown])]
                self.assertIsInstance(found[0], errors.UnknownTask)
                for call in (unknown.result(5), unknown.cancel(), unknown.retry()):
                    with self.assertRaises(errors.UnknownTask):
                        await call

        return elsewhere(main)

    def test_a_result_of_another_codec(self) -> Deferred[None]:
        async def main() -> None:
            async with aio.connect(self.address()) as client:
                raw = await client.submit("t", b"in")
                json = await client.submit("t", {}, codec="json")
                for delivery in await client.claim(limit=2, wait_s=5):
                    await client.complete(delivery.holding, b"{out")
                self.assertEqual(await raw, b"{out")
                with self.assertRaisesRegex(errors.BadRequest, 'codec="bytes"'):
                    await json

        return elsewhere(main)

    def test_waiting_can_be_given_up(self) -> Deferred[None]:
        async def main() -> None:
            async with aio.connect(self.address()) as client:
                task = await client.submit("t")
                with self.assertRaises(errors.AnswerTimedOut):
                    await task.result(timeout=0.05)
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(task.result(), 0.05)
                self.assertEqual(len(client.calls._outcomes), 0)
                claim = asyncio.ensure_future(client.claim(["other"], wait_s=30))
                await client.ping()
                claim.cancel()
                await client.submit("t", queue="other")
                await until(lambda: client._session._sent == {})
                # What came for the claim that was given up goes back.
                self.assertEqual(len(await client.claim(["other"], wait_s=5)), 1)

        return elsewhere(main)

    def test_following_can_be_given_up(self) -> None:
        async def main() -> None:
            async with aio.connect(self.address()) as client:
                some, other = await client.submit("t"), await client.submit("t")
                await some.cancel()
                ended = client.as_completed([some, other])
                self.assertEqual((await anext(ended)).task, some)
                await ended.aclose()
                await until(lambda: len(client.calls._outcomes) == 0)

        return elsewhere(main)

    def test_a_closed_client(self) -> Deferred[None]:
        async def main() -> None:
            client = await aio.connect(self.address())
            waiting = asyncio.ensure_future(client.claim(wait_s=30))
            await client.ping()
            await client.close()
            with self.assertRaises(errors.ConnectionLost):
                await waiting
            with self.assertRaises(errors.ConnectionLost):
                await client.stats()
            with self.assertRaises(errors.ConnectionLost):
                async for _ in client.as_completed(["x"]):
                    pass
            await client.close()

        return elsewhere(main)


class Connecting(BrokerCase):
    def refused(self, address: str, error: type[Exception], **how: Any) -> Deferred[Exception]:
        async def main() -> None:
            await aio.connect(address, **how)

        return self.assertFailure(elsewhere(main), error)

    @flow
    async def test_nobody_there(self) -> None:
        address = self.address()
        await self.broker.stopService()
        error = await self.refused(address, errors.CannotConnect)
        self.assertIn(address, str(error))

    @flow
    async def test_one_connection_too_many(self) -> None:
        broker = self.start_broker(max_connections=1)
        await self.connect(self.address(broker))
        await self.refused(self.address(broker), errors.TooManyConnections)

    @flow
    async def test_a_silent_peer(self) -> None:
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = f"tq://127.0.0.1:{port.getHost().port}"
        await self.refused(address, errors.CannotConnect, timeout_s=0.2)

    @flow
    async def test_somebody_else_there(self) -> None:
        class Web(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        port = reactor.listenTCP(0, Factory.forProtocol(Web), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        error = await self.refused(f"tq://127.0.0.1:{port.getHost().port}", errors.CannotConnect)
        self.assertIn("no taskqueue broker answers", str(error))

    @flow
    async def test_what_is_no_address(self) -> None:
        error = await self.refused("http://host", errors.BadRequest)
        self.assertIn("write tq://host:port", str(error))

    @flow
    async def test_the_broker_that_is_there_is_found(self) -> None:
        gone = self.start_broker()
        address = self.address(gone)
        await gone.stopService()

        async def main() -> float:
            async with aio.connect(f"{address},{self.address().removeprefix('tq://')}") as client:
                return await client.ping()

        self.assertGreater(await elsewhere(main), 0)

    @flow
    async def test_one_that_has_no_room_is_passed_over(self) -> None:
        full = self.start_broker(max_connections=1)
        await self.connect(self.address(full))

        async def main() -> float:
            async with AsyncClient(f"{self.address(full)},{self.address()}") as client:
                return await client.ping()

        self.assertGreater(await elsewhere(main), 0)

    @flow
    async def test_pauses_grow_while_nobody_is_there(self) -> None:
        attempts: list[int] = []

        def pause_s(attempt: int) -> float:
            attempts.append(attempt)
            return 0.0

        self.patch(aio_link, "pause_s", pause_s)
        address = self.address()
        await self.broker.stopService()

        async def main() -> None:
            async with AsyncClient(address):
                await until(lambda: len(attempts) > 2)

        await elsewhere(main)
        self.assertEqual(attempts[:3], [1, 2, 3])

    @flow
    async def test_nothing_is_left_of_an_attempt(self) -> None:
        address = self.address()
        await self.broker.stopService()

        async def main() -> set[Any]:
            with self.assertRaises(errors.CannotConnect):
                await aio.connect(address)
            return asyncio.all_tasks() - {asyncio.current_task()}

        self.assertEqual(await deferToThread(lambda: asyncio.run(main())), set())

    @flow
    async def test_the_broker_restarts(self) -> None:
        """What was asked, watched and waited for goes on with the broker that comes back."""
        path = self.mktemp()
        broker = self.start_broker(path=path)
        address = self.address(broker)
        events: dict[str, Any] = {}

        async def main() -> Any:
            async with aio.connect(address) as client:
                task = await client.submit("t", {"n": 1}, queue="q")
                result = asyncio.ensure_future(task.result())
                await client.ping()
                events["ready"] = True
                await until(lambda: not client.connected)
                events["lost"] = True
                again = await client.submit("t", {"n": 2}, queue="q2")
                (delivery,) = await client.claim(["q"], wait_s=5)
                await client.complete(delivery.holding, b"[1]")
                return await result, again

        running = elsewhere(main)
        await self.until(lambda: events.get("ready"))
        await broker.stopService()
        await self.until(lambda: events.get("lost"))
        self.start_broker(f"tcp:{address.rpartition(':')[2]}:interface=127.0.0.1", path)
        result, again = await running
        self.assertEqual(result, [1])
        self.assertIsInstance(again, TaskHandle)


class Faces(SynchronousTestCase):
    def test_all_that_can_be_asked_can_be_asked_here(self) -> None:
        """The lists of the faces are written by hand, for the sake of types."""
        names = {name for name in vars(Client) if not name.startswith("_")}
        self.assertEqual(names - set(vars(AsyncClient)), set())

    def test_it_belongs_to_a_loop(self) -> None:
        self.assertRaises(RuntimeError, AsyncClient)


class Carrying(SynchronousTestCase):
    def test_the_session_waits_while_the_broker_does_not_read(self) -> None:
        async def main() -> list[bool]:
            loop = asyncio.get_running_loop()
            session = Session(AsyncioFramework(loop), "test", 5)
            connection = aio_link.Connection(session, loop)
            held = []
            connection.pause_writing()
            held.append(session._held_back)
            connection.resume_writing()
            return [*held, session._held_back]

        self.assertEqual(asyncio.run(main()), [True, False])


class Futures(SynchronousTestCase):
    def test_one_that_was_cancelled_is_let_be(self) -> None:
        async def main() -> list[Any]:
            framework = AsyncioFramework(asyncio.get_running_loop())
            told: list[Any] = []
            for settle in (framework.resolve, framework.reject):
                future = framework.create_future(told.append)
                future.cancel()
                await asyncio.sleep(0)
                settle(future, ValueError())
            return told

        self.assertEqual(len(asyncio.run(main())), 2)
