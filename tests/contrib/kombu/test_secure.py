"""
The transport and the backend over TLS, with keys: of a broker that wants both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Connection, Queue
from twisted.internet.threads import deferToThread

from taskqueue.client.credentials import ApiKey
from taskqueue.contrib.celery import Backend
from taskqueue.contrib.celery.clients import Clients
from taskqueue.errors import CannotConnect, Forbidden, FrameTooLarge, Unauthenticated
from tests.client.broker import flow
from tests.client.test_credentials import KnowingCase
from tests.client.test_tls import HOST, FaceCase


def visit(url: str, how: dict[str, Any]) -> str:
    """Publish, consume and acknowledge."""
    with Connection(url, **how) as connection:
        queue = connection.SimpleQueue("secure")
        queue.put({"a": 1})
        message = queue.get(timeout=10)
        message.ack()
        queue.close()
        return str(message.payload)


def publish(url: str) -> None:
    """Publish to a queue that is declared before."""
    with Connection(url) as connection:
        connection.Producer().publish({"a": 1}, routing_key="work", declare=[Queue("work")])


def consume(url: str) -> Any:
    """Consume from it, and have a queue for a reply beside."""
    with Connection(url) as connection:
        temporary = Queue("reply", auto_delete=True, expires=60)
        with connection.channel() as channel:
            bound = temporary(channel)
            bound.declare()
            channel.after_reply_message_received(bound.name)
        queue = connection.SimpleQueue("work")
        message = queue.get(timeout=10)
        message.ack()
        return message.payload


def empty(url: str) -> None:
    """Delete a queue, with all that is in it."""
    publish(url)
    with Connection(url) as connection:
        Queue("work")(connection.channel()).delete()


def keep(url: str, options: dict[str, Any]) -> Any:
    """Store a result and wait for it."""
    app = Celery("x", backend=url, set_as_current=False)
    app.conf.result_backend_transport_options = options
    assert isinstance(app.backend, Backend)
    try:
        app.backend.store_result("an-id", 5, "SUCCESS")
        return app.AsyncResult("an-id").get(timeout=10)
    finally:
        # Its thread would go on trying to reach a broker that goes with the test.
        app.backend.clients.close()


class OverTls(FaceCase):
    @flow
    async def test_both(self) -> None:
        port = self.start_secure().rpartition(":")[2]
        trusting = {"ssl": {"ssl_ca_certs": self.files.ca}}
        for url in (f"taskqueues://{HOST}:{port}", f"taskqueue://{HOST}:{port}"):
            self.assertEqual(await deferToThread(visit, url, trusting), "{'a': 1}")
            self.assertEqual(await deferToThread(keep, url, trusting), 5)

    @flow
    async def test_whom_nobody_vouches_for(self) -> None:
        port = self.start_secure().rpartition(":")[2]
        with self.assertRaises(CannotConnect) as caught:
            await deferToThread(Connection(f"taskqueues://{HOST}:{port}").connect)
        self.assertIn("certificate", str(caught.exception))


class WithKeys(KnowingCase):
    @flow
    async def test_in_the_url(self) -> None:
        key = self.add_key("admin")
        self.start()
        port = self.address().rpartition(":")[2]
        url = f"taskqueue://:{key}@127.0.0.1:{port}"
        self.assertEqual(await deferToThread(visit, url, {}), "{'a': 1}")
        self.assertEqual(await deferToThread(keep, url, {}), 5)

    @flow
    async def test_another_one(self) -> None:
        self.add_key("admin")
        self.start()
        port = self.address().rpartition(":")[2]
        for url in (f"taskqueue://127.0.0.1:{port}", f"taskqueue://:tq_wrong@127.0.0.1:{port}"):
            with self.assertRaises(Unauthenticated) as caught:
                await deferToThread(Connection(url).connect)
            self.assertNotIn("tq_wrong", str(caught.exception))

    @flow
    async def test_key_that_is_replaced_while_the_program_runs(self) -> None:
        """What was refused with the old one, for both of its clients, asks with the new one."""
        key = self.add_key("admin")
        self.start()
        path = Path(self.mktemp())
        path.write_text("tq_old")
        path.chmod(0o600)
        clients = Clients(self.address(), {"api_key": ApiKey(path=str(path))})
        for call in (clients.run, clients.wait):
            with self.assertRaises(Unauthenticated):
                await deferToThread(call, lambda calls: calls.ping())
        path.write_text(key)
        for call in (clients.run, clients.wait):
            self.assertGreater(await deferToThread(call, lambda calls: calls.ping()), 0)
        await deferToThread(clients.close)

    @flow
    async def test_one_that_says_too_much_leaves_the_others_alone(self) -> None:
        """Whatever waits at the same client goes on."""
        key = self.add_key("admin")
        self.start()
        clients = Clients(self.address(), {"api_key": ApiKey(key)})
        shared = clients._waiting
        with self.assertRaises(FrameTooLarge):
            await deferToThread(
                clients.wait, lambda calls: calls.put_value("n", "k", bytes(64 * 2**20))
            )
        self.assertIs(clients._waiting, shared)
        self.assertGreater(await deferToThread(clients.wait, lambda calls: calls.ping()), 0)
        await deferToThread(clients.close)

    @flow
    async def test_who_publishes_and_consumes_need_not_look_or_cancel(self) -> None:
        """A declaration tells how much is in a queue, and a reply's queue is emptied."""
        key = self.add_key("submit:*", "claim:*", "values:write:kombu")
        self.start()
        url = f"taskqueue://:{key}@127.0.0.1:{self.address().rpartition(':')[2]}"
        await deferToThread(publish, url)
        self.assertEqual(await deferToThread(consume, url), {"a": 1})
        with self.assertRaises(Forbidden) as caught:
            await deferToThread(empty, url)
        self.assertIn("cancel:work", str(caught.exception))
