"""
The audit of administrative actions: whichever door they came by, and however they ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.access.identities import Identity
from taskqueue.errors import InternalError, TaskQueueError
from taskqueue.operations.answers import WhenStored
from taskqueue.operations.authorization import admit
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import shown
from taskqueue.operations.needs import Need
from taskqueue.service import TaskQueueService
from taskqueue.wire import MessageType

Header = dict[str, Any]

#: Of the ids of a request, so many are named; of the others only how many they are.
_NAMED = 5

#: The fields of a request that say what it is about, in the order in which they are told.
_ABOUT = (
    *("queue", "worker", "name", "namespace", "version", "order", "running", "paused", "for_s"),
    *("max_depth", "limit"),
)

#: Of an answer, the fields that say how many tasks there were.
_COUNTS = ("deleted", "cancelled", "retried")


class Doing(Protocol):
    """
    Whoever has done something.

    @ivar host: the address that they came from.
    @ivar door: where they came in.
    """

    service: TaskQueueService
    host: str
    door: str

    @property
    def identity(self) -> Identity:
        """Who it is."""


def audited(
    caller: Caller,
    kind: MessageType,
    need: Need,
    values: Header,
    run: Callable[[Caller, Header], Any],
) -> Any:
    """
    Carry out an administrative action as far as the caller may, and see to it that the audit log
    tells of it.

    @param values: the fields of the request, checked.
    @return: what C{run} does.
    @raises Forbidden: the caller may not ask for this.
    """
    doing, about = kind.name.lower(), describe(values)
    try:
        admit(caller, need, values)
        answer = run(caller, values)
    except Exception as error:
        record(caller, doing, about, None, _outcome_of(error))
        raise
    if not isinstance(answer, Deferred):
        header: Any = answer.header if isinstance(answer, WhenStored) else answer
        record(caller, doing, about, *_result_of(header))
        return answer

    def told(header: Header) -> Header:
        record(caller, doing, about, *_result_of(header))
        return header

    def failed(failure: Failure) -> Failure:
        record(caller, doing, about, None, _outcome_of(failure.value))
        return failure

    return answer.addCallbacks(told, failed)


def describe(values: Mapping[str, Any]) -> str:
    """What a request is about, in short."""
    told = [f"{name} {values[name]}" for name in _ABOUT if values.get(name) is not None]
    items = [item.get("name") for item in values.get("periodics", ()) if type(item) is dict]
    for what, names in (
        ("tasks", values.get("tasks", ())),
        ("keys", [shown(key) for key in values.get("keys", ())]),
        ("periodics", [name for name in items if type(name) is str]),
    ):
        if names:
            rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            told.append(f"{what} {', '.join(names[:_NAMED])}{rest}")
    return "; ".join(told)


def _result_of(answer: Mapping[str, Any]) -> tuple[int | None, str]:
    """How many tasks an action touched, and how it ended."""
    errors = answer.get("errors", ())
    count: int | None = None
    for name in ("states", "periodics"):
        if name in answer:
            count = len(answer[name]) - len(errors)
    for name in _COUNTS:
        count = answer.get(name, count)
    if not errors:
        return count, "ok"
    codes = dict.fromkeys(error["code"] for error in errors)
    return count, f"{len(errors)} refused: {', '.join(codes)}"


def _outcome_of(error: BaseException | None) -> str:
    return error.code if isinstance(error, TaskQueueError) else InternalError.code


def record(by: Doing, what: str, about: str, count: int | None, outcome: str = "ok") -> None:
    """
    Have the audit log tell what somebody has done, or tried to.

    @param what: the name of that.
    @param about: to what it was done.
    @param count: to how many tasks; C{None} where that is no question.
    """
    by.service.gate.audit.record(
        by.identity,
        what,
        peer=by.host,
        door=by.door,
        what=about,
        count=count,
        outcome=outcome,
    )
