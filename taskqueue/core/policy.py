"""
The numbers that the rules go by, resolved from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType

from taskqueue.core.task import UNLESS_SET


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """
    How tasks of one queue are treated unless they say otherwise.

    @ivar max_depth: bound on the queue's waiting tasks, C{None} for no own bound.
    @ivar lease_s: length of a lease, seconds.
    @ivar max_retries: failed deliveries after which one more try is made.
    @ivar max_lost: lost deliveries (expired lease, dead worker) survived.
    @ivar retry_delay_s: pause before the first retry; it doubles each time.
    @ivar retry_max_delay_s: bound on that pause.
    @ivar retry_jitter: share of the pause that is random, 0 to 1, both ways.
    @ivar paused: the queue starts paused, until somebody resumes it.
    @ivar own: which of these the queue's own section of the configuration sets.
    """

    max_depth: int | None = None
    lease_s: float = 30.0
    max_retries: int = 3
    max_lost: int = 5
    retry_delay_s: float = 5.0
    retry_max_delay_s: float = 3600.0
    retry_jitter: float = 0.1
    paused: bool = False
    own: frozenset[str] = frozenset()

    def bound(self, name: str, wanted: int | None) -> float:
        """
        How many failures or losses of a task are survived.

        @param name: C{"max_retries"} or C{"max_lost"}.
        @param wanted: as the task's options say.
        """
        if wanted is not None and wanted != UNLESS_SET:
            return wanted
        if wanted == UNLESS_SET and name not in self.own:
            return inf
        customary: int = getattr(self, name)
        return customary


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Bounds and customs of the whole broker; durations in seconds.

    @ivar default: the policy of queues that are not named in C{queues}.
    @ivar depth_threshold: bound on waiting tasks of all queues together.
    @ivar max_held_bytes: bound on payload bytes of live tasks in memory together.
    @ivar memory_bytes: bound on what live tasks take in memory together, by an
        estimate; C{None} for none.
    @ivar paging: whether payloads may leave memory, as there is a store on disk
        that has them.
    @ivar lease_min_s: the shortest lease that may be asked for.
    @ivar lease_max_s: the longest one.
    @ivar stale_after_s: a worker silent for so long is evicted.
    @ivar reconnect_grace_s: how long the leases of a registered worker whose
        connection dropped wait for its return.
    @ivar max_workers: bound on registered workers.
    @ivar max_queues: bound on queues.
    @ivar max_types: bound on the types of all queues, each counted once for each queue.
    @ivar max_values: bound on values.
    @ivar max_values_bytes: bound on their bytes, those of their keys counted too.
    @ivar recent_ended: how many ended tasks, or a few more, are remembered without a look
        into the store.
    """

    default: QueuePolicy = field(default_factory=QueuePolicy)
    queues: Mapping[str, QueuePolicy] = field(default_factory=lambda: MappingProxyType({}))
    depth_threshold: int = 100_000
    max_held_bytes: int = 512 * 2**20
    memory_bytes: int | None = None
    paging: bool = True
    lease_min_s: float = 1.0
    lease_max_s: float = 86_400.0
    stale_after_s: float = 30.0
    reconnect_grace_s: float = 10.0
    max_workers: int = 10_000
    max_queues: int = 10_000
    max_types: int = 50_000
    max_values: int = 1_000_000
    max_values_bytes: int = 256 * 2**20
    recent_ended: int = 10_000

    def for_queue(self, name: str) -> QueuePolicy:
        """The policy of the queue C{name}."""
        return self.queues.get(name, self.default)
