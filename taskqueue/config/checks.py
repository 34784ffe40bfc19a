"""
The checks of the configspec: each makes a value of the text that configobj gives it, and
of the arguments in the spec, or raises L{Unusable} with what was found and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

from taskqueue.config.endpoints import parse_endpoint
from taskqueue.config.sections import GIB, KIB, MIB, TIB

#: How "keep it always" is written.
FOREVER = "forever"

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/-]{1,128}", re.ASCII)
IDENTIFIER_RULE = "1 to 128 characters of letters, digits and _ - . : /"

#: As L{taskqueue.access.keyring} has it.
_KEY_NAME = re.compile(r"[A-Za-z0-9_.@/+-]{1,128}")
KEY_NAME_RULE = "the name of a key, 1 to 128 letters, digits and _ - . @ / +, or nothing"

#: As a browser writes one: in lower case, without a path.
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]{1,255}", re.ASCII)

#: Checks whose values are lists.
LISTS = ("endpoints", "origins", "peers")

_UNITS: Mapping[str, int] = {"": 1, "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB}
_SIZE = re.compile(r"([0-9]{1,18})\s*([A-Za-z]*)", re.ASCII)
_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class Unusable(ValueError):
    """
    A value that its key cannot have.

    @ivar reason: what is wrong with it.
    @ivar allowed: what the key can have.
    """

    def __init__(self, reason: str, allowed: str) -> None:
        super().__init__(f"{reason}; allowed: {allowed}")
        self.reason = reason
        self.allowed = allowed


def is_identifier(text: str) -> bool:
    """Whether C{text} can name a queue or a broker."""
    return _IDENTIFIER.fullmatch(text) is not None


def _one(value: object, allowed: str) -> str:
    """The text of a value that must not be a list."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        raise Unusable("this is a list (quote the value if its comma belongs to it)", allowed)
    raise Unusable("this is not a value", allowed)


def _within(number: float, lowest: float, highest: float, allowed: str) -> None:
    if number < lowest:
        raise Unusable("it is too small", allowed)
    if number > highest:
        raise Unusable("it is too large", allowed)


def check_count(value: object, lowest: str, highest: str) -> int:
    """A whole number."""
    allowed = f"a whole number from {lowest} to {highest}"
    text = _one(value, allowed)
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) is None:
        raise Unusable("it is not a whole number", allowed)
    _within(int(text), int(lowest), int(highest), allowed)
    return int(text)


def check_size(value: object, lowest: str, highest: str) -> int:
    """A number of bytes, plain or with KiB, MiB, GiB or TiB."""
    allowed = f"bytes, or a whole number of KiB, MiB, GiB or TiB, from {lowest} to {highest}"
    text = _one(value, allowed)
    if (size := _size_of(text)) is None:
        raise Unusable("it is not a size", allowed)
    _within(size, _size_of(lowest) or 0, _size_of(highest) or 0, allowed)
    return size


def check_bound(value: object, lowest: str, highest: str) -> int:
    """A number of bytes as of L{check_size}, or 0 for none."""
    try:
        return check_size(value, lowest, highest)
    except Unusable as problem:
        if isinstance(value, str) and value.strip() == "0":
            return 0
        raise Unusable(problem.reason, f"{problem.allowed}, or 0 for no bound") from None


def _size_of(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    unit = None if match is None else _UNITS.get(match[2].lower())
    return None if match is None or unit is None else int(match[1]) * unit


def _number(text: str, allowed: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise Unusable("it is not a number", allowed) from None
    if not math.isfinite(number):
        raise Unusable("it is not a finite number", allowed)
    return number


def check_seconds(value: object, lowest: str, highest: str) -> float:
    """A duration in seconds."""
    allowed = f"a number of seconds from {lowest} to {highest}"
    number = _number(_one(value, allowed), allowed)
    _within(number, float(lowest), float(highest), allowed)
    return number + 0.0  # minus zero is zero


def check_kept(value: object, highest: str) -> float | None:
    """A duration in seconds, or C{forever}."""
    allowed = f"a number of seconds from 0 to {highest}, or {FOREVER}"
    text = _one(value, allowed)
    if text.lower() == FOREVER:
        return None
    number = _number(text, allowed)
    _within(number, 0, float(highest), allowed)
    return number + 0.0


def check_fraction(value: object) -> float:
    """A part of a whole."""
    allowed = "a number from 0 to 1"
    number = _number(_one(value, allowed), allowed)
    _within(number, 0, 1, allowed)
    return number + 0.0


def check_word(value: object, *words: str) -> str:
    """One of a few words."""
    allowed = "one of " + ", ".join(words)
    text = _one(value, allowed).lower()
    if text not in words:
        raise Unusable("it is none of the possible words", allowed)
    return text


def check_flag(value: object) -> bool:
    """Yes or no."""
    allowed = "yes or no (also true, false, on, off, 1, 0)"
    text = _one(value, allowed).lower()
    if text not in _FLAGS:
        raise Unusable("it is neither yes nor no", allowed)
    return _FLAGS[text]


def check_identifier(value: object) -> str:
    """A name, as queues have them."""
    text = _one(value, IDENTIFIER_RULE)
    if not is_identifier(text):
        raise Unusable("it is not a name", IDENTIFIER_RULE)
    return text


def check_path(value: object) -> str:
    """The path of a directory, which need not exist yet."""
    allowed = "the path of a directory, without control characters"
    text = _one(value, allowed)
    if not text or not text.isprintable():
        raise Unusable("it is not a path", allowed)
    return text


def check_file(value: object) -> str:
    """The path of a file, or nothing."""
    return _path_or_nothing(value, "the path of a file in PEM format, or nothing")


def check_filename(value: object) -> str:
    """The path of a file, which need not exist yet, or nothing."""
    return _path_or_nothing(value, "the path of a file, without control characters, or nothing")


def check_key_name(value: object) -> str:
    """The name of a key of the keyring, or nothing."""
    text = _one(value, KEY_NAME_RULE)
    if text and _KEY_NAME.fullmatch(text) is None:
        raise Unusable("it is not the name of a key", KEY_NAME_RULE)
    return text


def _path_or_nothing(value: object, allowed: str) -> str:
    text = _one(value, allowed)
    if not text.isprintable():
        raise Unusable("it is not a path", allowed)
    return text


def check_endpoints(value: object) -> tuple[str, ...]:
    """Any number of server endpoints."""
    allowed = "Twisted server endpoints such as tcp:7780 or unix:/run/a.sock, or none of them"
    if not isinstance(value, str | list):
        raise Unusable("this is not a value", allowed)
    given = value if isinstance(value, list) else [value]
    endpoints = tuple(text.strip() for text in given if text.strip())
    reasons = [reason for text in endpoints if (reason := _not_an_endpoint(text))]
    if reasons:
        raise Unusable("; ".join(reasons), allowed)
    return endpoints


def check_origins(value: object) -> tuple[str, ...]:
    """Any number of web origins."""
    allowed = "origins such as https://ops.example.org or http://localhost:3000, or none of them"
    if not isinstance(value, str | list):
        raise Unusable("this is not a value", allowed)
    given = value if isinstance(value, list) else [value]
    origins = tuple(text.strip() for text in given if text.strip())
    for text in origins:
        if _ORIGIN.fullmatch(text) is None:
            raise Unusable(f"{text!r} is not an origin", allowed)
    return origins


def check_peers(value: object) -> tuple[str, ...]:
    """Any number of peers: addresses, networks, or whoever comes by a Unix socket."""
    allowed = (
        "addresses or networks such as 10.0.0.5 or 10.1.0.0/16, the word unix, or none of them"
    )
    if not isinstance(value, str | list):
        raise Unusable("this is not a value", allowed)
    given = value if isinstance(value, list) else [value]
    peers = tuple(text.strip().lower() for text in given if text.strip())
    for text in peers:
        if text != "unix":
            try:
                ip_network(text)
            except ValueError as error:
                raise Unusable(str(error), allowed) from None
    return peers


def _not_an_endpoint(text: str) -> str | None:
    if not text.isprintable():
        return f"{text!r} contains a control character"
    try:
        parse_endpoint(text)
    except ValueError as error:
        return f"{text!r} is not an endpoint: {error}"
    return None


CHECKS: Mapping[str, Callable[..., Any]] = {
    "count": check_count,
    "size": check_size,
    "bound": check_bound,
    "seconds": check_seconds,
    "kept": check_kept,
    "fraction": check_fraction,
    "word": check_word,
    "flag": check_flag,
    "identifier": check_identifier,
    "path": check_path,
    "filename": check_filename,
    "keyname": check_key_name,
    "file": check_file,
    "peers": check_peers,
    "endpoints": check_endpoints,
    "origins": check_origins,
}
