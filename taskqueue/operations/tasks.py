"""
Submitting tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import (
    DEFAULT_OPTIONS,
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    STATE_WORDS,
    UNTIL_BY_WORD,
    State,
    TaskOptions,
)
from taskqueue.errors import BadRequest, PayloadTooLarge, TaskQueueError, TooManyRequests
from taskqueue.operations.answers import WhenStored
from taskqueue.operations.batches import Batch, either
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    Form,
    boolean,
    headers,
    integer,
    list_of,
    moment,
    name_text,
    nullable,
    number,
    one_of,
    payload,
    raw_list,
    raw_object,
    task_id,
    text,
)
from taskqueue.operations.submission_checks import Checked, are_plain, check_watching, checked
from taskqueue.operations.views import view_errors
from taskqueue.operations.visibility import drop_if_gone
from taskqueue.wire.typed import Message

Header = dict[str, Any]

_T = TypeVar("_T")

#: How many tasks one request may name, where the configuration sets no bound.
MOST_TASKS = 1000

#: The check of the ids of tasks.
IDS = list_of(task_id, MOST_TASKS)

#: How many tasks one connection may watch.
MOST_WATCHED = 100_000

#: The check of a task's priority.
PRIORITY = integer(LOWEST_PRIORITY, HIGHEST_PRIORITY)

#: How many failures or losses may be allowed to a task.
MOST_RETRIES = 1000

#: The longest pause before a retry, seconds: a year.
LONGEST_DELAY_S = 86_400.0 * 365

#: How many tasks one may depend on.
MOST_DEPENDENCIES = 1000

#: The longest unique key, characters.
LONGEST_KEY = 256

#: The longest headers of a task, as JSON.
LONGEST_HEADERS_BYTES = 8192

#: The check of a task's headers.
HEADERS = headers(LONGEST_HEADERS_BYTES)

#: The options of a task that differ from its queue's.
OPTIONS = {
    "max_retries": nullable(integer(0, MOST_RETRIES)),
    "max_lost": nullable(integer(0, MOST_RETRIES)),
    "lease_s": nullable(number()),
    "retry_delay_s": nullable(number(0.0, LONGEST_DELAY_S)),
    "retry_max_delay_s": nullable(number(0.0, LONGEST_DELAY_S)),
    "retry_jitter": nullable(number(0.0, 1.0)),
    "on_dependency_failure": one_of("dead_letter", "run"),
}

#: What a submitted task and C{common} may both say.
_SHARED = {
    "type": name_text,
    "queue": name_text,
    "priority": PRIORITY,
    "run_at": nullable(moment),
    "run_in_s": nullable(number()),
    "expires_at": nullable(moment),
    "expires_in_s": nullable(number()),
    "headers": HEADERS,
    "depends_on": list_of(task_id, MOST_DEPENDENCIES),
    "unique_until": one_of(*UNTIL_BY_WORD),
    "unique_for_s": nullable(number()),
    **OPTIONS,
}

COMMON = Form(_SHARED)
TASK = Form(
    {
        **_SHARED,
        "id": nullable(task_id),
        "payload": payload,
        "unique": nullable(text(LONGEST_KEY, least=1)),
    },
    required=("type",),
)
SUBMIT = Form({"tasks": raw_list, "common": raw_object, "watch": boolean}, required=("tasks",))


@lru_cache(maxsize=1024)
def shared_options(*values: Any) -> TaskOptions:
    """Options with these values, which are one object as long as they are in use."""
    return TaskOptions(*values)


def options_of(values: Header) -> TaskOptions:
    """Equal options of many tasks are one object."""
    if values.keys().isdisjoint(OPTIONS):
        return DEFAULT_OPTIONS
    defaults = DEFAULT_OPTIONS
    return shared_options(*(values.get(n, getattr(defaults, n)) for n in TaskOptions._fields))


class _SubmissionReader:
    """Makes submissions of raw items, as one request wants them."""

    def __init__(self, common: Header, max_payload_bytes: int, now: float) -> None:
        self._common = COMMON.parse(common, "common")
        self._form = TASK
        if "type" in self._common:
            self._form = Form(TASK.fields)
        self._max_payload_bytes = max_payload_bytes
        self._now = now

    def __call__(self, raw: Any) -> Submission:
        values = self._form.parse(raw, "the task")
        if self._common:
            values = {**self._common, **values}
        content = values.get("payload", b"")
        if len(content) > self._max_payload_bytes:
            raise PayloadTooLarge(
                f"the payload has {len(content)} bytes, at most {self._max_payload_bytes} "
                f"(max_payload_bytes) are accepted",
                limit=self._max_payload_bytes,
            )
        return submission_of(values, self._now)


def submission_of(values: Header, now: float) -> Submission:
    """
    The task that checked fields describe.

    @param now: the wall-clock moment from which distances are counted.
    @raises BadRequest: a moment is given in two ways.
    """
    return Submission(
        values["type"],
        values.get("payload", b""),
        values.get("queue", "default"),
        values.get("priority", DEFAULT_PRIORITY),
        values.get("id"),
        either(values, "run_at", "run_in_s", now),
        either(values, "expires_at", "expires_in_s", now),
        options_of(values),
        values.get("headers"),
        values.get("depends_on", ()),
        values.get("unique"),
        UNTIL_BY_WORD[values.get("unique_until", "success")],
        values.get("unique_for_s"),
    )


def submit(caller: Caller, values: Header) -> WhenStored | Deferred[Message]:
    """SUBMIT_TASK."""
    service = caller.service
    config = service.config
    read = _SubmissionReader(
        values.get("common", {}), config.limits.max_payload_bytes, service.moments().wall
    )
    batch = Batch(values["tasks"], config.broker.max_batch_submit, read, "tasks")
    return submit_items(
        caller,
        batch.items,
        values.get("watch", False),
        lambda found: view_accepted(batch.merge(found)),
    )


def submit_items(
    caller: Caller,
    items: Sequence[Submission],
    watch: bool,
    view: Callable[[list[Accepted | TaskQueueError]], Message],
) -> WhenStored | Deferred[Message]:
    """
    Submit for C{caller}, who, with C{watch}, is told how the tasks end.

    @param view: makes the answer of what became of each item.
    @raises BadRequest: it watches too many tasks.
    @raises RateLimited: it submits too many in too short a time.
    """
    if caller.service.fair_use.counts_tasks:
        caller.service.fair_use.tasks(caller.identity, caller.host, len(items))
    if watch:
        check_watched(caller, len(items))
    if caller.restricted is not None:
        return _submit_checked(caller, items, watch, view)
    service = caller.service
    if not watch:
        found = service.submit_new(items)
        if found is not None:
            return WhenStored(view(found))
    return _submit(caller, items, watch).addCallback(view)


def _submit(
    caller: Caller, items: Sequence[Submission], watch: bool
) -> Deferred[list[Accepted | TaskQueueError]]:
    answers = caller.service.submit(items, caller if watch else None)
    return answers.addBoth(_forget_if_gone, caller) if watch else answers


def _submit_checked(
    caller: Caller,
    items: Sequence[Submission],
    watch: bool,
    view: Callable[[list[Accepted | TaskQueueError]], Message],
) -> WhenStored | Deferred[Message]:
    """The same of a caller who may not submit, or read, everywhere."""
    if watch:
        check_watching(caller, items)
    if not watch and are_plain(caller, items):
        accepted = caller.service.submit_new(items)
        if accepted is not None:
            return WhenStored(view(accepted))
    found = checked(caller, items)
    if isinstance(found, Checked):
        if not watch:
            answers = caller.service.submit_new(found.items)
            if answers is not None:
                return WhenStored(view(found.told(answers)))
        found = succeed(found)

    def submit_them(some: Checked) -> Deferred[list[Accepted | TaskQueueError]]:
        return _submit(caller, some.items, watch).addCallback(some.told)

    return found.addCallback(submit_them).addCallback(view)


def check_watched(caller: Caller, more: int) -> None:
    """
    @raises BadRequest: the caller watches too many tasks.
    @raises TooManyRequests: all connections together do.
    """
    watches = caller.service.watches
    watched, bound = watches.count(caller), caller.service.config.limits.max_watches
    if watched + more > MOST_WATCHED:
        raise BadRequest(
            f"this connection watches {watched} tasks; at most {MOST_WATCHED} can be watched "
            f"at a time"
        )
    if watches.total + more > bound:
        raise TooManyRequests(
            f"all connections together watch {watches.total} tasks; at most {bound} "
            f"(limits.max_watches) can be watched at a time: ask for their states instead",
            retry_after_s=1.0,
        )


def _forget_if_gone(result: _T, caller: Caller) -> _T:
    drop_if_gone(caller)
    return result


def view_accepted(answers: list[Accepted | TaskQueueError]) -> Header:
    """What became of the submitted tasks."""
    view: Header = {"tasks": [a.id if isinstance(a, Accepted) else None for a in answers]}
    accepted = [(i, a) for i, a in enumerate(answers) if isinstance(a, Accepted)]
    states = {str(i): STATE_WORDS[a.state] for i, a in accepted if a.state is not State.PENDING}
    if states:
        view["states"] = states
    existing = [i for i, a in accepted if a.existing]
    if existing:
        view["existing"] = existing
    if len(accepted) < len(answers):
        view |= view_errors(answers)
    return view
