"""
Task ids.
"""

from __future__ import annotations

import time
from random import SystemRandom

_random = SystemRandom()


def new_task_id() -> str:
    """
    A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds since
    the epoch, then random bits.  Ids made one after another sort almost in
    that order, which keeps the store's index compact.
    """
    bits = _random.getrandbits(74)
    value = (int(time.time() * 1000) & 0xFFFFFFFFFFFF) << 80
    value |= 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & 0x3FFFFFFFFFFFFFFF
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
