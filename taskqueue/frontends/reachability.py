"""
Whether other machines can reach what is listened on, asked of the sockets.
"""

from __future__ import annotations

from twisted.application.service import Service

from taskqueue.access.exposure import is_reachable
from taskqueue.config.doors import FOREIGN, unguarded
from taskqueue.errors import ConfigError
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
        reachable = [
            child
            for child in self._broker
            if isinstance(child, EndpointService)
            and child.port is not None
            and is_reachable(child.port.getHost())
        ]
        try:
            self._refuse(reachable)
        except BaseException:
            self.running = False
            raise

    def _refuse(self, reachable: list[EndpointService]) -> None:
        foreign = [one for one in reachable if one.language in FOREIGN]
        self._broker.gatekeeping.refuse(
            [one.description for one in reachable if one not in foreign]
        )
        for one in foreign:
            problem = unguarded(self._broker.config, one.language)
            if problem is not None:
                raise ConfigError([f"[listen] {one.language} {one.description!r} {problem.text}"])
