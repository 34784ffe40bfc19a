"""
A connection of beanstalkd's protocol.
"""

from __future__ import annotations

from fuzz.place import Place


def run(data: bytes) -> None:
    """Send C{data}, and the end of a line."""
    with Place("beanstalkd") as place:
        place.send(data + b"\r\n")
