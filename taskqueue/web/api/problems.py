"""
Errors as HTTP has them: a status, and problem details (RFC 9457).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from taskqueue.errors import InternalError, StoreError, StoreUnavailable, TaskQueueError, by_code
from taskqueue.operations.views import view_error
from taskqueue.web.credentials import CHALLENGE

#: The media type of every error.
MEDIA = "application/problem+json"

#: Of the protocol's codes, the statuses; what is not named is wrong with the request.
STATUSES: Mapping[str, int] = {
    "BAD_REQUEST": 422,
    "UNKNOWN_DEPENDENCY": 422,
    "DEPENDENCY_CYCLE": 422,
    "BATCH_TOO_LARGE": 413,
    "PAYLOAD_TOO_LARGE": 413,
    "FRAME_TOO_LARGE": 413,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "UNKNOWN_TASK": 404,
    "UNKNOWN_QUEUE": 404,
    "UNKNOWN_WORKER": 404,
    "UNKNOWN_PERIODIC": 404,
    "CONFLICT": 409,
    "QUEUE_FULL": 429,
    "VALUES_FULL": 507,
    "TOO_MANY_REQUESTS": 429,
    "RATE_LIMITED": 429,
    "STORE_UNAVAILABLE": 503,
    "SHUTTING_DOWN": 503,
    "INTERNAL_ERROR": 500,
}

#: What HTTP alone can refuse: code to its title.
_TITLES: Mapping[str, str] = {
    "NOT_FOUND": "There is no such path.",
    "METHOD_NOT_ALLOWED": "This path does not have this method.",
    "NOT_ACCEPTABLE": "There is no answer of the kind that is accepted.",
    "PRECONDITION_FAILED": "It is not as the request says that it must be.",
    "UNSUPPORTED_MEDIA_TYPE": "The body is not JSON.",
    "READ_ONLY": "Nothing can be changed over HTTP.",
    "FORBIDDEN_ORIGIN": "A page of another site asked for this.",
    "TOO_MANY_STREAMS": "There are as many streams of events as there may be.",
    **{code: (cls.__doc__ or "").strip().partition("\n")[0] for code, cls in by_code().items()},
}


class Problem(Exception):
    """
    Why a request is not carried out.

    @ivar status: of the answer.
    @ivar view: its body, as JSON-able values.
    @ivar headers: of the answer, beside those that every one has.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] = {}, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.view = {
            "type": f"urn:taskqueue:problem:{code.lower().replace('_', '-')}",
            "title": _TITLES.get(code, "The request cannot be carried out."),
            "status": status,
            "detail": detail,
            "code": code,
            **more,
        }
        self.headers = dict(headers)
        if status == 401:
            self.headers["www-authenticate"] = CHALLENGE
        retry_after_s = more.get("retry_after_s")
        if retry_after_s is not None:
            self.headers["retry-after"] = str(max(1, ceil(retry_after_s)))


def problem_of(error: TaskQueueError) -> Problem:
    """The problem that an error is."""
    if isinstance(error, StoreError):
        error = StoreUnavailable(f"the store failed: {error}", retry_after_s=1.0)
    elif error.code not in STATUSES:
        error = InternalError()
    return problem_of_view(view_error(error))


def problem_of_view(view: Mapping[str, Any]) -> Problem:
    """
    The problem that an error is, of which there is only what the protocol
    answers.

    @param view: with C{code} and C{message}.
    """
    more = dict(view)
    code, detail = more.pop("code"), more.pop("message")
    more.pop("item", None)
    return Problem(STATUSES.get(code, 422), code, detail, **more)
