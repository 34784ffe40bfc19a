"""
Where a broker is and how it is talked to, from kombu's URLs and options.
"""

from __future__ import annotations

import ssl
from typing import Any

from kombu import Connection
from twisted.trial.unittest import SynchronousTestCase

import taskqueue.contrib.kombu  # noqa: F401  # registers the schemes
from taskqueue.client.tls import TLS
from taskqueue.contrib.kombu.options import Options, address_of, client_options, tls_of
from taskqueue.errors import BadRequest


class Addresses(SynchronousTestCase):
    def test_urls(self) -> None:
        for url, address in {
            "taskqueue://": "tq://localhost:7780",
            "taskqueue://broker": "tq://broker:7780",
            "taskqueue://broker:1234/prod": "tq://broker:1234",
            "taskqueue://[::1]:1234//": "tq://[::1]:1234",
            "taskqueues://broker": "tqs://broker:7780",
            "taskqueue://broker?ssl=true": "tqs://broker:7780",
            "taskqueue://broker?ssl=no": "tq://broker:7780",
            "taskqueue+unix:///run/taskqueue.sock": "unix:/run/taskqueue.sock",
        }.items():
            self.assertEqual(address_of(Connection(url)), address, url)

    def test_tls(self) -> None:
        given = {"ssl_ca_certs": "/ca.pem", "ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}
        wanted = TLS(ca="/ca.pem", certificate="/c.pem", key="/k.pem")
        self.assertEqual(tls_of(Connection("taskqueue://b", ssl=given)), wanted)
        given = {"ca_certs": "/ca.pem", "certfile": "/c.pem", "keyfile": "/k.pem"}
        self.assertEqual(tls_of(Connection("taskqueue://b", ssl=given)), wanted)
        self.assertEqual(tls_of(Connection("taskqueue://b", ssl=True)), TLS())
        self.assertIsNone(tls_of(Connection("taskqueue://b")))

    def test_who_verifies_nothing_says_so(self) -> None:
        for required in (ssl.CERT_NONE, "none", "CERT_NONE"):
            found = tls_of(Connection("taskqueues://b", ssl={"cert_reqs": required}))
            self.assertTrue(found and found.insecure_accept_any_certificate)
        found = tls_of(Connection("taskqueues://b", ssl={"cert_reqs": ssl.CERT_REQUIRED}))
        self.assertFalse(found and found.insecure_accept_any_certificate)

    def test_unknown_options_of_tls(self) -> None:
        """What is not known is not left out: it may be what makes it safe."""
        error = self.assertRaises(
            BadRequest, tls_of, Connection("taskqueue://b", ssl={"ssl_crlfile": "x"})
        )
        self.assertIn("ssl_crlfile", str(error))
        self.assertRaises(BadRequest, tls_of, Connection("taskqueue://b?ssl=perhaps"))
        self.assertRaises(BadRequest, tls_of, Connection("taskqueue://b", ssl=5))


class Keys(SynchronousTestCase):
    def key(self, url: str, **how: Any) -> Any:
        return client_options(Connection(url), Options(**how)).get("api_key")

    def test_where_the_key_may_be(self) -> None:
        self.assertEqual(self.key("taskqueue://:tq_secret@b"), "tq_secret")
        self.assertEqual(self.key("taskqueue://celery:tq_secret@b"), "tq_secret")
        self.assertEqual(self.key("taskqueue://b", api_key="tq_other"), "tq_other")
        self.assertIsNone(self.key("taskqueue://b"))

    def test_a_callable_password(self) -> None:
        connection = Connection("taskqueue://b", password=lambda: "tq_fresh")
        self.assertEqual(client_options(connection, Options())["api_key"], "tq_fresh")

    def test_a_key_as_user_would_be_shown(self) -> None:
        error = self.assertRaises(BadRequest, self.key, "taskqueue://tq_secret@b")
        self.assertNotIn("tq_secret", str(error))
        self.assertIn("taskqueue://:KEY@host", str(error))


class Settings(SynchronousTestCase):
    def test_those_of_other_transports_may_stand_beside(self) -> None:
        found = Options.of({"visibility_timeout": 90, "fanout_prefix": True})
        self.assertEqual(found, Options(visibility_timeout=90))

    def test_nonsense(self) -> None:
        for name in ("visibility_timeout", "timeout_s", "reconnect_timeout_s", "max_prefetch"):
            for value in (0, -1, "30", True):
                error = self.assertRaises(BadRequest, Options.of, {name: value})
                self.assertIn(name, str(error))
