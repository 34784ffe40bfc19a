"""
What can be wrong with a keyring although it has the right form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from taskqueue.access.keyring import (
    CertificateEntry,
    Entry,
    Keyring,
    UserEntry,
    check_name,
    check_text,
)
from taskqueue.access.passwords import is_hash
from taskqueue.errors import BadRequest


def problems_of(keyring: Keyring) -> Iterator[str]:
    """What is wrong, a clause for each; nothing secret stands in them."""
    for kind, entries in (
        ("key", keyring.keys),
        ("user", keyring.users),
        ("certificate", keyring.certificates),
    ):
        for entry in entries:
            for problem in _of_entry(entry):
                yield f"{kind} {entry.name!r}: {problem}"
    yield from _twice("keys have the id", (one.id for one in keyring.keys))
    yield from _twice("users have the name", (one.name for one in keyring.users))
    yield from _twice("certificates have the name", (one.name for one in keyring.certificates))
    yield from _twice("certificates have the id", (one.id for one in keyring.certificates))


def _of_entry(entry: Entry) -> Iterator[str]:
    try:
        check_name(entry.name)
        for text in (entry.note, getattr(entry, "subject", None), getattr(entry, "san", None)):
            check_text(text)
        entry.permissions()
    except BadRequest as problem:
        yield str(problem).rstrip(".")
    if isinstance(entry, UserEntry) and not is_hash(entry.password):
        yield "its password is no argon2id hash"
    if isinstance(entry, CertificateEntry) and entry.subject is None and entry.san is None:
        yield "it says neither a subject nor an alternative name"


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{count} {what} {name!r}"
