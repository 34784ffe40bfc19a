"""
What the typed operations have in common: requests that were read, and kinds of values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import LARGEST_INTEGER, LONGEST_NAME, LONGEST_S
from taskqueue.wire.typed import RequestId


class Prepared(Struct, frozen=True):
    """
    A request that was read.

    @ivar id: what to answer it with, C{None} for nothing.
    @ivar run: carries it out, given the caller and C{arguments}; returns what the
        untyped operation does, the answer perhaps as a L{Reply<taskqueue.wire.typed.Reply>}.
    """

    id: RequestId
    run: Callable[..., Any]
    arguments: tuple[Any, ...]


#: Reads a frame, for a caller; C{None} where that is for the untyped operation to do.
Prepare = Callable[[Caller, bytes], Prepared | None]

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Size = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
Duration = Annotated[float, Meta(ge=0.0, le=LONGEST_S)]

# --- ids -------------------------------------------------------------------------

#: Every digit of an id becomes C{x}, every byte that it cannot have, C{?}.
_KINDS = bytes(
    ord("x") if chr(byte) in "0123456789abcdef" else byte if chr(byte) in "-," else ord("?")
    for byte in range(256)
)
_SHAPE = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx,"


def are_task_ids(texts: Sequence[str]) -> bool:
    """Whether all these texts are ids of tasks, in lower case; looked at all at once."""
    found = ",".join(texts).encode("utf-8", "replace").translate(_KINDS)
    return found == (_SHAPE * len(texts))[:-1]
