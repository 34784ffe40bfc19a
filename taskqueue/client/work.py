"""
Calls of those who do the work: claims, results, leases, heartbeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from taskqueue.client.answers import PASSING, error_from, only, per_item, state_from
from taskqueue.client.calls import Calls, given
from taskqueue.client.codecs import JSON, Codec
from taskqueue.client.messages import Delivery, Orders, Report
from taskqueue.client.requests import Request
from taskqueue.client.session import Session
from taskqueue.client.typed import encode_reports
from taskqueue.core.task import State
from taskqueue.errors import TaskQueueError
from taskqueue.wire import Header, MessageType

#: How long a claim waits unless it says otherwise, seconds.
CLAIM_WAIT_S = 30.0

#: The pause before giving back again, where the broker names none, seconds.
_PAUSE_S = 1.0


class WorkCalls(Calls):
    """
    Calls of those who do the work.

    A C{holding} is a task's id and the token it was delivered with; see
    L{Delivery.holding}.
    """

    def __init__(self, session: Session, codec: Codec = JSON, face: Any = None) -> None:
        super().__init__(session, codec, face)
        self._registration: Header | None = None
        self._on_registered: Callable[[Header | Exception], None] = lambda answer: None
        session.opening.insert(0, self._register_again)

    # --- claiming -----------------------------------------------------------------------

    async def claim(
        self,
        queues: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        limit: int = 1,
        wait_s: float = CLAIM_WAIT_S,
        lease_s: float | None = None,
    ) -> list[Delivery]:
        """
        Claim tasks.

        @param queues: in order of preference; C{None}: those that the worker
            was registered with, or C{"default"}.
        @param types: C{None}: those that the worker was registered with, or all.
        @param limit: at most how many.
        @param wait_s: how long to wait for the first; 0 answers at once.
        @return: the deliveries; none when the wait is over.  Where this is
            cancelled, tasks that come all the same are given back.
        """
        header = {"limit": limit, "wait_s": wait_s} | given(lease_s=lease_s)
        header |= given(queues=_listed(queues), types=_listed(types))
        answer = await self._ask(
            MessageType.CLAIM_TASK,
            header,
            repeatable=True,
            wait_s=wait_s,
            late=self._give_back,
        )
        return Delivery.all_of(answer)

    def _give_back(self, answer: Header) -> None:
        self._return(_leases(delivery.holding for delivery in Delivery.all_of(answer)))

    def _return(self, leases: list[Header]) -> None:
        """Let others have these, until the broker takes them, or the connection ends."""

        def answered(answer: Header | Exception) -> None:
            again, pause_s = [], None
            if isinstance(answer, PASSING):
                again, pause_s = leases, answer.retry_after_s
            elif not isinstance(answer, Exception):
                errors = answer.get("errors") or ()
                again = [leases[e["item"]] for e in errors if isinstance(error_from(e), PASSING)]
            if again:
                self._session.framework.call_later(pause_s or _PAUSE_S, self._return, again)

        if leases and self._session.greeted:
            self._session.send_now(MessageType.RELEASE_TASK, {"leases": leases}, answered)

    # --- results ------------------------------------------------------------------------

    async def complete(self, holding: tuple[str, int], result: bytes = b"") -> State:
        """
        Say that a delivery is done.

        @raises LeaseLost: somebody else has the task now, or it has ended.
        """
        report = Report(holding[0], holding[1], State.COMPLETED, result)
        return only(await self.report([report]))

    async def fail(
        self,
        holding: tuple[str, int],
        error: str,
        permanent: bool = False,
        retry_in_s: float | None = None,
    ) -> State:
        """
        Say that a delivery failed.

        @param permanent: no retry can mend it.
        @param retry_in_s: the pause before the next try, instead of the policy's.
        @return: L{State.FAILED} where it will be tried again.
        @raises LeaseLost: as L{complete}.
        """
        report = Report(
            *(holding[0], holding[1], State.FAILED),
            error=error,
            permanent=permanent,
            retry_in_s=retry_in_s,
        )
        return only(await self.report([report]))

    async def report(self, reports: Sequence[Report]) -> list[State | TaskQueueError]:
        """
        Say how deliveries ended; saying it twice counts once.

        @return: for each the task's state, or L{LeaseLost} or another error.
        """
        frame = partial(encode_reports, reports)
        answer = await self._ask(MessageType.TASK_RESULT, frame, repeatable=True)
        return per_item(answer, "states", state_from)

    async def extend(
        self, holdings: Iterable[tuple[str, int]], lease_s: float | None = None
    ) -> list[float | TaskQueueError]:
        """
        Let leases run anew, for C{lease_s} seconds or as long as they were given.

        @return: for each the seconds from now, or L{LeaseLost}.
        """
        header = {"leases": _leases(holdings, lease_s=lease_s)}
        answer = await self._ask(MessageType.EXTEND_LEASE, header, repeatable=True)
        return per_item(answer, "lease_s", float)

    async def release(
        self,
        holdings: Iterable[tuple[str, int]],
        delay_s: float | None = None,
        priority: int | None = None,
    ) -> list[State | TaskQueueError]:
        """
        Give deliveries back unfinished; no retry is spent.

        @param delay_s: a pause before anybody gets the task.
        @param priority: the one that the task has from now on, C{None} for the one it has.
        @return: for each the task's state, or L{LeaseLost}.
        """
        header = {"leases": _leases(holdings, delay_s=delay_s, priority=priority)}
        return per_item(await self._ask(MessageType.RELEASE_TASK, header), "states", state_from)

    async def bury(
        self, holdings: Iterable[tuple[str, int]], priority: int | None = None
    ) -> list[State | TaskQueueError]:
        """
        Set deliveries aside: their tasks are dead letters, without having failed, until somebody
        lets them run again.

        @param priority: as for L{release}.
        @return: for each the task's state, or L{LeaseLost}.
        """
        header = {"leases": _leases(holdings, priority=priority)}
        return per_item(await self._ask(MessageType.BURY_TASK, header), "states", state_from)

    async def progress(self, holding: tuple[str, int], progress: Any) -> bool:
        """
        Say how far a delivery has come.

        @param progress: anything that JSON has a form for, up to 4 KiB.
        @return: whether somebody has asked to cancel the task.
        @raises LeaseLost: as L{complete}.
        """
        report = {"task": holding[0], "lease": holding[1], "progress": progress}
        answer = await self._ask(MessageType.REPORT_PROGRESS, {"reports": [report]})
        return only(per_item(answer, "cancel", bool))

    # --- workers ------------------------------------------------------------------------

    async def register_worker(
        self,
        worker: str,
        incarnation: int,
        *,
        queues: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        capacity: int | None = None,
        host: str | None = None,
        pid: int | None = None,
        on_registered: Callable[[Header | Exception], None] | None = None,
    ) -> Header:
        """
        Register this connection's worker, here and again on every connection
        that follows, before anything else is said on it.

        @param incarnation: larger for every start of the worker.
        @param on_registered: told how each registration that follows came out.
        @return: C{"heartbeat_s"}, C{"stale_after_s"} and C{"leases"}, what the
            broker says the worker holds.
        @raises StaleIncarnation: a newer start of this worker has registered.
        """
        header: Header = {"worker": worker, "incarnation": incarnation}
        header |= given(capacity=capacity, host=host, pid=pid)
        header |= given(queues=_listed(queues), types=_listed(types))
        answer = await self._ask(MessageType.REGISTER_WORKER, header, repeatable=True)
        self._registration = header
        if on_registered is not None:
            self._on_registered = on_registered
        return answer

    def _register_again(self) -> Iterator[Request]:
        if self._registration is not None:
            yield self._session.make(
                MessageType.REGISTER_WORKER, self._registration, self._registered
            )

    def _registered(self, answer: Header | Exception) -> None:
        self._on_registered(answer)

    async def heartbeat(
        self,
        worker: str,
        incarnation: int,
        *,
        cpu_percent: float | None = None,
        rss_bytes: int | None = None,
        in_hand: int | None = None,
        leases: Sequence[int] | None = None,
    ) -> Orders:
        """
        Say that a worker is alive; this renews all leases it holds.

        @param cpu_percent: of one processor.
        @param in_hand: how many tasks it works on.
        @param leases: tokens to be told of where they are not held any more.
        """
        header: Header = {"worker": worker, "incarnation": incarnation}
        if self._registration is not None and self._registration["worker"] == worker:
            # A broker that has struck the worker out registers it anew from this.
            header = self._registration | header
        header |= given(cpu_percent=cpu_percent, rss_bytes=rss_bytes, in_hand=in_hand)
        header |= given(leases=_listed(leases))
        answer = await self._ask(MessageType.HEARTBEAT, header, repeatable=True)
        cancel = [(item["task"], item["lease"]) for item in answer.get("cancel") or ()]
        return Orders(
            answer.get("leases", 0), answer.get("lost") or [], cancel, answer.get("order")
        )

    async def deregister_worker(self, worker: str | None = None) -> int:
        """
        Strike a worker out, this connection's own unless another is named.

        @return: how many leases ended with it.
        @raises UnknownWorker: it is not registered.
        """
        if worker is None or (self._registration or {}).get("worker") == worker:
            self._registration = None
        answer = await self._ask(MessageType.DEREGISTER_WORKER, given(worker=worker))
        leases: int = answer["leases"]
        return leases


def _leases(holdings: Iterable[tuple[str, int]], **more: Any) -> list[Header]:
    extra = given(**more)
    return [{"task": task, "lease": lease, **extra} for task, lease in holdings]


def _listed(values: Iterable[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)
