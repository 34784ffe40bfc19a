"""
A connection of Faktory's protocol.
"""

from __future__ import annotations

from fuzz.place import Place

#: A worker that holds one job, and another one waits.
_PREFIX = (
    b'HELLO {"v":2,"wid":"worker-1"}\r\n'
    b'PUSH {"jid":"job-00000001","jobtype":"t","args":[]}\r\n'
    b'PUSH {"jid":"job-00000002","jobtype":"t","args":[],"retry":0}\r\n'
    b"FETCH default\r\n"
)

#: What begins so is said by a client that has not introduced itself.
_UNGREETED = b"!"


def run(data: bytes) -> None:
    """Send C{data}, and the end of a line, as a worker does or as a stranger."""
    with Place("faktory") as place:
        if data.startswith(_UNGREETED):
            data = data.removeprefix(_UNGREETED)
        else:
            place.send(_PREFIX)
        place.send(data + b"\r\n")
