"""
Writing into a child's pipe in the turn in which there is something to write.

Twisted keeps it, asks to be told when the pipe takes it, and writes in the next turn:
three system calls and a dispatch for each message.  Where nothing is kept, a pipe almost
always takes a small message at once.  See L{taskqueue.frontends.sending}, which does the
same for sockets.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.fdesc import writeToFD
from twisted.internet.process import Process, ProcessWriter

#: Longer messages are left to Twisted: a pipe holds no more than this.
LONGEST_BYTES = 64 * 1024


def write_at_once(transport: Any, fd: int, message: bytes) -> bytes:
    """
    Write as much as the pipe takes.

    @param fd: the child's number of it.
    @return: what is left for C{transport.writeToChild}, perhaps all; where the pipe has
        ended, that finds out.
    """
    writer: Any = transport.pipes.get(fd) if type(transport) is Process else None
    if type(writer) is not ProcessWriter or len(message) > LONGEST_BYTES:
        return message
    if writer._tempDataBuffer or writer.dataBuffer or not writer.connected or writer.disconnecting:
        return message
    written = writeToFD(writer.fd, message)
    return message[written:] if isinstance(written, int) else message
