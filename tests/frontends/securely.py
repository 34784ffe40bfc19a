"""
Conversations with a broker over TLS, from the side of OpenSSL as Python has it: blocking,
each in a thread.
"""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from taskqueue.config import Config, HttpConfig, LimitsConfig, ListenConfig, StoreConfig
from taskqueue.wire import MessageType, encode
from tests.frontends.talking import LOOPBACK, BrokerTestCase
from tests.transport.authority import HOST, Files

#: An endpoint of each door, with the certificate of the test.
TLS = f"tls:port=0:interface={LOOPBACK}"
PLAIN = f"tcp:0:interface={LOOPBACK}"

#: What to say at each door, and what the answer has in it.
FRAMES = (encode(MessageType.HELLO, {"versions": [1]}), b'"version"')
LINES = (b'{"op": "claim", "wait_s": 0}\n', b'"tasks":[]')
HTTP = (b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n", b"200 OK")

TIMEOUT_S = 20


def trusting(files: Files, shown: str = "") -> ssl.SSLContext:
    """
    A client's context that trusts the authority of the tests.

    @param shown: the file of the client's own certificate; empty for none.
    """
    context = ssl.create_default_context(cafile=files.ca)
    if shown:
        context.load_cert_chain(shown)
    return context


def outdated(files: Files) -> ssl.SSLContext:
    """A client's context that offers TLS 1.0 and 1.1 only."""
    context = trusting(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def connected(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S)


def read_until(connection: Any, sign: bytes) -> bytes:
    """What comes in, until C{sign} is in it or the end."""
    heard = b""
    while sign not in heard:
        received = connection.recv(65536)
        if not received:
            break
        heard += received
    return heard


def talk(port: int, context: ssl.SSLContext, said: bytes, sign: bytes) -> bytes:
    """Say something over TLS; return what is heard until C{sign} is in it."""
    with connected(port) as plain, context.wrap_socket(plain, server_hostname=HOST) as secure:
        secure.sendall(said)
        return read_until(secure, sign)


def talk_plainly(port: int, said: bytes) -> bytes:
    """Say something without TLS; return all that is heard until the other side closes."""
    with connected(port) as plain:
        plain.sendall(said)
        heard = b""
        while received := plain.recv(65536):
            heard += received
        return heard


def renegotiate(port: int, files: Files, said: bytes, sign: bytes) -> bytes:
    """Ask for a second handshake over TLS 1.2; return what is heard after it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with connected(port) as plain:
        plain.setblocking(True)
        secure = SSL.Connection(context, plain)
        secure.set_connect_state()
        secure.do_handshake()
        secure.sendall(said)
        read_until(secure, sign)
        secure.renegotiate()
        secure.do_handshake()
        secure.sendall(said)
        return read_until(secure, sign)


class SecureCase(BrokerTestCase):
    """
    Has brokers whose endpoints speak TLS.

    @ivar files: the test's certificates.
    """

    def setUp(self) -> None:
        self.files = Files(self.mktemp())
        self.files.issue()

    def config(self, **values: Any) -> Config:
        """As the settings of C{[listen]}, with C{http} for its endpoints, and limits."""
        listen = {"framed": (TLS,), "tls_certificate": f"{self.files.directory}/server.pem"}
        for name in ("framed", "lines", *ListenConfig.__dataclass_fields__):
            if name in values:
                listen[name] = values.pop(name)
        return Config(
            store=StoreConfig(kind="memory"),
            listen=ListenConfig(**listen),
            http=HttpConfig(listen=values.pop("http", ())),
            limits=LimitsConfig(**values),
        )

    def port(self, broker: Any, number: int = 0) -> int:
        port: int = self.address(broker, number).port
        return port

    def in_thread(self, call: Callable[..., Any], *given: Any) -> Deferred[Any]:
        """Let the reactor serve while C{call} blocks."""
        return deferToThread(call, *given)

    def failing(self, call: Callable[..., Any], *given: Any) -> Deferred[Any]:
        """The error, of TLS or of the connection, with which C{call} ends."""

        def run() -> BaseException:
            try:
                heard = call(*given)
            except (OSError, SSL.Error) as error:
                return error
            raise AssertionError(f"nothing failed; {heard!r} was heard")

        return deferToThread(run)
