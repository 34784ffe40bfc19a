"""
Jobs as tasks, and tasks as jobs.

A job that is pushed becomes a task whose payload is the job's JSON.  A task that was submitted in
another way is shown to whoever fetches it as a job whose arguments are its payload.
"""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from taskqueue import strictjson
from taskqueue.core.intake import Submission
from taskqueue.core.task import DEFAULT_OPTIONS
from taskqueue.errors import BadRequest
from taskqueue.frontends.faktory.arguments import job_type, queue_name
from taskqueue.operations.fields import LATEST_MOMENT
from taskqueue.operations.tasks import LONGEST_HEADERS_BYTES, shared_options

#: Of a jid that is no UUID, the task's id is one made of this and the jid (RFC 9562, version 5).
NAMESPACE = UUID("6b1d0c5e-3a54-5f0e-9d8b-7c2f64a1e0b7")

#: Bytes of a jid; the lower bound is that of Faktory's server.
SHORTEST_JID = 8
LONGEST_JID = 256

#: What a job gets that does not say.
RETRIES = 25
RESERVED_S = 1800

#: What is shorter is made so long; what is longer is refused: as Faktory's server has it.
LEAST_RESERVED_S = 60
MOST_RESERVED_S = 86_400

#: How many retries a job may ask for: with the pauses of the last ones, more never come.
MOST_RETRIES = 1000

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def task_id_of(jid: str) -> str:
    """The id of the task that a job is: always the same for one jid."""
    return jid if _UUID.fullmatch(jid) else str(uuid5(NAMESPACE, jid))


class Job(NamedTuple):
    """
    A job that was pushed, checked.

    @ivar given: all that it says.
    @ivar retry: how often it is tried again; 0: its failure is forgotten with it; below 0: it
        goes to the dead letters at once.
    @ivar reserved_s: for how long a worker may hold it.
    @ivar at: the wall-clock moment before which it must not run, if any.
    """

    jid: str
    type: str
    queue: str
    retry: int
    reserved_s: int
    at: float | None
    custom: dict[str, Any]
    given: dict[str, Any]


def read_job(given: dict[str, Any]) -> Job:
    """
    @raises BadRequest: what is wrong with the job, as far as possible in the words of Faktory's
        server.
    """
    jid = given.get("jid")
    if type(jid) is not str or not SHORTEST_JID <= len(jid.encode()) <= LONGEST_JID:
        raise BadRequest(
            f"jobs must have a reasonable jid parameter: a text of {SHORTEST_JID} to "
            f"{LONGEST_JID} bytes",
            field="jid",
        )
    if not given.get("jobtype"):
        raise BadRequest("jobs must have a jobtype parameter", field="jobtype")
    if type(given.get("args")) is not list:
        raise BadRequest("jobs must have an args parameter: a list", field="args")
    custom = given.get("custom")
    if custom is not None and type(custom) is not dict:
        raise BadRequest("invalid JSON: custom must be an object", field="custom")
    return Job(
        jid,
        job_type(given["jobtype"]),
        queue_name(given.get("queue") or "default"),
        _retries(given),
        _reserved_s(given),
        _moment(given),
        custom or {},
        given,
    )


def _integer(given: dict[str, Any], field: str, default: int) -> int:
    value = given.get(field)
    if value is None:
        return default
    if type(value) is not int:
        raise BadRequest(f"invalid JSON: {field} must be an integer", field=field)
    return value


def _retries(given: dict[str, Any]) -> int:
    retry = _integer(given, "retry", RETRIES)
    if retry > MOST_RETRIES:
        raise BadRequest(f"jobs cannot be retried more than {MOST_RETRIES} times", field="retry")
    return max(retry, -1)


def _reserved_s(given: dict[str, Any]) -> int:
    seconds = _integer(given, "reserve_for", 0) or RESERVED_S
    if seconds > MOST_RESERVED_S:
        raise BadRequest(
            f"jobs cannot be reserved for more than one day: reserve_for is at most "
            f"{MOST_RESERVED_S}",
            field="reserve_for",
        )
    return max(seconds, LEAST_RESERVED_S)


def _moment(given: dict[str, Any]) -> float | None:
    text = given.get("at")
    if text is None or text == "":
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError("it has no time, or no time zone")
        seconds = moment.timestamp()
    except (TypeError, ValueError, OverflowError):
        seconds = LATEST_MOMENT + 1
    if seconds > LATEST_MOMENT:
        shown = repr(text[:60]) if type(text) is str else "this"
        raise BadRequest(
            f"invalid timestamp for 'at': {shown}: it must be as in 2030-01-31T12:00:00Z",
            field="at",
        )
    return seconds


def timestamp(wall: float) -> str:
    """A wall-clock moment as RFC 3339 writes it, in UTC, to the microsecond."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


# --- as a task ---------------------------------------------------------------------------


def submission_of(job: Job, now: float, text: bytes | None = None) -> Submission:
    """
    The task that a job becomes.

    @param now: wall-clock seconds.
    @param text: the JSON of C{job.given}, where it stands alone: it stays as it is, to the last
        digit of each number.
    """
    run_at = job.at if job.at is not None and job.at > now else None
    tries = max(job.retry, 0)
    options = DEFAULT_OPTIONS._replace(
        max_retries=tries, max_lost=tries, lease_s=float(job.reserved_s)
    )
    return Submission(
        job.type,
        _payload(job, now, run_at, text),
        job.queue,
        id=task_id_of(job.jid),
        run_at=run_at,
        options=shared_options(*options),
        headers=_headers(job.custom),
    )


def _payload(job: Job, now: float, run_at: float | None, text: bytes | None) -> bytes:
    """The job's JSON, with what Faktory's server adds to it."""
    given = job.given
    added = {
        name: value
        for name, value in (
            ("queue", job.queue),
            ("retry", job.retry),
            ("created_at", timestamp(now)),
        )
        if given.get(name) in (None, "")
    }
    if run_at is None:
        added["enqueued_at"] = timestamp(now)
    if text is None or any(name in given for name in ("failure", "enqueued_at", *added)):
        kept = {name: value for name, value in given.items() if name != "failure"}
        return strictjson.dumps({**kept, **added})
    return text.rstrip()[:-1] + b"," + strictjson.dumps(added)[1:] if added else text


def _headers(custom: dict[str, Any]) -> str | None:
    """What of C{custom} may be a header of the task: texts, such as a trace's context."""
    texts = {name: value for name, value in custom.items() if type(value) is str}
    if not texts:
        return None
    headers = strictjson.dumps(texts).decode("utf-8")
    return headers if len(headers.encode()) <= LONGEST_HEADERS_BYTES else None


# --- as a job ----------------------------------------------------------------------------


class Shown(NamedTuple):
    """
    What a job is shown from: a task.

    @ivar enqueued_at: the wall-clock moment since when it could be fetched.
    """

    id: str
    type: str
    queue: str
    payload: bytes
    headers: str | None
    submitted_at: float
    enqueued_at: float


def given_of(task_id: str, task_type: str, payload: bytes) -> dict[str, Any] | None:
    """What a job says that was pushed; C{None} for a task that was submitted in another way."""
    if not payload.startswith(b"{"):
        return None
    try:
        value = strictjson.loads(payload)
    except BadRequest:
        return None
    if type(value) is not dict or value.get("jobtype") != task_type:
        return None
    jid, args = value.get("jid"), value.get("args")
    if type(jid) is not str or type(args) is not list or task_id_of(jid) != task_id:
        return None
    return value


def retry_of(given: dict[str, Any]) -> int:
    """How often a job is tried again, of one that was checked when it was pushed."""
    retry = given.get("retry")
    return retry if type(retry) is int else RETRIES


def view_native(task: Shown, retries: int) -> dict[str, Any]:
    """A task that was submitted in another way, as a job."""
    view: dict[str, Any] = {
        "jid": task.id,
        "queue": task.queue,
        "jobtype": task.type,
        "args": _arguments(task.payload),
        "retry": retries,
        "created_at": timestamp(task.submitted_at),
        "enqueued_at": timestamp(task.enqueued_at),
    }
    if task.headers is not None:
        view["custom"] = strictjson.loads(task.headers.encode())
    return view


def _arguments(payload: bytes) -> list[Any]:
    """A payload as arguments: a list as it is; any other JSON, a text or bytes as the only one."""
    if not payload:
        return []
    try:
        value = strictjson.loads(payload)
    except BadRequest:
        pass
    else:
        return value if type(value) is list else [value]
    try:
        return [payload.decode("utf-8")]
    except UnicodeDecodeError:
        return [{"payload_b64": b64encode(payload).decode("ascii")}]
