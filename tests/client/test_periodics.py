"""Periodic tasks, with a real broker."""

from __future__ import annotations

from datetime import timedelta

from taskqueue import errors
from taskqueue.wire import MessageType
from tests.client.broker import BrokerCase, flow
from tests.client.test_calls import CallCase

M = MessageType


class Saying(CallCase):
    def test_what_is_put(self) -> None:
        call = self.start(
            self.calls.put_periodic(
                "n", "t", [1], every=timedelta(minutes=5), catch_up_window=60, lease=None
            )
        )
        header = self.peer.expect(M.PUT_PERIODIC)
        wanted = {"name": "n", "type": "t", "payload": b"[1]"}
        self.assertEqual(
            header["periodics"], [wanted | {"every_s": 300.0, "catch_up_window_s": 60}]
        )
        put = {"name": "n", "paused": False, "next_at": 300.0}
        self.peer.ack(header, periodics=[put])
        self.assertEqual(self.successResultOf(call), put)

    def test_what_could_happen_twice_is_not_asked_again(self) -> None:
        calls = [self.start(self.calls.trigger_periodic("n"))]
        calls.append(self.start(self.calls.delete_periodic("n")))
        put = self.start(self.calls.put_periodic("n", "t", cron="* * * * *"))
        self.peer.lose()
        for call in calls:
            self.failureResultOf(call, errors.ConnectionLost)
        self.assertNoResult(put)


class Calling(BrokerCase):
    @flow
    async def test_from_put_to_delete(self) -> None:
        client = await self.connect()
        put = await client.put_periodic("n", "t", {"a": 1}, cron="0 3 * * *", tz="Europe/Paris")
        self.assertEqual((put["name"], put["paused"]), ("n", False))
        (listed,) = await client.periodics()
        self.assertEqual((listed["cron"], listed["next_at"]), ("0 3 * * *", put["next_at"]))
        task = await client.trigger_periodic("n")
        (delivery,) = await client.claim(wait_s=5)
        self.assertEqual((delivery.id, delivery.payload), (task, b'{"a":1}'))
        await client.complete(delivery.holding, b"[2]")
        self.assertEqual(await task, [2])
        self.assertIsNone(await client.pause_periodic("n"))
        self.assertEqual(await client.pause_periodic("n", False), put["next_at"])
        await client.delete_periodic("n")
        self.assertEqual(await client.periodics(), [])

    @flow
    async def test_what_is_wrong_is_raised(self) -> None:
        client = await self.connect()
        for options in ({}, {"cron": "61 * * * *"}, {"every_s": 60, "colour": 1}):
            bad = client.put_periodic("n", "t", **options)
            await self.assertFailure(bad, errors.BadRequest)
        for call in (client.trigger_periodic, client.delete_periodic, client.pause_periodic):
            await self.assertFailure(call("nobody"), errors.UnknownPeriodic)
