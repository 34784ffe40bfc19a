"""TLS from the side of each client, with a private authority and real brokers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from taskqueue.client import TLS, aio, blocking, connect
from taskqueue.client.addresses import places_of
from taskqueue.client.aio_link import check_settings
from taskqueue.client.options import ClientSettings
from taskqueue.client.tls import not_trusted, tls_for
from taskqueue.errors import BadRequest, CannotConnect, TaskQueueError
from tests.client.broker import BrokerCase, flow
from tests.transport.authority import HOST, LOOPBACK, Files, stranger

#: Gives what a client of one face finds, or the error that it ends with.
Face = Callable[..., Deferred[Any]]


async def _submit(client: Any) -> str:
    task = await client.submit("t", b"\0" * 100_000)
    state: str = (await task.status())["state"]
    return state


def on_twisted(address: str, **how: Any) -> Deferred[Any]:
    async def visit() -> str:
        client = await connect(address, reactor=reactor, **how)
        try:
            return await _submit(client)
        finally:
            await client.close()

    return Deferred.fromCoroutine(visit())


def on_asyncio(address: str, **how: Any) -> Deferred[Any]:
    async def visit() -> str:
        async with aio.connect(address, **how) as client:
            return await _submit(client)

    return deferToThread(lambda: asyncio.run(asyncio.wait_for(visit(), 15)))


def waiting(address: str, **how: Any) -> Deferred[Any]:
    def visit() -> str:
        with blocking.connect(address, **how) as client:
            state: str = client.submit("t", b"\0" * 100_000).status()["state"]
            return state

    return deferToThread(visit)


FACES: tuple[Face, ...] = (on_twisted, on_asyncio, waiting)


class FaceCase(BrokerCase):
    """
    @ivar files: certificates.
    @ivar trusting: how a client trusts the authority of the tests.
    """

    def setUp(self) -> None:
        self.files = Files(self.mktemp())
        self.trusting = TLS(ca=self.files.ca)
        self.told: list[str] = []
        globalLogPublisher.addObserver(self._hear)
        self.addCleanup(globalLogPublisher.removeObserver, self._hear)

    def _hear(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("taskqueue.client"):
            self.told.append(event["log_format"].format(**event))

    def start_secure(self, certificate: str = "", more: str = "", **limits: Any) -> str:
        """Start a broker; returns its address."""
        path = certificate or self.files.issue()
        endpoint = f"tls:port=0:interface={LOOPBACK}:certificate={os.path.abspath(path)}{more}"
        self.broker = self.start_broker(endpoint, **limits)
        return f"tqs://{HOST}:{self.port()}"

    def port(self) -> str:
        return self.address().rpartition(":")[2]

    async def refused(self, face: Face, address: str, **how: Any) -> str:
        """Why a client of this face cannot connect."""
        try:
            found = await face(address, timeout_s=5, **how)
        except CannotConnect as error:
            self.assertEqual(len(str(error).splitlines()), 1)
            return str(error)
        raise AssertionError(f"it was let in: {found}")


class GoodTests(FaceCase):
    @flow
    async def test_every_face(self) -> None:
        address = self.start_secure()
        for face in FACES:
            self.assertEqual(await face(address, tls=self.trusting), "pending")
        self.assertEqual(self.broker.traffic.refused.total(), 0)
        self.assertEqual(self.told, [])

    @flow
    async def test_other_ways_to_say_it(self) -> None:
        address = self.start_secure()
        port = self.port()
        self.patch(os, "environ", {**os.environ, "TASKQUEUE_TLS_CA": self.files.ca})
        for face in FACES:
            for said, how in (
                (address, {}),
                (address, {"tls": True}),
                (f"tq://{HOST}:{port}", {"tls": True}),
                (f"tcp:{LOOPBACK}:{port}", {"tls": self.trusting}),
                (f"tqs://{LOOPBACK}:{port}", {}),
                (f"tqs://{HOST}:1,{HOST}:{port}", {}),
            ):
                self.assertEqual(await face(said, **how), "pending", (face, said, how))

    @flow
    async def test_another_name(self) -> None:
        address = self.start_secure(self.files.issue("broker.example.org"))
        tls = TLS(ca=self.files.ca, server_name="broker.example.org")
        for face in FACES:
            self.assertEqual(await face(address, tls=tls), "pending")

    @flow
    async def test_own_certificate(self) -> None:
        address = self.start_secure(more=f":client=required:client_ca={self.files.ca}")
        own = self.files.issue("w1.example.org", to="w1")
        certificate, key = self.files.split(own)
        for tls in (
            TLS(ca=self.files.ca, certificate=own),
            TLS(ca=self.files.ca, certificate=certificate, key=key),
        ):
            for face in FACES:
                self.assertEqual(await face(address, tls=tls), "pending")

    @flow
    async def test_anything_at_all(self) -> None:
        """By a switch with a loud name, and with a warning each time."""
        address = self.start_secure(self.files.issue("else.example.org", ca=stranger()))
        for count, face in enumerate(FACES, 1):
            tls = TLS(insecure_accept_any_certificate=True)
            self.assertEqual(await face(address, tls=tls), "pending")
            said = [text for text in self.told if "CERTIFICATES ARE NOT VERIFIED" in text]
            self.assertEqual(len(said), count)


class RefusalTests(FaceCase):
    async def check(self, address: str, why: str, **how: Any) -> None:
        for face in FACES:
            text = await self.refused(face, address, **how)
            self.assertIn(why, text, face)

    @flow
    async def test_another_host(self) -> None:
        """What was expected is said, and what the certificate has."""
        address = self.start_secure(self.files.issue("broker.example.org", "10.0.0.1"))
        why = f"not for {HOST}: it has DNS:broker.example.org, IP:10.0.0.1"
        await self.check(address, why, tls=self.trusting)
        self.assertEqual(self.broker.traffic.requests.total(), 0)

    @flow
    async def test_expired(self) -> None:
        address = self.start_secure(self.files.issue(expired=True))
        await self.check(address, "it has expired", tls=self.trusting)
        self.assertEqual(self.broker.traffic.requests.total(), 0)

    @flow
    async def test_unknown_authority(self) -> None:
        address = self.start_secure(self.files.issue(ca=stranger()))
        await self.check(address, "authority that this client does not", tls=self.trusting)
        await self.check(address, "TASKQUEUE_TLS_CA", tls=True)
        self.assertEqual(self.broker.traffic.requests.total(), 0)

    @flow
    async def test_no_certificate_of_the_client(self) -> None:
        address = self.start_secure(more=f":client=required:client_ca={self.files.ca}")
        for face in FACES:
            with self.assertRaises(TaskQueueError):
                await face(address, tls=self.trusting, timeout_s=5)
        self.assertEqual(self.broker.traffic.requests.total(), 0)

    @flow
    async def test_plainly_to_tls(self) -> None:
        self.start_secure()
        await self.check(f"tq://{HOST}:{self.port()}", "write tqs:// instead of tq://")

    @flow
    async def test_tls_to_plain(self) -> None:
        self.broker = self.start_broker()
        address = f"tqs://{HOST}:{self.port()}"
        await self.check(address, "the other side speaks without encryption", tls=self.trusting)

    @flow
    async def test_old_versions(self) -> None:
        """A server that speaks TLS 1.1 at most."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.use_certificate_chain_file(path := self.files.issue())
        context.use_privatekey_file(path)

        @implementer(IOpenSSLContextFactory)
        class Old:
            def getContext(self) -> SSL.Context:
                return context

        port = reactor.listenSSL(0, Factory.forProtocol(Protocol), Old(), interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        address = f"tqs://{HOST}:{port.getHost().port}"
        await self.check(address, "TLS: ", tls=self.trusting)

    @flow
    async def test_a_silent_server(self) -> None:
        """One that takes the connection, and does not shake hands."""
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        for face in FACES:
            with self.assertRaises(CannotConnect):
                await face(f"tqs://{HOST}:{port.getHost().port}", tls=self.trusting, timeout_s=0.3)


class SettingsTests(SynchronousTestCase):
    def wrong(self, address: str, tls: Any) -> str:
        error = self.assertRaises(BadRequest, tls_for, places_of(address), tls, {})
        return str(error)

    def test_whether_it_is_encrypted(self) -> None:
        for address, tls, expected in (
            ("tq://a", None, None),
            ("tq://a", False, None),
            ("unix:/a", None, None),
            ("tq://a", True, TLS()),
            ("tqs://a", None, TLS()),
            ("tqs://a,b:1", None, TLS()),
            ("tcp:a:1", TLS(ca="/ca"), TLS(ca="/ca")),
        ):
            self.assertEqual(tls_for(places_of(address), tls, {}), expected, address)

    def test_contradictions(self) -> None:
        self.assertIn("tls=False", self.wrong("tqs://a", False))
        self.assertIn("all of them, or none", self.wrong("tqs://a,tq://b", None))
        self.assertIn("Unix socket", self.wrong("unix:/a", True))

    def test_the_environment_completes(self) -> None:
        environ = {
            "TASKQUEUE_TLS_CA": "/ca",
            "TASKQUEUE_TLS_CERTIFICATE": "/own",
            "TASKQUEUE_TLS_KEY": "/key",
        }
        places = places_of("tqs://a")
        whole = TLS(ca="/ca", certificate="/own", key="/key")
        self.assertEqual(tls_for(places, None, environ), whole)
        said = TLS(ca="/other", certificate="/mine", server_name="b")
        self.assertEqual(tls_for(places, said, environ), said)

    def test_files_that_cannot_be_used(self) -> None:
        files = Files(self.mktemp())
        own = files.issue()
        for tls, why in (
            (TLS(ca="/no/where"), "TLS: /no/where cannot be read: No such file"),
            (TLS(ca=files.ca, certificate="/no/where"), "/no/where cannot be read"),
            (TLS(ca=files.ca, certificate=files.ca), "holds no private key"),
            (TLS(ca=files.ca, certificate=own, key=files.ca), "holds no private key"),
        ):
            settings = ClientSettings(tls=tls)
            error = self.assertRaises(BadRequest, check_settings, "tqs://a", settings)
            self.assertIn(why, str(error))
            with self.assertRaises(BadRequest):
                blocking.BlockingClient("tqs://a", tls=tls)

    def test_rare_faults(self) -> None:
        self.assertIn("fault 99", not_trusted(99))
        self.assertIn("as they say", not_trusted(99, "as they say"))
        self.assertNotIn("--tls-ca", not_trusted(10))
