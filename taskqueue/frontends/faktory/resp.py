"""
Answers, as the Redis protocol (RESP) writes them: sans I/O.
"""

from __future__ import annotations

from typing import Any

from taskqueue import strictjson

OK = b"+OK\r\n"

#: A bulk string that is not there: there was nothing to fetch.
NOTHING = b"$-1\r\n"

#: An error is one line, and no longer than this; characters.
LONGEST_ERROR = 1000


def simple(text: str) -> bytes:
    """A simple string: one line."""
    return b"+%b\r\n" % _one_line(text)


def bulk(data: bytes) -> bytes:
    """A bulk string: any bytes."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def bulk_json(value: Any) -> bytes:
    """A value as a bulk string of JSON."""
    return bulk(strictjson.dumps(value))


def error(message: str, code: str = "ERR") -> bytes:
    """
    An error.

    @param code: its first word, by which clients tell errors apart.
    """
    return b"-%b\r\n" % _one_line(f"{code} {message[:LONGEST_ERROR]}")


def _one_line(text: str) -> bytes:
    """What is sent must not end the line early, whatever somebody wrote into a name."""
    return " ".join(text.split()).encode("utf-8", "replace")
