"""
What kombu's names and priorities are at the broker.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

#: What a name at the broker may be; see "name" in docs/protocol.md.
_NAME = re.compile(r"[A-Za-z0-9_\-.:/]{1,128}")
_LONGEST = 128

#: How a character that no name may have is written: a colon and its bytes in hexadecimal.
_ESCAPE = re.compile(r":[0-9a-f]{2}")
_UNSAFE = re.compile(rb"[^A-Za-z0-9_\-./]")

#: What kombu's least urgent priority, which is also that of messages without one, is at the
#: broker: the priority that tasks have where nobody names one.
LEAST_URGENT = 150
STEP = 10
MOST_URGENT_KOMBU = 9


@lru_cache(maxsize=4096)
def broker_name(name: str) -> str:
    """
    A queue's or a task's name at the broker.

    It is the same wherever the broker takes it.  What is left is written as C{:40} for
    C{@}, and the end of what is too long is a digest of all of it, so that two names
    never become one.
    """
    if _NAME.fullmatch(name) and not _ESCAPE.search(name):
        return name
    escaped = _UNSAFE.sub(lambda found: b":%02x" % ord(found[0]), name.encode()).decode()
    if len(escaped) <= _LONGEST:
        return escaped
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{escaped[: _LONGEST - 1 - len(digest)]}:{digest}"


def broker_priority(priority: object) -> int:
    """
    A message's priority at the broker.

    @param priority: kombu's, 0 to 9, higher first; larger ones count as 9, and what is none as 0.
    @return: 150 to 240, higher first.
    """
    try:
        wanted = int(priority)  # type: ignore[call-overload]  # it says what it cannot take
    except (TypeError, ValueError):
        wanted = 0
    return LEAST_URGENT + STEP * max(0, min(wanted, MOST_URGENT_KOMBU))


def kombu_priority(priority: int) -> int:
    """What a priority at the broker is to kombu: the nearest one below."""
    return max(0, min((priority - LEAST_URGENT) // STEP, MOST_URGENT_KOMBU))
