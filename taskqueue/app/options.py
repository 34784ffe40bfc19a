"""
How a task is to be treated, as whoever declares or submits it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from inspect import BoundArguments
from typing import Any, TypedDict

from taskqueue.errors import BadRequest

#: True: a key made of the type and the arguments.  A text: the key, in which
#: C{{name}} stands for an argument.  A function: called with the arguments.
Unique = bool | str | Callable[..., str]

#: The header that carries a time-out other than the function's own, in seconds.
TIMEOUT_HEADER = "timeout_s"


class Options(TypedDict, total=False):
    """
    Durations are seconds or timedeltas, moments seconds since the epoch or aware datetimes;
    what is C{None} is left to the queue or the broker.

    C{queue} and C{priority} (0-255, higher first) say where it waits; C{run_in}
    or C{run_at}, and C{expires_in} or C{expires_at}, when it may begin.
    C{max_retries} counts tries after failures, C{max_lost} workers lost over it;
    C{retry_delay}, C{retry_max_delay} and C{retry_jitter} (a share) make the
    pauses.  C{timeout} bounds one run, C{lease} how long a worker may be silent.
    C{unique} is the key of which there may be one task at a time, held until
    C{unique_until} (C{"success"}, C{"start"} or C{"window"}), at most for
    C{unique_for}.  C{depends_on} are ids of tasks, and C{on_dependency_failure}
    is C{"dead_letter"} or C{"run"}.
    """

    queue: str | None
    priority: int | None
    id: str | None
    run_in: float | timedelta | None
    run_at: float | datetime | None
    expires_in: float | timedelta | None
    expires_at: float | datetime | None
    max_retries: int | None
    max_lost: int | None
    retry_delay: float | timedelta | None
    retry_max_delay: float | timedelta | None
    retry_jitter: float | None
    timeout: float | timedelta | None
    lease: float | timedelta | None
    unique: Unique | None
    unique_for: float | timedelta | None
    unique_until: str | None
    depends_on: Sequence[str] | None
    on_dependency_failure: str | None
    headers: Mapping[str, str] | None


#: What the client calls them.
_FIELDS = {
    "run_in": "run_in_s",
    "expires_in": "expires_in_s",
    "retry_delay": "retry_delay_s",
    "retry_max_delay": "retry_max_delay_s",
    "lease": "lease_s",
    "unique_for": "unique_for_s",
}

#: Of one task, not of all tasks of a function.
ONCE = frozenset({"id", "run_in", "run_at", "expires_at", "depends_on"})

KNOWN = frozenset(Options.__annotations__)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """
    The options that are not C{None}.

    @raises BadRequest: there is no such option, or a time-out that is none.
    """
    unknown = given.keys() - KNOWN
    if unknown:
        raise BadRequest(
            f"a task has no option {', '.join(map(repr, sorted(unknown)))};"
            f" there are {', '.join(sorted(KNOWN))}"
        )
    told = {name: _seconds(value) for name, value in given.items() if value is not None}
    if not told.get("timeout", 1) > 0:
        raise BadRequest(f"timeout is {told['timeout']!r}, expected seconds, more than 0")
    return told


def merged(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """C{options}, of which C{more} wins; headers are put together, C{None} takes back."""
    checked(more)
    whole = {**options, **more}
    if options.get("headers") and more.get("headers"):
        whole["headers"] = {**options["headers"], **more["headers"]}
    return checked(whole)


def fields(
    options: Mapping[str, Any], type: str, payload: bytes, bind: Callable[[], BoundArguments]
) -> dict[str, Any]:
    """
    What a L{Submission<taskqueue.client.Submission>} is told.

    @param bind: gives the arguments by parameter, for the unique key.
    """
    told: dict[str, Any] = {}
    for name, value in options.items():
        if name == "unique":
            value = unique_key(value, type, payload, bind)
        elif isinstance(value, datetime):
            value = _epoch(name, value)
        if name != "timeout" and value is not None:
            told[_FIELDS.get(name, name)] = value
    if "timeout" in options:
        headers = {TIMEOUT_HEADER: f"{options['timeout']:g}"}
        told["headers"] = {**headers, **told.get("headers", {})}
    return told


def unique_key(
    wanted: Unique, type: str, payload: bytes, bind: Callable[[], BoundArguments]
) -> str | None:
    """
    The key of a task with these arguments.

    @raises BadRequest: the text names an argument that there is none of.
    """
    if wanted is False:
        return None
    if wanted is True:
        return f"{type}:{hashlib.sha256(payload).hexdigest()[:32]}"
    bound = bind()
    if callable(wanted):
        return str(wanted(*bound.args, **bound.kwargs))
    bound.apply_defaults()
    try:
        return wanted.format(**bound.arguments)
    except (LookupError, ValueError, AttributeError) as error:
        raise BadRequest(
            f"the unique key {wanted!r} of {type} does not fit its arguments"
            f" ({type_of(error)}: {error}): write {{name}} for an argument, {{{{ for a brace"
        ) from None


def type_of(error: BaseException) -> str:
    """The name of an error's class."""
    return type(error).__name__


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _epoch(name: str, moment: datetime) -> float:
    if moment.tzinfo is None:
        raise BadRequest(f"{name} is a datetime without a time zone: say which it is in")
    return moment.timestamp()
