"""Whether other machines can reach a broker, where only its sockets tell."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.internet.protocol import Factory
from twisted.python.systemd import ListenFDs

from taskqueue.application import build
from taskqueue.config import AccessConfig, BeanstalkdConfig, FaktoryConfig
from taskqueue.errors import ConfigError
from taskqueue.frontends.listening import EndpointService
from taskqueue.frontends.reachability import Reachability
from taskqueue.service import TaskQueueService
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


class DoorTests(BrokerTestCase):
    """Doors at which nobody is asked who they are; their endpoints say what they speak."""

    def start_with(self, language: str, **config: Any) -> Any:
        broker = TaskQueueService(replace(self.config(), **config), reactor)
        endpoint = EndpointService("tcp:0", Factory(), reactor, language, language=language)
        for child in (endpoint, Reachability(broker)):
            child.setServiceParent(broker)
        self.addCleanup(broker.stopService)
        broker.startService()
        return broker

    def test_everybody_could_reach_it(self) -> None:
        for language, way_out in (("beanstalkd", "open_to_network"), ("faktory", "password_file")):
            error = self.assertRaises(ConfigError, self.start_with, language)
            self.assertIn(f"[listen] {language} 'tcp:0' can be reached", str(error))
            self.assertIn(way_out, str(error))

    def test_everybody_could_and_may(self) -> None:
        """Whether others need keys is a question of other doors."""
        self.start_with("beanstalkd", beanstalkd=BeanstalkdConfig(open_to_network=True))

    def test_everybody_could_but_must_know_the_password(self) -> None:
        self.start_with("faktory", faktory=FaktoryConfig(password_file="/etc/secret"))
