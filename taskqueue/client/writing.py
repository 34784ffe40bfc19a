"""
Writing in the turn of Twisted's reactor in which there is something to write.

Twisted keeps it, asks to be told when the socket or the pipe takes it, and writes in the
next turn: three system calls and a dispatch for each message.  Where nothing is kept that
must go first, a small message is almost always taken at once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import process, tcp, unix

#: Longer messages are left to Twisted, which cuts them up.
LONGEST_BYTES = 64 * 1024

#: Where bytes go into a socket or a pipe as they are; TLS, for one, must see them before.
_PLAIN = (tcp.Client, unix.Client, process.ProcessWriter)


def write_at_once(descriptor: Any, data: bytes) -> None:
    """
    Write: as much as is taken now, and the rest the usual way, which also finds out that
    nobody is there any more.

    @param descriptor: a transport, or a child process's pipe.
    """
    if type(descriptor) in _PLAIN and len(data) <= LONGEST_BYTES and _is_free(descriptor):
        written = descriptor.writeSomeData(data)
        if isinstance(written, int):  # it is an exception where that failed
            data = data[written:]
    if data:
        descriptor.write(data)


def _is_free(descriptor: Any) -> bool:
    if getattr(descriptor, "TLS", False) or descriptor.disconnecting or not descriptor.connected:
        return False
    return not (descriptor._tempDataBuffer or descriptor.dataBuffer)
