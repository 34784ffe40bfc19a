"""
Telling systemd how the broker is: ready, alive, stopping.

What is said, and where to, is the protocol of C{sd_notify(3)}: lines in datagrams to the
socket that C{NOTIFY_SOCKET} names.  Without that, nothing is said.  As long as the reactor
turns, the watchdog is told so, twice as often as it asks for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"


#: The first descriptor that systemd hands over, as C{sd_listen_fds(3)} says.
_FIRST_DESCRIPTOR = 3

_DOMAINS = {socket.AF_INET: "INET", socket.AF_INET6: "INET6", socket.AF_UNIX: "UNIX"}


def handed_over(environ: Mapping[str, str], descriptor: int = _FIRST_DESCRIPTOR) -> str | None:
    """
    The first socket that systemd has handed over to this process, as an endpoint string.

    @param environ: what systemd has put there.
    @return: C{None} where there is none.
    """
    number = environ.get("LISTEN_FDS", "")
    if "LISTEN_FDNAMES" not in environ:  # Twisted takes none without a name
        return None
    if environ.get("LISTEN_PID") != str(os.getpid()) or not number.isdigit() or number == "0":
        return None
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            domain = _DOMAINS.get(found.family)
    except OSError:
        return None
    return None if domain is None else f"systemd:domain={domain}:index=0"


class Notifier(Service):
    """
    Says what the process is doing, as the last one that starts and the first that stops.
    """

    _log = Logger()

    def __init__(self, environ: Mapping[str, str], reactor: Any) -> None:
        """
        @param environ: what systemd has put there.
        @param reactor: an C{IReactorTime}.
        """
        self._address = socket_address(environ.get(SOCKET_VARIABLE, ""))
        self.watchdog_s = watchdog_seconds(environ)
        self._loop = LoopingCall(self.say, "WATCHDOG=1")
        self._loop.clock = reactor
        self._complained = False

    def startService(self) -> None:
        """Everything before it has started."""
        super().startService()
        self.say("READY=1", "STATUS=listening")
        if self._address and self.watchdog_s:
            self._loop.start(self.watchdog_s / 2)

    def stopService(self) -> None:
        """The others stop next, and nobody is to think that they hang: they have a limit."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self.say("STOPPING=1")

    def say(self, *lines: str) -> None:
        """Say something; that nobody hears it is logged once, and does no harm."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode("ascii"), self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._log.warn("systemd is not told {what}: {error}", what=lines[0], error=error)


def socket_address(text: str) -> str:
    """The address that C{NOTIFY_SOCKET} names; empty for none that can be spoken to."""
    if text.startswith("@"):  # in the abstract namespace
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How often the watchdog wants to hear something; 0: never, or it means another process."""
    text = environ.get(WATCHDOG_VARIABLE, "")
    meant = environ.get(WATCHDOG_PID_VARIABLE, "") or str(os.getpid())
    if not (text.isascii() and text.isdigit()) or meant != str(os.getpid()):
        return 0.0
    return int(text) / 1e6
