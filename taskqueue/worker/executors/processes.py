"""
A pool of child processes: a task that crashes, or is killed, costs one of them
and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.errors import BadRequest
from taskqueue.worker.executors import Ended, Listener
from taskqueue.worker.executors.child_process import AHEAD_S, ChildProcess
from taskqueue.worker.executors.silence import Silence
from taskqueue.worker.pipes import Kind, Message
from taskqueue.worker.stopping import TIMEOUT, Reason

#: How long a cancelled task, or one whose lease is lost, may go on before an
#: exception is raised in it, seconds.
COOPERATE_S = 2.0

#: How long a task may clean up after that exception before it is killed, seconds.
KILL_GRACE_S = 5.0

#: How long a child without a task may take to end, seconds.
FAREWELL_S = 5.0

#: The pauses before another child is tried, where one ended at its start, seconds.
PAUSES_S = (0.1, 1.0, 5.0, 15.0)

#: Between two looks whether one keeps others waiting, seconds.
LOOK_S = 5 * AHEAD_S

_MB = 1024 * 1024

#: What comes of a task that no child is there for: somebody else should have it.
_NO_CHILD = Verdict("released")


class Processes:
    """
    An L{Executor<taskqueue.worker.executors.Executor>} that runs each task in a
    child process; there are as many as tasks at a time.

    Where tasks take little time, each child is sent some ahead, about as many as are
    over in L{AHEAD_S} seconds.  Those behind one that takes longer are recalled, for
    other children to begin.

    A child that has run enough tasks, or takes too much memory, is replaced: its
    successor is ready before it goes, so that no slot is missing meanwhile.
    """

    _log = Logger()

    def __init__(
        self,
        tasks: str,
        concurrency: int,
        reactor: Any,
        *,
        recycle_after: int | None = None,
        recycle_mb: float | None = None,
        cooperate_s: float = COOPERATE_S,
        kill_grace_s: float = KILL_GRACE_S,
        folder: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param tasks: C{MODULE:NAME}, which each child imports.
        @param concurrency: how many children.
        @param recycle_after: a child is replaced after so many tasks.
        @param recycle_mb: a child is replaced when it takes more, in MB of 2**20 bytes.
        @param folder: where they run.
        @param env: their environment.
        """
        self.listener: Listener = Silence()
        self._tasks = tasks
        self._concurrency = concurrency
        self._reactor = reactor
        self._recycle_after = recycle_after
        self._recycle_bytes = None if recycle_mb is None else recycle_mb * _MB
        self._cooperate_s = cooperate_s
        self._kill_grace_s = kill_grace_s
        self._folder = folder
        self._env = env
        self._children: list[ChildProcess] = []
        self._successors: dict[ChildProcess, ChildProcess] = {}
        self._failed_starts = 0
        self._retry: Any = None
        self._timers: dict[int, Any] = {}
        self._look: Any = None
        self._stopping = False

    @property
    def capacity(self) -> int:
        """How many tasks it can run at a time, just now."""
        fit = sum(1 for child in self._children if child.idle or child.token is not None)
        return min(fit, self._concurrency)

    @property
    def ahead(self) -> int:
        """See L{Executor}."""
        return sum(child.wanted for child in self._children)

    def pids(self) -> list[int]:
        """The processes that it has."""
        return [child.pid for child in self._children if child.pid is not None]

    # --- children -------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """See L{Executor}."""
        started: Deferred[None] = Deferred()
        all_ready = DeferredList(
            [self._spawn().ready for _ in range(self._concurrency)],
            fireOnOneErrback=True,
            consumeErrors=True,
        )
        all_ready.addCallbacks(
            lambda _: started.callback(None),
            lambda first: started.errback(first.value.subFailure),
        )
        return started

    def _spawn(self) -> ChildProcess:
        child = ChildProcess(
            *(self._reactor, self._told, self._tasks),
            watch_memory=self._recycle_bytes is not None,
            began=self.listener.began,
            answered=self._answered,
            most=self._recycle_after,
        )
        self._children.append(child)
        child.gone.addCallback(lambda _: self._buried(child))
        child.start(self._folder, self._env)
        return child

    def _told(self, message: Message) -> None:
        if message.kind is Kind.PROGRESS:
            self.listener.progress(message.token, message.header)
        elif message.kind is Kind.LOG:
            self.listener.logged(message.token, *message.header)

    def _buried(self, child: ChildProcess) -> None:
        if child in self._children:
            self._children.remove(child)
        self._successors.pop(child, None)
        self._forget_timers()
        if self._stopping:
            return
        if not child.leaving:
            self._log.error("child {pid} {how}", pid=child.pid, how=child.how_it_ended())
        self.listener.capacity_changed()
        self._fill_up()

    def _fill_up(self) -> None:
        """Have as many children as there should be."""
        heirs = set(self._successors.values())
        staying = [c for c in self._children if not c.leaving and c not in heirs]
        if len(staying) < self._concurrency and not self._stopping and self._retry is None:
            self._spawn().ready.addCallbacks(self._another_ready, self._another_failed)

    def _another_ready(self, _: None) -> None:
        self._failed_starts = 0
        self.listener.capacity_changed()
        self._fill_up()

    def _another_failed(self, failure: Failure) -> None:
        failure.trap(BadRequest)
        if self._stopping:
            return
        pause_s = PAUSES_S[min(self._failed_starts, len(PAUSES_S) - 1)]
        self._failed_starts += 1
        self._log.error(
            "a child could not be started: {error}; again in {pause} s",
            error=failure.value,
            pause=pause_s,
        )
        self._retry = self._reactor.callLater(pause_s, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._fill_up()

    # --- recycling ------------------------------------------------------------------------

    def _is_worn(self, child: ChildProcess) -> bool:
        if self._recycle_after is not None and child.done >= self._recycle_after:
            return True
        return self._recycle_bytes is not None and child.rss_bytes > self._recycle_bytes

    def _replace(self, old: ChildProcess) -> None:
        if self._stopping or old in self._successors or old.leaving:
            return
        successor = self._successors[old] = self._spawn()
        successor.ready.addCallbacks(
            lambda _: self._succeed(old), lambda failure: self._not_replaced(old, failure)
        )

    def _succeed(self, old: ChildProcess) -> None:
        self._successors.pop(old, None)
        self._log.debug("child {pid} has served: {n} tasks", pid=old.pid, n=old.done)
        old.leave()
        self.listener.capacity_changed()

    def _not_replaced(self, old: ChildProcess, failure: Failure) -> None:
        failure.trap(BadRequest)
        self._successors.pop(old, None)
        self._log.error("a child could not be replaced: {error}", error=failure.value)

    # --- tasks ----------------------------------------------------------------------------

    def run(self, deliveries: Sequence[Delivery], ended: Ended) -> None:
        """See L{Executor}."""
        shares, left = self._shares(deliveries)
        for child, share in shares:
            child.run(share, ended)
        for delivery in left:
            ended(delivery.lease, _NO_CHILD)
        if self._look is None and any(child.ahead for child in self._children):
            self._look = self._reactor.callLater(LOOK_S, self._look_at_all)

    def _shares(
        self, deliveries: Sequence[Delivery]
    ) -> tuple[list[tuple[ChildProcess, list[Delivery]]], Sequence[Delivery]]:
        """
        Which child is sent which: each goes to the one that has the fewest.

        @return: the shares, and what no child can take.
        """
        able = [child for child in self._children if child.serves]
        # One that has no room, where that is all there is, is better than none.
        places = [(child.load, n, child.room) for n, child in enumerate(able) if child.room]
        places = places or [(child.load, n, 1) for n, child in enumerate(able)]
        if not places:
            return [], deliveries
        heapify(places)
        shares: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            load, n, room = places[0]
            shares.setdefault(n, []).append(delivery)
            if room > 1 or len(places) == 1:
                heapreplace(places, (load + 1, n, room - 1))
            else:
                heappop(places)
        return [(able[n], share) for n, share in shares.items()], ()

    def _look_at_all(self) -> None:
        self._look = None
        for child in self._children:
            child.look()
        if any(child.ahead for child in self._children):
            self._look = self._reactor.callLater(LOOK_S, self._look_at_all)

    def _answered(self, child: ChildProcess) -> None:
        self._forget_timers()
        if self._is_worn(child):
            self._replace(child)
        if child.wanted or child.idle:
            self.listener.capacity_changed()

    def recall(self) -> None:
        """See L{Executor}."""
        for child in self._children:
            child.recall()

    def _forget_timers(self) -> None:
        """Those of tasks that have ended."""
        for token in [token for token in self._timers if self._child_of(token) is None]:
            timer = self._timers.pop(token)
            if timer.active():
                timer.cancel()

    def _child_of(self, token: int) -> ChildProcess | None:
        return next((child for child in self._children if child.token == token), None)

    def stop_task(self, token: int, reason: Reason) -> None:
        """See L{Executor}."""
        child = self._child_of(token)
        if child is None:
            return
        if reason == TIMEOUT:
            self._strike(child, token, reason)
            return
        child.tell(token, reason, strike=False)
        self._later(token, self._cooperate_s, self._strike, child, token, reason)

    def _strike(self, child: ChildProcess, token: int, reason: Reason) -> None:
        child.tell(token, reason, strike=True)
        self._later(token, self._kill_grace_s, self._kill, child, token)

    def _kill(self, child: ChildProcess, token: int) -> None:
        if child.token == token:
            self._log.warn("child {pid} does not stop and is killed", pid=child.pid)
            child.kill()

    def _later(self, token: int, delay_s: float, call: Any, *args: Any) -> None:
        timer = self._timers.get(token)
        if timer is not None and timer.active():
            timer.cancel()
        self._timers[token] = self._reactor.callLater(delay_s, call, *args)

    # --- the end --------------------------------------------------------------------------

    def shut_down(self, within_s: float) -> Deferred[None]:
        """See L{Executor}."""
        self._stopping = True
        for timer in (self._retry, self._look, *self._timers.values()):
            if timer is not None and timer.active():
                timer.cancel()
        left = list(self._children)
        for child in left:
            child.ready.addErrback(lambda _: None)
            child.leave()
        busy = [child for child in left if child.token is not None]
        killing = [
            self._reactor.callLater(within_s, self._kill_all, busy),
            self._reactor.callLater(max(within_s, FAREWELL_S), self._kill_all, left),
        ]
        gone: Deferred[None] = Deferred()

        def all_gone(_: object) -> None:
            for timer in killing:
                if timer.active():
                    timer.cancel()
            gone.callback(None)

        DeferredList([child.gone for child in left]).addCallback(all_gone)
        return gone

    def _kill_all(self, children: list[ChildProcess]) -> None:
        for child in children:
            child.kill()
