"""
The door of beanstalkd's protocol: what all its connections have in common.
"""

from __future__ import annotations

import os
from collections import Counter

from twisted.application.service import Service
from twisted.logger import Logger

from taskqueue.config import LimitsConfig
from taskqueue.frontends.beanstalkd.connection import BeanstalkdConnection
from taskqueue.frontends.beanstalkd.session import HOLDER, Session
from taskqueue.frontends.beanstalkd.tubes import Tubes
from taskqueue.service import TaskQueueService


class _Reservations(Service):
    """
    Ends, when the broker starts, what connections to an earlier one had reserved: they are gone,
    and reservations with them.
    """

    def __init__(self, broker: TaskQueueService) -> None:
        self._broker = broker

    def startService(self) -> None:
        super().startService()
        self._broker.holders_gone(HOLDER)


class BeanstalkdDoor:
    """
    One for each broker, whatever the number of its endpoints.

    @ivar tubes: those that connections refer to, or that have jobs.
    @ivar sessions: of the connections that are open.
    @ivar commands: how many were given, by what statistics call them.
    @ivar timeouts: how often the time of somebody who had reserved a job was over.
    @ivar counted_connections: how many there have been.
    @ivar instance: what tells this broker's life from others, 16 hexadecimal digits.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        self.service = service
        self.tubes = Tubes(service)
        self.sessions: set[Session] = set()
        self.commands: Counter[str] = Counter()
        self.timeouts = 0
        self.counted_connections = 0
        self.instance = os.urandom(8).hex()
        self._drained = False
        _Reservations(service).setServiceParent(service)

    @property
    def draining(self) -> bool:
        """Whether no more jobs are accepted."""
        return self._drained or self.service.stopping

    def connect(self, limits: LimitsConfig) -> BeanstalkdConnection:
        """The protocol of a new connection."""
        return BeanstalkdConnection(self)

    def drain(self) -> None:
        """Accept no more jobs, until the broker is started anew."""
        if not self._drained:
            self._drained = True
            self._log.info("beanstalkd clients are told DRAINING when they put a job from now on")
