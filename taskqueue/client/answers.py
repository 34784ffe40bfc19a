"""
What the broker's answers say, as values and errors of Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from taskqueue.core.task import STATES_BY_WORD, State
from taskqueue.errors import (
    ShuttingDown,
    StoreUnavailable,
    TaskQueueError,
    TooManyRequests,
    by_code,
)
from taskqueue.wire import Header

_T = TypeVar("_T")

#: Refusals that have to do with the broker and not with what is asked, and pass.
PASSING = (ShuttingDown, StoreUnavailable, TooManyRequests)


@cache
def _classes() -> dict[str, type[TaskQueueError]]:
    # A class with a constructor of its own cannot be made from what a NACK holds.
    return {code: cls for code, cls in by_code().items() if cls.__init__ is TaskQueueError.__init__}


def error_from(header: Header) -> TaskQueueError:
    """
    The error that a NACK, or an item of a list of errors, names.

    @return: an instance of the class with that code; of L{TaskQueueError} for a
        code that this version does not know, with C{"code"} in its fields.
    """
    fields = {name: value for name, value in header.items() if name not in ("id", "item")}
    code = fields.pop("code", None)
    message = fields.pop("message", None)
    retry_after_s = fields.pop("retry_after_s", None)
    cls = _classes().get(code) if isinstance(code, str) else None
    if cls is None:
        cls, fields["code"] = TaskQueueError, code
    return cls(message, retry_after_s=retry_after_s, **fields)


def per_item(answer: Header, name: str, convert: Callable[[Any], _T]) -> list[_T | TaskQueueError]:
    """
    The answer to a batch: C{answer[name]}, each value converted, and the error in
    the place of each item that was refused.
    """
    errors = {error["item"]: error_from(error) for error in answer.get("errors") or ()}
    return [
        errors[index] if index in errors else convert(value)
        for index, value in enumerate(answer[name])
    ]


def only(answers: list[_T | TaskQueueError]) -> _T:
    """
    The answer to a batch of one.

    @raises TaskQueueError: what it was refused with.
    """
    (answer,) = answers
    if isinstance(answer, TaskQueueError):
        raise answer
    return answer


def state_from(word: str) -> State:
    """
    The state that C{word} names.

    @raises TaskQueueError: this version does not know it.
    """
    try:
        return STATES_BY_WORD[word]
    except KeyError:
        raise TaskQueueError(f"the broker names a state that is not known here: {word!r}") from None
