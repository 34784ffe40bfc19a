"""
The transport and the backend over TLS, with keys: of a broker that wants both.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Connection
from twisted.internet.threads import deferToThread

from taskqueue.contrib.celery import Backend
from taskqueue.errors import CannotConnect, Unauthenticated
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


def keep(url: str, options: dict[str, Any]) -> Any:
    """Store a result and wait for it."""
    app = Celery("x", backend=url, set_as_current=False)
    app.conf.result_backend_transport_options = options
    assert isinstance(app.backend, Backend)
    app.backend.store_result("an-id", 5, "SUCCESS")
    return app.AsyncResult("an-id").get(timeout=10)


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
