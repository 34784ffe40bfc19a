"""
Connections that come to nothing before a word is read: counted, and told of now and then.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import Logger

from taskqueue.service import TaskQueueService

#: What connections that come to nothing are counted as, beside the codes of errors.
HANDSHAKE_FAILED = "TLS_HANDSHAKE_FAILED"
HANDSHAKE_TIMED_OUT = "TLS_HANDSHAKE_TIMED_OUT"
NOT_A_PROXY = "NOT_A_PROXY"

#: How often the log tells of peers that come to nothing, seconds.
TELL_EVERY_S = 10.0


class Refusals:
    """
    Counts the connections that come to nothing, and tells of some of them: whoever sends
    many must not fill the log.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        self._service = service
        self._silent_until: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def count(self, code: str, peer: str, why: str) -> None:
        """One more."""
        self._service.traffic.refused[code] += 1
        now = self._service.moments().mono
        if now < self._silent_until.get(code, now):
            self._untold[code] = self._untold.get(code, 0) + 1
            return
        self._silent_until[code] = now + TELL_EVERY_S
        more = self._untold.pop(code, 0)
        self._log.warn(
            "a connection from {peer} is refused: {why}{more}",
            peer=peer,
            why=why,
            more=f" (and {more} more like it since it was last told)" if more else "",
        )


def plain_host(host: str) -> str:
    """An address of IPv4 that came in through a socket of IPv6, as one of IPv4."""
    return host.removeprefix("::ffff:") if "." in host else host


def describe(address: Any) -> str:
    """What to call a peer in logs."""
    if isinstance(address, IPv4Address | IPv6Address):
        return f"{plain_host(address.host)}:{address.port}"
    return "a Unix socket"
