"""
The configspec: which keys there are, and which values each may have.

C{SPEC} is a configobj configspec.  Its checks are the functions of this module,
so that what is wrong is said in full: each raises L{Unusable} with what was
found and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from configobj import ConfigObj
from configobj.validate import Validator

from taskqueue.config.endpoints import parse_endpoint
from taskqueue.config.sections import GIB, KIB, MIB, TIB

#: The section whose subsections are queues, and the name that stands for each of them.
QUEUES = "queues"
ANY_QUEUE = "__many__"

#: How "keep it always" is written.
FOREVER = "forever"

SPEC = """
[broker]
name = identifier()
queue_depth_threshold = count(0, 1000000000)
max_held_bytes = size('1 MiB', '1 TiB')
memory_limit = bound('384 MiB', '1 TiB')
lease_s = seconds(0.1, 31536000)
lease_min_s = seconds(0.1, 31536000)
lease_max_s = seconds(0.1, 31536000)
claim_wait_s = seconds(0, 86400)
claim_wait_max_s = seconds(0, 86400)
max_batch_submit = count(1, 100000)
max_batch_claim = count(1, 100000)
max_batch_results = count(1, 100000)
max_retries = count(0, 1000000)
max_lost = count(0, 1000000)
retry_delay_s = seconds(0, 31536000)
retry_max_delay_s = seconds(0, 31536000)
retry_jitter = fraction()
stop_timeout_s = seconds(0, 3600)
audit_interval_s = seconds(0, 86400)

[listen]
framed = endpoints()
lines = endpoints()

[store]
kind = word('sqlite', 'memory')
path = path()
durability = word('fsync', 'interval', 'none')
sync_interval_ms = count(1, 60000)
check_on_start = word('quick', 'full', 'none')

[queues]
[[__many__]]
max_depth = count(0, 1000000000)
lease_s = seconds(0.1, 31536000)
max_retries = count(0, 1000000)
max_lost = count(0, 1000000)
retry_delay_s = seconds(0, 31536000)
retry_max_delay_s = seconds(0, 31536000)
retry_jitter = fraction()
paused = flag()

[workers]
heartbeat_s = seconds(0.1, 3600)
stale_after_s = seconds(0.1, 86400)
reconnect_grace_s = seconds(0, 86400)
max_workers = count(1, 1000000)

[limits]
max_connections = count(1, 1000000)
max_connections_per_peer = count(1, 1000000)
max_frame_bytes = size('1 KiB', '1 GiB')
max_payload_bytes = size('1', '1 GiB')
handshake_timeout_s = seconds(0.1, 3600)
idle_timeout_s = seconds(0.1, 86400)
slow_reader_timeout_s = seconds(0.1, 3600)
max_outbound_bytes = size('64 KiB', '16 GiB')
max_inflight_requests = count(1, 1000000)

[retention]
completed_s = kept(315360000)
dead_letter_s = kept(315360000)
cancelled_s = kept(315360000)
expired_s = kept(315360000)
sweep_interval_s = seconds(0.1, 86400)
sweep_batch = count(1, 100000)

[http]
listen = endpoints()
max_label_pairs = count(1, 100000)
api = word('full', 'read', 'off')
cors_origins = origins()

[log]
level = word('debug', 'info', 'warn', 'error', 'critical')
format = word('text', 'json')
"""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/-]{1,128}", re.ASCII)
IDENTIFIER_RULE = "1 to 128 characters of letters, digits and _ - . : /"

#: As a browser writes one: in lower case, without a path.
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]{1,255}", re.ASCII)

#: Checks whose values are lists.
_LISTS = ("endpoints", "origins")

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


# --- the checks: value as configobj gives it, then the arguments in the spec ------------


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


def _not_an_endpoint(text: str) -> str | None:
    if not text.isprintable():
        return f"{text!r} contains a control character"
    try:
        parse_endpoint(text)
    except ValueError as error:
        return f"{text!r} is not an endpoint: {error}"
    return None


_CHECKS: Mapping[str, Callable[..., Any]] = {
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
    "endpoints": check_endpoints,
    "origins": check_origins,
}


class Spec:
    """The parsed configspec."""

    def __init__(self, text: str = SPEC) -> None:
        parsed = ConfigObj(text.splitlines(), list_values=False, interpolation=False, _inspec=True)
        self._validator = Validator(dict(_CHECKS))
        self._checks: dict[str, dict[str, str]] = {
            section: dict(parsed[section]) for section in parsed.sections
        }
        self._checks[QUEUES] = dict(parsed[QUEUES][ANY_QUEUE])

    @property
    def sections(self) -> list[str]:
        """The names of the sections, in order."""
        return list(self._checks)

    def keys(self, section: str) -> list[str]:
        """The keys of a section, in order; of C{queues}, those of each queue."""
        return list(self._checks[section])

    def takes_list(self, section: str, key: str) -> bool:
        """Whether there is such a key, and its value is a list."""
        return self._checks.get(section, {}).get(key, "").startswith(_LISTS)

    def check(self, section: str, key: str, value: object) -> Any:
        """
        The value that C{value} stands for.

        @param value: text, or a list of texts.
        @raises Unusable: the key cannot have it.
        """
        return self._validator.check(self._checks[section][key], value)

    def allowed(self, section: str, key: str) -> str:
        """In words, the values that the key can have."""
        try:
            self.check(section, key, _NO_VALUE)
        except Unusable as error:
            return error.allowed
        raise AssertionError(f"the check of {section}.{key} lets everything pass")


_NO_VALUE = object()
