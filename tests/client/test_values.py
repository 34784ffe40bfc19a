"""Values under keys, with the three clients."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from taskqueue import errors
from taskqueue.client import Value, aio
from taskqueue.client import values as values_module
from taskqueue.wire import MessageType
from tests.client.broker import BrokerCase, flow
from tests.client.test_aio import elsewhere
from tests.client.test_blocking import BlockingCase, in_thread
from tests.client.test_calls import CallCase

M = MessageType


class Saying(CallCase):
    def test_what_is_put(self) -> None:
        call = self.start(self.calls.put_value("n", "k", bytearray(b"v"), expires_s=5, version=0))
        header = self.peer.expect(M.PUT_VALUES)
        item = {"namespace": "n", "key": "k", "value": b"v", "expires_s": 5, "version": 0}
        self.assertEqual(header["values"], [item])
        self.peer.ack(header, versions=[7])
        self.assertEqual(self.successResultOf(call), 7)

    def test_a_condition_that_does_not_hold(self) -> None:
        call = self.start(self.calls.put_value("n", "k", b"", only_if="absent"))
        header = self.peer.expect(M.PUT_VALUES)
        self.assertEqual(header["values"][0]["only_if"], "absent")
        self.peer.ack(header, versions=[None])
        self.assertIsNone(self.successResultOf(call))

    def test_what_is_refused(self) -> None:
        call = self.start(self.calls.put_value("n", "k", b""))
        error = {"item": 0, "code": "VALUES_FULL", "message": "full", "retry_after_s": 1.0}
        self.peer.ack(self.peer.expect(M.PUT_VALUES), versions=[None], errors=[error])
        self.failureResultOf(call, errors.ValuesFull)
        text = self.start(self.calls.put_value("n", "k", "text"))  # type: ignore[arg-type]  # that
        self.failureResultOf(text, errors.BadRequest)

    def test_what_could_happen_twice_is_not_asked_again(self) -> None:
        lost = [
            self.start(call)
            for call in (
                self.calls.put_value("n", "k", b"", only_if="absent"),
                self.calls.put_value("n", "k", b"", version=0),
                self.calls.take_value("n", "k"),
                self.calls.increase_value("n", "k"),
            )
        ]
        asked_again = [
            self.start(call)
            for call in (
                self.calls.put_value("n", "k", b""),
                self.calls.get_value("n", "k"),
                self.calls.delete_values("n", ["k"]),
                self.calls.list_values("n"),
                self.calls.list_keys("n"),
                self.calls.wait_values("n", {"k": 0}),
                self.calls.value_namespaces(),
            )
        ]
        self.peer.lose()
        for call in lost:
            self.failureResultOf(call, errors.ConnectionLost)
        for call in asked_again:
            self.assertNoResult(call)

    def test_keys_alone_bring_no_values(self) -> None:
        call = self.start(self.calls.list_keys("n", "a", after="ab", limit=5))
        header = self.peer.expect(M.LIST_VALUES)
        asked = {"namespace": "n", "prefix": "a", "after": "ab", "bytes": False, "limit": 5}
        self.assertEqual({name: header[name] for name in asked}, asked)
        self.peer.ack(
            header, values=[{"key": "ac", "version": 2, "expires_at": None, "bytes": 7}], next=None
        )
        self.assertEqual(self.successResultOf(call), [("ac", 7, 2, None)])

    def test_what_did_not_fit_into_an_answer_is_asked_for_again(self) -> None:
        call = self.start(self.calls.get_values("n", iter("abc")))
        header = self.peer.expect(M.GET_VALUES)
        self.assertEqual(header["keys"], ["a", "b", "c"])
        a = {"key": "a", "version": 1, "expires_at": None, "value": b"1"}
        self.peer.ack(header, values=[a, None])
        header = self.peer.expect(M.GET_VALUES)
        self.assertEqual(header["keys"], ["c"])
        self.peer.ack(header, values=[None])
        self.assertEqual(self.successResultOf(call), {"a": Value(b"1", 1, None)})

    def test_many_are_put_in_requests_that_fit(self) -> None:
        self.patch(values_module, "MOST_KEYS", 2)
        many = dict.fromkeys("abc", b"")
        call = self.start(self.calls.put_values("n", many, expires_s=5))
        for keys in (["a", "b"], ["c"]):
            header = self.peer.expect(M.PUT_VALUES)
            self.assertEqual([item["key"] for item in header["values"]], keys)
            self.peer.ack(header, versions=[ord(key) for key in keys])
        self.assertEqual(self.successResultOf(call), [97, 98, 99])
        half = self.calls._session.limits.max_frame_bytes // 2
        loads = values_module._loads([{"value": bytes(half - 2048)}, {"value": bytes(2048)}], half)
        self.assertEqual([len(load) for load in loads], [1, 1])

    def test_half_a_character_is_not_sent(self) -> None:
        for call in (
            self.calls.put_value("n", "k\ud800", b""),
            self.calls.get_value("n\udc00", "k"),
        ):
            error = self.failureResultOf(self.start(call), errors.BadRequest).value
            self.assertIn("half a character", str(error))
        self.assertEqual(self.peer.got, [])


class Calling(BrokerCase):
    @flow
    async def test_half_a_character(self) -> None:
        client = await self.connect()
        call = client.put_value("n", "k\ud800", b"")
        error = await self.assertFailure(call, errors.BadRequest)
        self.assertEqual(error.fields["field"], "values[0].key")
        await self.assertFailure(client.submit("t", unique="u\udfff"), errors.BadRequest)
        self.assertEqual(await client.value_namespaces(), {})
        version = await client.put_value("n", "k\U0001f600", b"v")
        self.assertEqual(await client.get_value("n", "k\U0001f600"), Value(b"v", version or 0))

    @flow
    async def test_a_life(self) -> None:
        client = await self.connect()
        first = await client.put_value("n", "k", b"\x00\xff")
        self.assertIsNone(await client.put_value("n", "k", b"", only_if="absent"))
        second = await client.put_value("n", "k", b"w", version=first)
        assert first is not None and second is not None
        self.assertGreater(second, first)
        self.assertEqual(await client.get_value("n", "k"), Value(b"w", second))
        self.assertIsNone(await client.get_value("n", "other"))
        found = await client.put_value("n", "short", b"", expires_s=3600)
        value = await client.get_value("n", "short")
        assert value is not None and value.expires_at is not None
        self.assertEqual(value.version, found)
        self.assertEqual(await client.increase_value("n", "count", 5), 5)
        self.assertEqual(await client.increase_value("n", "count", -6), -1)
        await self.assertFailure(client.increase_value("n", "k"), errors.Conflict)
        keys = [key for key, _ in await client.list_values("n")]
        self.assertEqual(keys, ["count", "k", "short"])
        self.assertEqual(await client.value_namespaces(), {"n": 3})
        taken = await client.take_value("n", "k")
        self.assertEqual(taken, Value(b"w", second))
        self.assertIsNone(await client.take_value("n", "k"))
        self.assertEqual(await client.delete_values("n", ["k", "count", "short"]), 2)

    @flow
    async def test_many(self) -> None:
        client = await self.connect()
        many = {f"k{number:04}": b"%d" % number for number in range(2500)}
        versions = await client.put_values("n", many)
        self.assertEqual(versions, sorted(versions))
        self.assertEqual(len(versions), 2500)
        found = await client.get_values("n", [*many, "other"])
        self.assertEqual({key: value.value for key, value in found.items()}, many)
        listed = await client.list_values("n", "k", limit=2200)
        self.assertEqual([key for key, _ in listed], list(many)[:2200])
        sizes = await client.list_keys("n", "k", limit=2200)
        self.assertEqual(
            sizes, [(key, len(one.value), one.version, one.expires_at) for key, one in listed]
        )
        rest = await client.list_values("n", "k", after=listed[-1][0])
        self.assertEqual([key for key, _ in rest], list(many)[2200:])
        self.assertEqual(await client.delete_values("n", many), 2500)

    @flow
    async def test_waiting(self) -> None:
        client, other = await self.connect(), await self.connect()
        waiting = client.wait_values("n", {"a": 0, "b": 0})
        await self.until(lambda: len(self.broker.broker.ledger.values.waits))
        version = await other.put_value("n", "b", b"v")
        self.assertEqual(await waiting, {"b": Value(b"v", version)})
        self.assertEqual(await client.wait_values("n", {"a": 0}, wait_s=0), {})
        self.assertEqual(await client.wait_values("n", {"a": 0}, wait_s=0.05), {})


class OnAsyncio(BrokerCase):
    def test_the_same_calls(self) -> Deferred[None]:
        async def main() -> None:
            async with aio.connect(self.address()) as client:
                version = await client.put_value("n", "k", b"v")
                assert version is not None
                self.assertEqual(await client.get_value("n", "k"), Value(b"v", version))
                self.assertEqual(list(await client.wait_values("n", {"k": 0}, 5)), ["k"])
                self.assertEqual(await client.increase_value("n", "count"), 1)
                self.assertEqual(await client.take_value("n", "k"), Value(b"v", version))
                self.assertEqual(len(await client.put_values("n", {"a": b""})), 1)
                self.assertEqual(len(await client.list_values("n")), 2)
                self.assertEqual(list(await client.get_values("n", ["a", "b"])), ["a"])
                self.assertEqual(await client.value_namespaces(), {"n": 2})
                self.assertEqual(await client.delete_values("n", ["a", "count"]), 2)

        return elsewhere(main)

    def test_half_a_character(self) -> Deferred[None]:
        async def main() -> None:
            async with aio.connect(self.address()) as client:
                with self.assertRaisesRegex(errors.BadRequest, r"values\[0\]\.key has half"):
                    await client.put_value("n", "k\ud800", b"")
                self.assertEqual(await client.value_namespaces(), {})

        return elsewhere(main)


class Waiting(BlockingCase):
    @in_thread
    def test_half_a_character(self) -> None:
        client = self.waiting()
        error = self.assertRaises(errors.BadRequest, client.put_value, "n", "k\ud800", b"")
        self.assertEqual(error.fields["field"], "values[0].key")
        self.assertEqual(client.value_namespaces(), {})

    @in_thread
    def test_the_same_calls(self) -> None:
        client = self.waiting()
        version = client.put_value("n", "k", b"v")
        assert version is not None
        self.assertEqual(client.get_value("n", "k"), Value(b"v", version))
        self.assertEqual(client.get_values("n", ["k"]), {"k": Value(b"v", version)})
        self.assertEqual(client.wait_values("n", {"k": 0}, 5), {"k": Value(b"v", version)})
        self.assertEqual(client.increase_value("n", "count"), 1)
        self.assertEqual(len(client.list_values("n")), 2)
        self.assertEqual(client.value_namespaces(), {"n": 2})
        self.assertEqual(client.take_value("n", "k"), Value(b"v", version))
        self.assertEqual(client.delete_values("n", ["count"]), 1)
        self.assertEqual(len(client.put_values("n", {"a": b"", "b": b""})), 2)
