"""
The command C{taskqueue-beanstalkd}: what C{twistd -n taskqueue --beanstalkd} runs, but it
listens before it imports what takes its time.

The socket is handed over as systemd hands over sockets: by its number, and two variables.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from taskqueue.beanstalkd_line import BadLine, BeanstalkdLine

#: The first descriptor that is handed over, as C{sd_listen_fds(3)} says.
DESCRIPTOR = 3

#: How many connections may wait for a broker that is starting.
BACKLOG = 1024


def main() -> None:
    """Run the broker, with beanstalkd's options."""
    arguments = sys.argv[1:]
    if "LISTEN_FDS" not in os.environ:
        listen_early(arguments)
    from twisted.scripts.twistd import run  # takes most of the time until here

    sys.argv = ["twistd", "-n", "--pidfile=", "taskqueue", "--beanstalkd", *arguments]
    run()


def listen_early(arguments: Sequence[str]) -> bool:
    """
    Listen where a command line says, and hand the socket over to this process itself.

    @return: whether that was done; where it is not, the broker listens later, and is the one
        to say what is wrong.
    """
    try:
        line = BeanstalkdLine(arguments)
    except BadLine:  # or one of our own options, which may say something else
        return False
    if line.wanted or line.tcp is None or _is_open(DESCRIPTOR):
        return False
    try:
        listening = socket.create_server(line.tcp, backlog=BACKLOG)
    except OSError:
        return False
    os.dup2(listening.fileno(), DESCRIPTOR)
    if listening.fileno() != DESCRIPTOR:
        listening.close()
    else:
        listening.detach()
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="beanstalkd")
    return True


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
