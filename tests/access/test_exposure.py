"""Whether another machine could reach a broker."""

from __future__ import annotations

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.exposure import exposed, is_reachable, refusal


class ExposureTests(SynchronousTestCase):
    def test_descriptions(self) -> None:
        for text, reachable in (
            ("tcp:7780:interface=127.0.0.1", False),
            ("tcp:7780:interface=127.1.2.3", False),
            ("tcp:7780:interface=localhost", False),
            ("tcp6:7780:interface=\\:\\:1", False),
            ("tls:port=7780:interface=127.0.0.1", False),
            ("haproxy:tcp:7780:interface=127.0.0.1", False),
            ("unix:/run/a.sock", False),
            ("systemd:domain=INET:name=framed", False),  # the socket tells
            ("tls:systemd=framed", False),
            ("tcp:7780", True),
            ("tcp:7780:interface=0.0.0.0", True),
            ("tcp:7780:interface=192.0.2.1", True),
            ("tcp:7780:interface=\\:\\:", True),
            ("tcp:7780:interface=example.org", True),
            ("tcp6:7780", True),
            ("tls:port=7780", True),
            ("ssl:7780:privateKey=/a.pem", True),
            ("haproxy:tcp:7780", True),
        ):
            self.assertEqual(exposed([text]), [text] if reachable else [], text)

    def test_sockets(self) -> None:
        for address, reachable in (
            (IPv4Address("TCP", "127.0.0.1", 1), False),
            (IPv6Address("TCP", "::1", 1), False),
            (UNIXAddress("/run/a.sock"), False),
            (UNIXAddress(None), False),
            (IPv4Address("TCP", "0.0.0.0", 1), True),
            (IPv6Address("TCP", "::", 1), True),
            (IPv4Address("TCP", "192.0.2.1", 1), True),
            (HostnameAddress(b"example.org", 1), True),
        ):
            self.assertEqual(is_reachable(address), reachable, address)

    def test_both_ways_out_are_named(self) -> None:
        said = str(refusal("tcp:7780", "/var/lib/taskqueue/access.json"))
        self.assertIn("taskqueue keys create --file /var/lib/taskqueue/access.json", said)
        self.assertIn("authentication = open_to_everyone", said)
        self.assertIn("[access] file", str(refusal("tcp:7780", None)))
