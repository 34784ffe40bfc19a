"""
What producers say: PUSH and PUSHB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from taskqueue.access.permissions import Action
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import FIRST_ENDED
from taskqueue.errors import BadRequest, PayloadTooLarge, TaskQueueError
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.arguments import Command, json_list, json_object
from taskqueue.frontends.faktory.jobs import read_job, submission_of
from taskqueue.operations.authorization import admit, may
from taskqueue.operations.needs import NEEDS
from taskqueue.operations.tasks import submit_items
from taskqueue.wire import MessageType

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.session import FaktorySession

_NEED = NEEDS[MessageType.SUBMIT_TASK]


async def push(session: FaktorySession, command: Command) -> bytes:
    """PUSH: one job; answered when it is stored."""
    admit(session, _NEED, {})
    job = read_job(json_object(command))
    submission = submission_of(job, session.service.moments().wall, command.rest)
    check_size(session, submission)
    [refused] = await push_all(session, [submission])
    if refused is not None:
        raise refused
    return resp.OK


async def push_bulk(session: FaktorySession, command: Command) -> bytes:
    """PUSHB: many; the answer says of each that was refused why, by its jid."""
    admit(session, _NEED, {})
    given = json_list(command)
    if not all(type(one) is dict for one in given):
        raise BadRequest("invalid JSON: PUSHB takes a list of jobs, which are objects")
    errors: dict[str, str] = {}
    most = session.service.config.broker.max_batch_submit
    for first in range(0, len(given), most):
        if first:
            await session.pause(0.0)  # others get their turn
        errors |= await _push_some(session, given[first : first + most])
    return resp.bulk_json(errors)


async def _push_some(session: FaktorySession, given: Sequence[dict[str, Any]]) -> dict[str, str]:
    """
    Push as many jobs as one batch may have.

    @return: why jobs were refused, by jid.
    """
    now = session.service.moments().wall
    submissions: list[Submission] = []
    jids: list[str] = []
    errors: dict[str, str] = {}
    for one in given:
        jid = one.get("jid")
        shown = jid if type(jid) is str else ""
        try:
            submission = submission_of(read_job(one), now)
            check_size(session, submission)
        except TaskQueueError as error:
            errors[shown] = error.message
        else:
            submissions.append(submission)
            jids.append(shown)
    found = await push_all(session, submissions) if submissions else []
    named = zip(jids, found, strict=True)
    return errors | {jid: error.message for jid, error in named if error is not None}


def check_size(session: FaktorySession, submission: Submission) -> None:
    """
    @raises PayloadTooLarge: a task may not have so large a payload.
    """
    size, most = len(submission.payload), session.service.config.limits.max_payload_bytes
    if size > most:
        raise PayloadTooLarge(
            f"the job has {size} bytes as JSON, at most {most} (max_payload_bytes) are accepted",
            limit=most,
        )


async def push_all(
    session: FaktorySession, items: Sequence[Submission]
) -> list[TaskQueueError | None]:
    """
    Submit jobs.  One whose jid is that of a job which waits or runs is that job; one whose jid is
    that of a job which has ended takes its place, and runs.

    @return: why each was refused, C{None} for those that were not; when all are stored.
    """
    session.knows.removed.difference_update(item.queue for item in items)
    answers = await _submit(session, items)
    over = [place for place, answer in enumerate(answers) if _has_ended(answer)]
    if over and await _clear(session, [str(items[place].id) for place in over]):
        again = await _submit(session, [items[place] for place in over])
        for place, answer in zip(over, again, strict=True):
            answers[place] = answer
    return [answer if isinstance(answer, TaskQueueError) else None for answer in answers]


async def _submit(
    session: FaktorySession, items: Sequence[Submission]
) -> list[Accepted | TaskQueueError]:
    answer = submit_items(session, items, False, lambda found: {"found": list(found)})
    found: list[Accepted | TaskQueueError] = await session.settled(answer)
    return found


def _has_ended(answer: Accepted | TaskQueueError) -> bool:
    return isinstance(answer, Accepted) and answer.existing and answer.state >= FIRST_ENDED


async def _clear(session: FaktorySession, ids: Sequence[str]) -> bool:
    """
    Forget jobs that have ended, to make room for others of the same jids: Faktory knows nothing
    of jobs that are over, and its clients rely on it.

    @return: whether there is room for any of them.
    """
    rows = await session.service.status(ids)
    own = [row.id for row in rows if row is not None and may(session, Action.SUBMIT, row.queue)]
    return any(error is None for error in await session.service.delete(own))
