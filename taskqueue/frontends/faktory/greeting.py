"""
The greeting: HI and HELLO, and the password between them.

The password itself is never sent: the server says a salt and a number, and the client answers with
the hash of both, so the server must know the password as it is.  It is one of this door alone.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from math import ceil
from random import SystemRandom
from typing import Any, NamedTuple

from taskqueue import strictjson
from taskqueue.errors import BadFrame, BadRequest, HelloRequired, Unauthenticated
from taskqueue.frontends.faktory.arguments import Command, json_object, worker_name
from taskqueue.frontends.faktory.processes import Introduction
from taskqueue.operations.fields import LARGEST_INTEGER

#: The version of the protocol.
VERSION = 2

#: How often a password is hashed, at least and at most: about half a millisecond, so that whoever
#: connects again and again keeps nobody else waiting.
LEAST_ROUNDS = 1024
MOST_ROUNDS = 2048

_LONGEST_TEXT = 255
_MOST_LABELS = 100

_random = SystemRandom()


class Challenge(NamedTuple):
    """
    What a client has to prove, with which it is greeted.

    @ivar password: C{None} where none is needed.
    """

    password: bytes | None = None
    salt: str = ""
    rounds: int = 0

    def greeting(self) -> str:
        """HI, without its marks."""
        said: dict[str, Any] = {"v": VERSION}
        if self.password is not None:
            said |= {"i": self.rounds, "s": self.salt}
        return f"HI {strictjson.dumps(said).decode('ascii')}"

    def is_met(self, said: dict[str, Any]) -> bool:
        """Whether HELLO proves that the client knows the password; takes as long if not."""
        if self.password is None:
            return True
        version, given = said.get("v"), said.get("pwdhash")
        # Clients of the first version do not know that there is a number.
        rounds = 1 if type(version) is not int or version < VERSION else self.rounds
        expected = hashed(self.password, self.salt, rounds)
        shown = given.lower() if isinstance(given, str) and given.isascii() else ""
        return hmac.compare_digest(expected, shown)


def challenge(password: bytes | None) -> Challenge:
    """A new one for each connection."""
    if password is None:
        return Challenge()
    rounds = _random.randint(LEAST_ROUNDS, MOST_ROUNDS)
    return Challenge(password, os.urandom(16).hex(), rounds)


def hashed(password: bytes, salt: str, rounds: int) -> str:
    """What a client has to send as C{pwdhash}: the hash of both, hashed again and again."""
    digest = password + salt.encode("ascii")
    for _ in range(rounds):
        digest = sha256(digest).digest()
    return digest.hex()


def read_hello(command: Command) -> dict[str, Any]:
    """
    What a client says of itself.

    @raises HelloRequired: it says something else first.
    @raises BadFrame: it cannot be understood.
    """
    if command.verb != "HELLO":
        raise HelloRequired(
            "this is a Faktory endpoint, and the first command must be HELLO {...}: is the client "
            "one of Faktory, and does it use TLS if, and only if, this endpoint does?"
        )
    try:
        return json_object(command)
    except BadRequest as error:
        raise BadFrame(f"HELLO cannot be understood: {error.message}") from None


def read_introduction(said: dict[str, Any]) -> Introduction | None:
    """
    The worker process that a client is part of; C{None} for one that only pushes.

    @raises BadRequest: a field cannot be what it is.
    """
    for name in ("hostname", "username"):
        _text(said, name)
    labels = said.get("labels") or []
    if type(labels) is not list or not all(type(label) is str for label in labels[:_MOST_LABELS]):
        raise BadRequest("invalid HELLO: labels must be a list of texts", field="labels")
    pid = said.get("pid")
    if pid is not None and (type(pid) is not int or not 0 <= pid <= LARGEST_INTEGER):
        raise BadRequest("invalid HELLO: pid must be an integer", field="pid")
    wid = said.get("wid")
    if wid is None or wid == "":
        return None
    return Introduction(worker_name(wid), _text(said, "hostname"), pid)


def _text(said: dict[str, Any], name: str) -> str | None:
    value = said.get(name)
    if value is not None and (type(value) is not str or len(value) > _LONGEST_TEXT):
        raise BadRequest(
            f"invalid HELLO: {name} must be a text of at most {_LONGEST_TEXT} characters",
            field=name,
        )
    return value


def too_many_failed(wait_s: float) -> Unauthenticated:
    """The error for whoever guesses."""
    return Unauthenticated(
        f"too many attempts to authenticate have failed: try again in {ceil(wait_s)} s"
    )
