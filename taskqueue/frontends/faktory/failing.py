"""
Failures: what a worker says about one, how a task keeps it, and what the next worker is shown.

A task keeps its newest error as one text, which people read in the dashboard, in answers of the
REST API and on the command line.  So what Faktory's workers say in three fields is written as one
text that both people and this module can read::

    RuntimeError: it is broken
    Backtrace:
    - app.py:12 in work
    - app.py:3 in main
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from taskqueue.errors import BadRequest
from taskqueue.operations.tasks import LONGEST_DELAY_S

#: As much is kept as Faktory's server keeps: characters, and lines of a backtrace.
LONGEST_TYPE = 100
LONGEST_MESSAGE = 1000
MOST_LINES = 50

#: It bounds no line of a backtrace; here all of it takes a part of the error that a task may have.
LONGEST_LINE = 1000

#: What is said where a worker says nothing, or something that says nothing.
UNKNOWN = "unknown"

_MARK = "Backtrace:"
_FIRST, _MORE = "- ", "  "

#: How a reservation that ran out shows as a failure: in the words of Faktory's server.
EXPIRED_TYPE = "ReservationExpired"
EXPIRED_MESSAGE = "Faktory job reservation expired"


class Reason(NamedTuple):
    """
    Why a job failed.

    @ivar backtrace: its lines; one may have line ends in it.
    """

    errtype: str = UNKNOWN
    message: str = UNKNOWN
    backtrace: tuple[str, ...] = ()


def read_reason(said: dict[str, Any]) -> Reason:
    """
    What a FAIL says, cut to what is kept.

    @raises BadRequest: a field is no text, or the backtrace no list of texts.
    """
    lines = said.get("backtrace") or []
    if type(lines) is not list or not all(type(line) is str for line in lines):
        raise BadRequest("invalid FAIL: backtrace must be a list of texts", field="backtrace")
    errtype = " ".join(_text(said, "errtype").split()).replace(": ", ":")
    return Reason(
        errtype[:LONGEST_TYPE] or UNKNOWN,
        _text(said, "message").strip()[:LONGEST_MESSAGE] or UNKNOWN,
        tuple(line[:LONGEST_LINE] for line in lines[:MOST_LINES]),
    )


def _text(said: dict[str, Any], field: str) -> str:
    value = said.get(field)
    if value is None:
        return ""
    if type(value) is not str:
        raise BadRequest(f"invalid FAIL: {field} must be a text", field=field)
    return value


def error_of(reason: Reason) -> str:
    """The error of a task that failed so."""
    said = f"{reason.errtype}: {reason.message}"
    if not reason.backtrace and f"\n{_MARK}\n" not in f"{said}\n":
        return said
    lines = [_FIRST + line.replace("\n", f"\n{_MORE}") for line in reason.backtrace]
    return "\n".join([said, _MARK, *lines])


def reason_of(error: str | None) -> Reason:
    """Why a task failed, from its error: the inverse of L{error_of}; a guess for other errors."""
    if not error:
        return Reason()
    said, mark, kept = f"{error}\n".rpartition(f"\n{_MARK}\n")
    if not mark:
        said, kept = error, ""
    errtype, colon, message = said.partition(": ")
    if not colon or "\n" in errtype or len(errtype) > LONGEST_TYPE:
        errtype, message = UNKNOWN, said
    return Reason(errtype, message, tuple(_lines(kept)))


def _lines(kept: str) -> list[str]:
    found: list[str] = []
    for line in kept.split("\n")[:-1]:
        if line.startswith(_FIRST) or not found:
            found.append(line.removeprefix(_FIRST))
        else:
            found[-1] += f"\n{line.removeprefix(_MORE)}"
    return found


def pause_s(count: int, random: Random) -> float:
    """
    How long a failed job waits for its next try, as Faktory's server has it.

    @param count: how many tries failed before.
    """
    return min(LONGEST_DELAY_S, count**4 + 15 + random.randrange(30) * (count + 1))


class Trouble(NamedTuple):
    """
    What a job has been through.

    @ivar tries: how many came to nothing, but for the first: reservations that ran out are among
        them.
    @ivar remaining: how many tries it has left.
    @ivar failed_at: when it failed first, as RFC 3339 writes it.
    @ivar next_at: when it was tried again after it had failed last, C{None} where it never did.
    """

    reason: Reason
    tries: int
    remaining: int
    failed_at: str
    next_at: str | None = None

    def view(self) -> dict[str, Any]:
        """The C{failure} of the job."""
        view: dict[str, Any] = {"failed_at": self.failed_at}
        if self.next_at is not None:
            view["next_at"] = self.next_at
        view |= {"message": self.reason.message, "errtype": self.reason.errtype}
        if self.reason.backtrace:
            view["backtrace"] = list(self.reason.backtrace)
        return view | {"retry_count": self.tries, "remaining": self.remaining}
