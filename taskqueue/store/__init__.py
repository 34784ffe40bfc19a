"""
Where tasks are kept safe: L{IStore} and what implements it.
"""

from __future__ import annotations

from taskqueue.store.interface import Backlog, EndedCounts, Filter, IStore, Page, Recovery
from taskqueue.store.logged import LoggedStore
from taskqueue.store.memory import MemoryStore
from taskqueue.store.sqlite import SQLiteStore

KINDS = ("sqlite", "memory")
DURABILITIES = ("fsync", "interval", "none")


def make_store(kind: str, path: str, durability: str, check_on_start: str) -> IStore:
    """
    The store that the settings of C{[store]} ask for; not open yet.

    @param kind: one of L{KINDS}.
    @param path: the data directory.
    @param durability: one of L{DURABILITIES}.  With C{interval} each commit is
        as durable as with C{fsync}: the service commits less often.
    @param check_on_start: C{quick}, C{full} or C{none}.
    @raises ValueError: a setting has another value.
    """
    for name, value, known in (
        ("kind", kind, KINDS),
        ("durability", durability, DURABILITIES),
    ):
        if value not in known:
            raise ValueError(f"[store] {name} is one of {', '.join(known)}, not {value!r}")
    if kind == "memory":
        return MemoryStore()
    return LoggedStore(path, durability != "none", check_on_start)


__all__ = [
    "DURABILITIES",
    "KINDS",
    "Backlog",
    "EndedCounts",
    "Filter",
    "IStore",
    "LoggedStore",
    "MemoryStore",
    "Page",
    "Recovery",
    "SQLiteStore",
    "make_store",
]
