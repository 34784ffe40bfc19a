"""
Where brokers are, and in which order and how often they are tried.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from taskqueue.errors import BadRequest

DEFAULT_PORT = 7780
DEFAULT_ADDRESS = f"tq://127.0.0.1:{DEFAULT_PORT}"

#: Pauses between attempts, seconds, and how they grow.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 15.0
GROWTH = 1.6

#: From here on a pause is the longest whatever the exponent; a float has an end.
_ATTEMPTS = 100


class Place(NamedTuple):
    """
    Where one broker is.

    @ivar host: C{None} where it is at a C{path}, of a Unix socket.
    @ivar secure: whether it speaks TLS.
    """

    host: str | None
    port: int = DEFAULT_PORT
    path: str = ""
    secure: bool = False

    def __str__(self) -> str:
        if self.host is None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tqs' if self.secure else 'tq'}://{host}:{self.port}"


#: In an address, keys and passwords: people put them where other programs want them.
_SECRET = re.compile(r"(?<=://)[^/,@]+(?=@)|tq_\w+")


def no_address(address: str, error: Exception | str) -> BadRequest:
    """What is wrong with an address.  What may be a key or a password in it is not repeated."""
    shown, why = (_SECRET.sub("...", str(text)) for text in (address, error))
    return BadRequest(
        f"{shown!r} is no address of a broker ({why}): write tq://host:port, or tqs:// with"
        " TLS (several with commas between), or a client endpoint such as tcp:host:port or"
        " unix:/run/taskqueue.sock"
    )


def places_of(address: str) -> list[Place]:
    """
    Where brokers are.

    @param address: C{tq://host}, C{tq://host:port}, with TLS C{tqs://host:port},
        C{tcp:host:port} or C{unix:/path}; several hosts have commas between them, as in
        C{tq://a:7780,b:7780} or C{tq://a,tq://b}.
    @raises BadRequest: it is none of these.
    """
    try:
        if "://" in address:
            return [_place(part) for part in _parts(address)]
        kind, _, rest = address.partition(":")
        if kind == "unix" and rest:
            return [Place(None, path=rest)]
        if kind == "tcp" and rest.count(":") == 1:
            return [_place(f"tq://{rest}")]
        raise ValueError("it does not begin with tq://, tqs://, tcp: or unix:")
    except ValueError as error:
        raise no_address(address, error) from None


def _parts(address: str) -> Iterator[str]:
    scheme = "tq"
    for part in address.split(","):
        part = part.strip()
        if "://" in part:
            scheme = part.partition("://")[0]
        yield part if "://" in part else f"{scheme}://{part}"


def _place(part: str) -> Place:
    url = urlsplit(part)
    if url.scheme not in ("tq", "tqs"):
        raise ValueError(f"its scheme must be tq or tqs, not {url.scheme}")
    if url.hostname is None:
        raise ValueError("it names no host")
    if url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
        raise ValueError("nothing but host and port may stand in it")
    port = DEFAULT_PORT if url.port is None else url.port
    return Place(url.hostname, port, secure=url.scheme == "tqs")


class Turns:
    """
    Whose turn it is among several places.

    The place that worked last is tried first, then those after it, round.

    @param count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._first = 0

    def order(self) -> list[int]:
        """The indexes of all, in the order in which to try them."""
        return [(self._first + i) % self._count for i in range(self._count)]

    def reached(self, index: int) -> None:
        """This one answered."""
        self._first = index

    def refused(self) -> None:
        """The one that answered last does not want us: begin with the next."""
        self._first = (self._first + 1) % self._count


def pause_s(attempt: int) -> float:
    """
    How long to wait before this attempt, the first being 0: growing, and
    different each time, for clients that lost their broker together must not
    come back together.
    """
    steady = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * GROWTH ** min(attempt, _ATTEMPTS))
    return steady * random.uniform(0.5, 1.5)
