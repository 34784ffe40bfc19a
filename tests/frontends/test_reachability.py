"""Whether other machines can reach a broker, where only its sockets tell."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.python.systemd import ListenFDs

from taskqueue.application import build
from taskqueue.config import AccessConfig
from taskqueue.errors import ConfigError
from tests.frontends.talking import BrokerTestCase


class SocketTests(BrokerTestCase):
    def broker(self, host: str, **access: Any) -> Any:
        """A broker that listens on a socket which systemd has bound to C{host}."""
        given = socket.socket()
        self.addCleanup(given.close)
        given.bind((host, 0))
        given.listen()
        given.setblocking(False)
        found = ListenFDs([os.dup(given.fileno())], ["framed"])
        self.patch(endpoints._SystemdParser, "_sddaemon", found)
        config = self.config(framed=("systemd:domain=INET:name=framed",))
        return build(replace(config, access=AccessConfig(**access)), reactor)

    def test_everybody_could_reach_it(self) -> None:
        broker = self.broker("0.0.0.0")
        error = self.assertRaises(ConfigError, broker.startService)
        self.assertIn("systemd:domain=INET:name=framed can be reached", str(error))
        self.assertFalse(broker.running)
        self.assertFalse(any(child.running for child in broker))

    def test_everybody_could_and_may(self) -> None:
        broker = self.broker("0.0.0.0", authentication="open_to_everyone")
        broker.startService()
        self.addCleanup(broker.stopService)
        self.assertTrue(broker.gate.open)

    def test_everybody_could_but_must_be_known(self) -> None:
        broker = self.broker("0.0.0.0", authentication="required")
        broker.startService()
        self.addCleanup(broker.stopService)
        self.assertFalse(broker.gate.open)

    def test_this_machine_only(self) -> None:
        broker = self.broker("127.0.0.1")
        broker.startService()
        self.addCleanup(broker.stopService)
        self.assertTrue(broker.gate.open)
