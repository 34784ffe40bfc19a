"""
What workers say: FETCH, ACK, FAIL and BEAT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskqueue.access.permissions import Action
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.leases import Holder, Lease
from taskqueue.core.task import State, Task
from taskqueue.errors import BadRequest, LeaseLost, TaskQueueError
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.arguments import Command, json_object, queue_name, words
from taskqueue.frontends.faktory.failing import error_of, pause_s, read_reason
from taskqueue.frontends.faktory.jobs import RESERVED_S, given_of, retry_of, task_id_of
from taskqueue.frontends.faktory.processes import may_finish, state_of
from taskqueue.frontends.faktory.showing import shown
from taskqueue.operations.authorization import admit, require_each
from taskqueue.operations.fields import LARGEST_INTEGER
from taskqueue.operations.needs import NEEDS
from taskqueue.operations.work import MOST_QUEUES, report_outcomes
from taskqueue.wire import MessageType

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.session import FaktorySession

#: How long FETCH waits for a job, seconds.
WAIT_S = 2.0

#: The largest C{rss_kb}: more bytes than a store's integer can say make no sense.
_MOST_KB = LARGEST_INTEGER // 1024


# --- fetching ----------------------------------------------------------------------------


async def fetch(session: FaktorySession, command: Command) -> bytes:
    """FETCH: a job out of the first of these queues that has one; nothing after two seconds."""
    queues = list(dict.fromkeys(queue_name(word) for word in words(command)))
    if not queues:
        raise BadRequest("must call fetch with at least one queue")
    if len(queues) > MOST_QUEUES:
        raise BadRequest(f"FETCH names {len(queues)} queues, at most {MOST_QUEUES} are allowed")
    admit(session, NEEDS[MessageType.CLAIM_TASK], {})
    require_each(session, Action.CLAIM, queues)
    holder: Holder = session.claimer
    if session.process is not None:
        worker = await session.process.fetches_from(session, queues)
        if worker.order is not None:
            await session.pause(WAIT_S)
            return resp.NOTHING
        holder = worker
    wait_s = min(WAIT_S, session.service.config.broker.claim_wait_max_s)
    delivery = await session.claim(holder, queues, wait_s)
    if delivery is None:
        return resp.NOTHING
    return await _handed_over(session, delivery)


async def _handed_over(session: FaktorySession, delivery: Delivery) -> bytes:
    service = session.service
    task = service.broker.ledger.tasks.get(delivery.id)
    given = given_of(delivery.id, delivery.type, delivery.payload)
    if given is None:
        await _reserve(session, delivery)
    answer = resp.bulk(await shown(service, delivery, task, given))
    if not session.open:  # nobody hears it: so somebody else gets it at once
        await service.release([(delivery.id, delivery.lease, 0.0)])
    return answer


async def _reserve(session: FaktorySession, delivery: Delivery) -> None:
    """
    A task that was submitted in another way expects its worker to renew its lease, which Faktory's
    workers do not: it is theirs for as long as a job is.
    """
    broker = session.service.config.broker
    lease_s = max(broker.lease_min_s, min(float(RESERVED_S), broker.lease_max_s))
    if delivery.lease_s < lease_s:
        await session.service.extend([(delivery.id, delivery.lease, lease_s)])


# --- results -----------------------------------------------------------------------------


async def ack(session: FaktorySession, command: Command) -> bytes:
    """
    ACK: a job is done.

    One that the worker does not hold (any more) stays as it is, and the answer is as if all were
    well: so does Faktory's server, and its clients would say FAIL otherwise.
    """
    lease = lease_of(session, _jid(json_object(command), command))
    if lease is not None:
        try:
            await _report(session, Outcome(lease.task.id, lease.token, State.COMPLETED))
        except LeaseLost:
            lease = None
    if lease is None:
        session.service.traffic.nacks[LeaseLost.code] += 1
    return resp.OK


async def fail(session: FaktorySession, command: Command) -> bytes:
    """FAIL: a job has failed, and is tried again later, or not."""
    said = json_object(command)
    jid, reason = _jid(said, command), read_reason(said)
    lease = lease_of(session, jid)
    if lease is None:
        raise _not_found(jid)
    task = lease.task
    payload = task.payload
    if payload is None:
        payload = await session.service.payload(task.id)
    given = given_of(task.id, task.type, payload)
    outcome = Outcome(task.id, lease.token, State.FAILED, error=error_of(reason))
    if given is not None:
        outcome = outcome._replace(**_fate(session, task, retry_of(given)))
    try:
        state = await _report(session, outcome)
    except LeaseLost:
        raise _not_found(jid) from None
    if given is not None and retry_of(given) == 0 and state is State.DEAD_LETTER:
        await session.service.delete([task.id])
    return resp.OK


def _fate(session: FaktorySession, task: Task, retry: int) -> dict[str, Any]:
    """Whether a job that has failed is tried again, and when: a reservation that ran out counts."""
    count = task.failures + task.losses
    if count >= retry:
        return {"permanent": True}
    return {"retry_in_s": pause_s(count, session.service.broker.ledger.random)}


def lease_of(session: FaktorySession, jid: str) -> Lease | None:
    """The lease under which a session's worker holds a job, if it does."""
    task = session.service.broker.ledger.tasks.get(task_id_of(jid))
    if task is None or task.lease is None or not may_finish(session, task.lease):
        return None
    return task.lease


async def _report(session: FaktorySession, outcome: Outcome) -> State:
    admit(session, NEEDS[MessageType.TASK_RESULT], {})
    answer = report_outcomes(session, [outcome], lambda found: {"found": list(found)})
    found: list[State | TaskQueueError] = await session.settled(answer)
    [state] = found
    if isinstance(state, TaskQueueError):
        raise state
    return state


def _jid(said: dict[str, Any], command: Command) -> str:
    jid = said.get("jid")
    if type(jid) is not str or not jid:
        raise BadRequest(f"invalid {command.verb}: missing JID, which is a text", field="jid")
    return jid


def _not_found(jid: str) -> BadRequest:
    return BadRequest(
        f"Job not found {jid[:100]}: this worker does not hold it, or not any more", field="jid"
    )


# --- living ------------------------------------------------------------------------------


async def beat(session: FaktorySession, command: Command) -> bytes:
    """BEAT: a worker process lives, and hears what it is to do."""
    said = json_object(command)
    state, rss_kb = state_of(said.get("current_state")), said.get("rss_kb")
    if rss_kb is not None and (type(rss_kb) is not int or not 0 <= rss_kb <= _MOST_KB):
        raise BadRequest("invalid BEAT: rss_kb must be a number of kilobytes", field="rss_kb")
    process = session.processes.find(said.get("wid"))
    if process is None:
        raise BadRequest(f"unknown worker {str(said.get('wid'))[:100]}", field="wid")
    admit(session, NEEDS[MessageType.HEARTBEAT], {})
    rss_bytes = None if rss_kb is None else rss_kb * 1024
    order = await process.beat(session, rss_bytes, state)
    return resp.OK if order is None else resp.bulk_json({"state": order})
