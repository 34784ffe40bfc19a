"""
Passwords that people choose: argon2id, which makes guessing slow.

Hashing takes some 30 ms of a processor and the memory below; it gives the interpreter's lock
away meanwhile, so a broker does it in threads.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import normalize

from taskqueue.errors import BadRequest

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: OWASP's recommendation for argon2id (Password Storage Cheat Sheet), with one pass more.
MEMORY_KIB = 19 * 1024
PASSES = 3
LANES = 1

#: NIST SP 800-63B asks for 8 at least, and to take long ones.
SHORTEST = 10
LONGEST = 1024

_HASH = re.compile(r"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")

#: Of 32 random bytes that nobody has kept: what is checked where there is no such user, so that
#: the answer takes as long.
NOBODY = (
    "$argon2id$v=19$m=19456,t=3,p=1$zAdA8s5MvnO3aP+RIyAuag"
    "$/IdnQdkMD5DdM0g8NMWMW1wh1PB8AhMHd6zr5DbIDMg"
)


def check_password(password: str) -> str:
    """
    A password as somebody may choose it.

    @raises BadRequest: it is too short, or longer than anybody types.
    """
    if len(password) < SHORTEST:
        raise BadRequest(f"A password has at least {SHORTEST} characters; this has fewer.")
    if len(password) > LONGEST:
        raise BadRequest(f"A password has at most {LONGEST} characters; this has more.")
    return password


def is_hash(text: str) -> bool:
    """Whether C{text} is what L{hash_password} makes."""
    return _HASH.fullmatch(text) is not None


def hash_password(password: str) -> str:
    """Hash a password, with a salt of its own; blocks."""
    return _hasher().hash(_normal(password))


def verify(hashed: str, password: str) -> bool:
    """Whether a password is the one that was hashed; blocks, as long for a wrong one."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > LONGEST:
        return False
    try:
        return _hasher().verify(hashed, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> bytes:
    """
    One form of what looks the same: keyboards differ in how they compose letters (RFC 8265,
    section 4.2.2).
    """
    return normalize("NFC", password).encode("utf-8", "surrogatepass")


@cache
def _hasher() -> PasswordHasher:
    # Most brokers never see a password: they need not wait for the import.
    from argon2 import PasswordHasher, Type

    return PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
