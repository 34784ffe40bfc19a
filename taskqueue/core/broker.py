"""
The broker: the ledger and its desks, put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from taskqueue.core.control import Control
from taskqueue.core.desk import Desk
from taskqueue.core.intake import Intake
from taskqueue.core.kicks import Kicks
from taskqueue.core.ledger import Ledger
from taskqueue.core.paging import begin_paging
from taskqueue.core.periodic import NextTick, Periodics, next_multiple
from taskqueue.core.policy import Policy
from taskqueue.core.singles import Singles
from taskqueue.core.upkeep import Upkeep
from taskqueue.core.value_desk import ValueDesk


class Broker:
    """
    The whole core: pure state, told the time by its callers.

    After every command, the caller serves waiting claims (L{Desk.serve}),
    stores the changes (C{ledger.changes}) and passes on the notices.

    @ivar ledger: the state.
    @ivar intake: submitting.
    @ivar desk: claiming, results, leases.
    @ivar singles: submitting and completing one task at a time.
    @ivar control: cancel, revive, queues, workers.
    @ivar kicks: what lies aside or waits for its time runs now.
    @ivar periodics: what is submitted again and again.
    @ivar values: values under keys.
    @ivar upkeep: what time brings about.
    """

    def __init__(
        self,
        policy: Policy,
        random: Random,
        new_id: Callable[[], str],
        next_tick: NextTick = next_multiple,
        new_ids: Callable[[int], Sequence[str]] | None = None,
    ) -> None:
        """
        @param random: the source of jitter.
        @param new_id: gives an id that no task has had.
        @param new_ids: gives so many of them, at less cost than one by one.
        @param next_tick: when periodic tasks are due.
        """
        self.ledger = Ledger(policy, random, new_id, new_ids)
        self.intake = Intake(self.ledger)
        self.desk = Desk(self.ledger)
        self.singles = Singles(self.ledger, self.intake, self.desk)
        self.control = Control(self.ledger, self.desk)
        self.kicks = Kicks(self.ledger, self.control)
        self.periodics = Periodics(self.ledger, self.intake, next_tick)
        self.values = ValueDesk(self.ledger)
        self.upkeep = Upkeep(self.ledger, self.desk, self.control)

    def adopt(self, policy: Policy) -> None:
        """Go by other numbers from now on; leases already given keep theirs."""
        ledger = self.ledger
        bounded = ledger.policy.memory_bytes is not None
        ledger.policy = policy
        ledger.lanes_left = None
        if policy.memory_bytes is not None and not bounded:
            begin_paging(ledger)
        ledger.workers.max_workers = policy.max_workers
        for queue in ledger.queues.values():
            queue.policy = policy.for_queue(queue.name)
