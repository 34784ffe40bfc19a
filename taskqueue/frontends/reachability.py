"""
Whether other machines can reach what is listened on, asked of the sockets.
"""

from __future__ import annotations

from twisted.application.service import Service

from taskqueue.access.exposure import is_reachable
from taskqueue.frontends.listening import EndpointService
from taskqueue.service import TaskQueueService


class Reachability(Service):
    """
    Keeps a broker from starting that everybody could reach and nobody has to be known to.  What
    the descriptions of endpoints tell was looked at before; sockets that systemd hands over, and
    endpoint types that packages add, only now.  Nothing has been accepted yet: that takes a turn
    of the reactor.
    """

    def __init__(self, broker: TaskQueueService) -> None:
        self._broker = broker

    def startService(self) -> None:
        """
        @raises ConfigError: that is so.
        """
        super().startService()
        endpoints = [child for child in self._broker if isinstance(child, EndpointService)]
        reachable = [
            one.description
            for one in endpoints
            if one.port is not None and is_reachable(one.port.getHost())
        ]
        try:
            self._broker.gatekeeping.refuse(reachable)
        except BaseException:
            self.running = False
            raise
