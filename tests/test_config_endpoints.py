"""Endpoint strings, judged without a reactor."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config.endpoints import Endpoint, parse_endpoint

GOOD = (
    "tcp:7780",
    "tcp:7780:interface=127.0.0.1",
    "tcp:7780:127.0.0.1:20",
    "tcp:port=7780",
    "tcp:0",
    "tcp6:7780:interface=\\:\\:1",
    "unix:/run/a.sock",
    "unix:/run/a\\:b.sock:mode=660:lockfile=0",
    "haproxy:tcp:7780",
    "stdio:",
)

#: Fine in form; Twisted wants files or systemd to take them.
ELSEWHERE = (
    "systemd:domain=INET:name=framed",
    "systemd:domain=UNIX:index=0",
    "tls:/etc/certificates:port=7780",
    "tls:/etc/certificates",
    "ssl:7780:privateKey=a.pem:certKey=b.pem",
    "tls:port=7780",
    "tls:port=7780:interface=127.0.0.1:certificate=/c.pem:key=/k.pem:client_ca=/a.pem:client=none",
    "tls:systemd=framed:domain=INET6",
    "haproxy:tls:port=7780",
)

BAD = (
    ("", "endpoint type"),
    (":80", "endpoint type"),
    ("a=b", "endpoint type"),
    ("haproxy:", "endpoint type"),
    ("TCP:7780", "no endpoint type is called 'TCP'"),
    ("7780", "no endpoint type is called '7780'"),
    ("haproxy:foo:80", "no endpoint type is called 'foo'"),
    ("tcp", "needs the argument 'port'"),
    ("tcp:", "needs the argument 'port'"),
    ("tcp:http", "port 'http' is not a whole number from 0 to 65535"),
    ("tcp:65536", "port '65536'"),
    ("tcp:-1", "port '-1'"),
    ("tcp:1:backlog=x", "backlog 'x'"),
    ("tcp:1:2:3:4", "at most 3 arguments"),
    ("tcp:1:host=localhost", "no argument 'host'"),
    ("tcp:1:port=2", "'port' of tcp: is given twice"),
    ("tcp:1\\", "escapes nothing"),
    ("tcp:1:interface=x\\", "escapes nothing"),
    ("unix:", "needs the argument 'address'"),
    ("unix:/a:mode=888", "mode '888' is not an octal number from 0 to 777"),
    ("unix:/a:lockfile=2", "lockfile '2'"),
    ("systemd:domain=INET", "either index= or name="),
    ("systemd:domain=INET:index=0:name=x", "either index= or name="),
    ("systemd:domain=INET:index=x", "index 'x'"),
    ("tls:", "needs the argument 'port'"),
    ("tls:certificate=/a.pem", "needs the argument 'port'"),
    ("tls:port=x", "port 'x' is not a whole number"),
    ("tls:port=1:host=a", "no argument 'host'"),
    ("tls:/a:1:2:\\:\\::/b.pem", "at most 4 arguments without a name"),
    ("tls:port=1:systemd=web", "takes no port, interface or backlog"),
    ("tls:port=1:domain=INET", "domain= only beside systemd="),
    ("tls:/a:certificate=/b.pem", "either a path"),
    ("tls:port=1:key=/b.pem", "no certificate="),
    ("tls:port=1:client=perhaps", "client 'perhaps' is none of none, optional, required"),
)


class Parsing(SynchronousTestCase):
    """What is an endpoint, and what is not."""

    def test_good_ones_are_good_for_twisted_too(self) -> None:
        for text in GOOD:
            parse_endpoint(text)
            serverFromString(object(), text)

    def test_ones_for_elsewhere(self) -> None:
        for text in ELSEWHERE:
            parse_endpoint(text)

    def test_bad_ones(self) -> None:
        for text, why in BAD:
            error = self.assertRaises(ValueError, parse_endpoint, text)
            self.assertIn(why, str(error), text)

    def test_taken_apart(self) -> None:
        self.assertEqual(
            parse_endpoint("haproxy:tcp6:80:interface=\\:\\:1"),
            Endpoint("tcp6", {"port": "80", "interface": "::1"}),
        )

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(
        st.sampled_from(["tcp", "tcp6", "unix", "haproxy:tcp", "x"]),
        st.text("01a:=\\/.", max_size=8),
    )
    def test_what_twisted_refuses_is_refused(self, kind: str, rest: str) -> None:
        text = f"{kind}:{rest}"
        try:
            parse_endpoint(text)
        except ValueError:
            return
        serverFromString(object(), text)

    def test_no_reactor_is_imported(self) -> None:
        code = (
            "import sys; from taskqueue.config import load; load();"
            "from taskqueue.config.endpoints import parse_endpoint; parse_endpoint('stdio:');"
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual(subprocess.run([sys.executable, "-c", code], check=False).returncode, 0)


class Clashes(SynchronousTestCase):
    """Which endpoints cannot be listened on together."""

    def check(self, one: str, other: str, expected: bool) -> None:
        first, second = parse_endpoint(one), parse_endpoint(other)
        self.assertIs(first.clashes(second), expected, (one, other))
        self.assertIs(second.clashes(first), expected, (other, one))

    def test_pairs(self) -> None:
        pairs: tuple[tuple[str, str, Any], ...] = (
            ("tcp:1", "tcp:1", True),
            ("tcp:1", "tcp:01", True),
            ("tcp:1", "tcp:2", False),
            ("tcp:0", "tcp:0", False),
            ("tcp:1", "tcp:1:interface=127.0.0.1", True),
            ("tcp:1:interface=0.0.0.0", "tcp:1:interface=127.0.0.1", True),
            ("tcp:1:interface=10.0.0.1", "tcp:1:interface=127.0.0.1", False),
            ("tcp:1", "haproxy:tcp:1", True),
            ("tcp:443", "ssl:443", True),
            ("tcp6:443", "tls:/etc/c", True),
            ("tcp:443", "tls:port=443", True),
            ("tcp6:443", "tls:port=443:interface=127.0.0.1", False),
            ("tcp6:443", "tls:port=443:interface=\\:\\:1", True),
            ("tls:systemd=a", "tls:systemd=a", True),
            ("tls:systemd=a", "systemd:domain=INET:name=a", True),
            ("tcp:1:interface=127.0.0.1", "tcp6:1:interface=\\:\\:1", False),
            ("unix:/a", "unix:/a:mode=660", True),
            ("unix:/a", "unix:/b", False),
            ("unix:/a", "tcp:1", False),
            ("systemd:domain=INET:name=a", "systemd:domain=INET:name=b", False),
            ("systemd:domain=INET:name=a", "systemd:domain=INET:name=a", True),
            ("stdio:", "stdio:", True),
        )
        for one, other, expected in pairs:
            self.check(one, other, expected)
