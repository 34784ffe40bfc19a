"""
Sending: what a connection says in one turn of the reactor is one write, and done in that turn.

A transport of Twisted keeps what is written, asks to be told when the socket takes
it, and sends it in the next turn: three system calls and a dispatch for each answer.
Where nothing is kept, the socket almost always takes a small answer at once; a bare
echo of 160 bytes took 9.5 us for a round trip so, and 19.0 us through
C{transport.write}.  What the socket does not take, or refuses, goes the transport's
way, which also finds out that a connection is lost.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix

#: Longer writes are left to the transport, which cuts them up.  As much is collected at
#: most before it is written: as much as a transport keeps before it asks for a pause.
LONGEST_DIRECT_BYTES = 64 * 1024

#: Transports whose bytes go into their socket as they are.  All others, but for those that are
#: a L{DirectTransport}, are written to at once, one message after another: they know better
#: what to do with them.
_PLAIN = (tcp.Server, unix.Server)


class DirectTransport:
    """
    A transport, other than a plain one, with a way of its own to send at once.
    """

    @property
    def keeps_something(self) -> bool:
        """Whether what was written before has not all gone into a socket."""
        raise NotImplementedError

    def send_directly(self, data: bytes) -> bool:
        """
        Send at once, while nothing is kept.

        @return: whether that was done; if not, nothing was.
        """
        raise NotImplementedError

    def write_later(self, data: bytes) -> None:
        """Keep it until it can be sent."""
        raise NotImplementedError


def takes_directly(transport: Any) -> bool:
    """Whether L{send} may pass by the buffers of a transport, while it L{keeps_nothing}."""
    if type(transport) in _PLAIN:
        return not transport.TLS and keeps_nothing(transport)
    return isinstance(transport, DirectTransport)


def keeps_nothing(transport: Any) -> bool:
    """Whether all that was written to a transport has gone into its socket."""
    if isinstance(transport, DirectTransport):
        return not transport.keeps_something
    return not (transport._tempDataBuffer or transport.dataBuffer)


def send(transport: Any, data: bytes) -> None:
    """Write to a transport that L{takes_directly}."""
    if isinstance(transport, DirectTransport):
        if transport.keeps_something or not transport.send_directly(data):
            transport.write_later(data)
        return
    kept = transport._tempDataBuffer or transport.dataBuffer
    if not kept and len(data) <= LONGEST_DIRECT_BYTES:
        try:
            sent = transport.socket.send(data)
        except OSError:  # it is full, or closed: the transport knows what to do
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
