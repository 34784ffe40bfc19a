"""
Which jobs a MUTATE is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from taskqueue import strictjson
from taskqueue.core.changes import TaskRow
from taskqueue.errors import BadRequest
from taskqueue.frontends.faktory.arguments import job_type
from taskqueue.frontends.faktory.failing import reason_of
from taskqueue.frontends.faktory.jobs import Shown, given_of, retry_of, task_id_of, view_native
from taskqueue.operations.tasks import MOST_TASKS

#: The longest pattern, characters.
LONGEST_PATTERN = 1000

#: In this order Faktory's server writes a job; whoever writes a pattern may rely on it.
_ORDER = (
    *("retry", "failure", "custom", "jid", "queue", "jobtype", "created_at", "enqueued_at"),
    *("at", "args", "reserve_for", "backtrace"),
)


class Glob:
    """
    A pattern as Redis has it: C{*} is any text, C{?} any character, C{[a-c]} and C{[^a-c]} one of
    some, and a backslash takes the next character as it is.

    What stands between the stars has a fixed length, so that each part is looked for once, from
    where the one before it ended: no pattern takes more time than its length times the text's.
    """

    def __init__(self, pattern: str) -> None:
        """
        @raises BadRequest: it is too long.
        """
        if len(pattern) > LONGEST_PATTERN:
            raise BadRequest(
                f"the pattern has {len(pattern)} characters, at most {LONGEST_PATTERN} are allowed",
                field="regexp",
            )
        parts: list[list[str]] = [[]]
        for atom in _atoms(pattern):
            if atom is None:
                parts.append([])
            else:
                parts[-1].append(atom)
        self._parts = [(re.compile("".join(part), re.DOTALL), len(part)) for part in parts]

    def matches(self, text: str) -> bool:
        """Whether all of a text is as the pattern says."""
        (first, _), *rest = self._parts
        if not rest:
            return first.fullmatch(text) is not None
        *inner, (last, length) = rest
        found = first.match(text)
        for part, _ in inner:
            if found is None:
                return False
            found = part.search(text, found.end())
        if found is None or len(text) - length < found.end():
            return False
        return last.fullmatch(text, len(text) - length) is not None


def _atoms(pattern: str) -> Iterator[str | None]:
    """The pattern as regular expressions of one character each; C{None} for a star."""
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        place += 1
        if sign == "*":
            yield None
        elif sign == "?":
            yield "."
        elif sign == "[":
            some, place = _class(pattern, place)
            yield some
        else:
            if sign == "\\" and place < len(pattern):
                sign, place = pattern[place], place + 1
            yield re.escape(sign)


def _class(pattern: str, place: int) -> tuple[str, int]:
    """The class of characters that begins here, behind its bracket, and where it ends."""
    negated = pattern.startswith("^", place)
    place += negated
    members = ""
    while place < len(pattern) and pattern[place] != "]":
        if pattern[place] == "\\" and place + 1 < len(pattern):
            place += 1
        low = high = pattern[place]
        if pattern.startswith("-", place + 1) and place + 2 < len(pattern):
            high = pattern[place + 2]
            place += 2
        low, high = min(low, high), max(low, high)
        members += re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}"
        place += 1
    if not members:
        return ("." if negated else "(?!)."), place + 1
    return f"[{'^' if negated else ''}{members}]", place + 1


class JobFilter(NamedTuple):
    """
    What jobs have in common; without a field, all match.

    @ivar ids: of tasks: where these are given, nothing else counts.
    @ivar pattern: all of the job's JSON is so, as Faktory's server would write it.
    """

    ids: list[str] | None = None
    type: str | None = None
    pattern: Glob | None = None

    def fits(self, row: TaskRow, payload: bytes) -> bool:
        """Whether a task, which is of this type, is as the pattern says."""
        return self.pattern is None or self.pattern.matches(job_text(row, payload))


def read_filter(said: Any) -> JobFilter:
    """
    @raises BadRequest: a field cannot be what it is.
    """
    if said is None:
        return JobFilter()
    if type(said) is not dict:
        raise BadRequest("invalid JSON: filter must be an object", field="filter")
    jids, kind, pattern = said.get("jids"), said.get("jobtype"), said.get("regexp")
    if jids:
        if type(jids) is not list or not all(type(jid) is str for jid in jids):
            raise BadRequest("invalid JSON: jids must be a list of texts", field="jids")
        if len(jids) > MOST_TASKS:
            raise BadRequest(f"a filter names at most {MOST_TASKS} jids", field="jids")
        return JobFilter([task_id_of(jid) for jid in dict.fromkeys(jids)])
    if pattern is not None and type(pattern) is not str:
        raise BadRequest("invalid JSON: regexp must be a text", field="regexp")
    return JobFilter(
        None,
        job_type(kind) if kind else None,
        Glob(pattern) if pattern and pattern.strip("*") else None,
    )


def job_text(row: TaskRow, payload: bytes) -> str:
    """A task as the JSON of a job, as Faktory's server would write it."""
    given = given_of(row.id, row.type, payload)
    if given is None:
        moment = max(row.submitted_at, row.run_at or 0.0)
        task = Shown(row.id, row.type, row.queue, payload, row.headers, row.submitted_at, moment)
        given = view_native(task, row.options.max_retries or 0)
    if row.failures + row.losses:
        reason = reason_of(row.error)
        tries = row.failures + row.losses - 1
        given = given | {
            "failure": {
                "message": reason.message,
                "errtype": reason.errtype,
                "backtrace": list(reason.backtrace),
                "retry_count": tries,
                "remaining": max(0, retry_of(given) - tries),
            }
        }
    ordered = {name: given[name] for name in _ORDER if name in given}
    return strictjson.dumps(ordered | given).decode("utf-8")
