"""
From the configuration to the numbers that the core goes by.
"""

from __future__ import annotations

from dataclasses import fields, replace

from taskqueue.config import Config, QueueConfig
from taskqueue.config.sections import MIB
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State

#: What the process takes of C{memory_limit} for itself: the interpreter, connections, what
#: the store has not brought to its place yet.
PROCESS_BYTES = 224 * MIB

#: What a queue's section may say; the two have the same names for it.
_QUEUE_KEYS = tuple(field.name for field in fields(QueuePolicy) if field.name != "own")


def policy_of(config: Config) -> Policy:
    """The policy that C{config} asks for."""
    broker, workers = config.broker, config.workers
    default = QueuePolicy(
        lease_s=broker.lease_s,
        max_retries=broker.max_retries,
        max_lost=broker.max_lost,
        retry_delay_s=broker.retry_delay_s,
        retry_max_delay_s=broker.retry_max_delay_s,
        retry_jitter=broker.retry_jitter,
    )
    return Policy(
        default=default,
        queues={name: _queue_policy(queue, default) for name, queue in config.queues.items()},
        depth_threshold=broker.queue_depth_threshold,
        max_held_bytes=broker.max_held_bytes,
        memory_bytes=broker.memory_limit - PROCESS_BYTES if broker.memory_limit else None,
        paging=config.store.kind != "memory",
        lease_min_s=broker.lease_min_s,
        lease_max_s=broker.lease_max_s,
        stale_after_s=workers.stale_after_s,
        reconnect_grace_s=workers.reconnect_grace_s,
        max_workers=workers.max_workers,
        max_queues=config.limits.max_queues,
        max_types=config.limits.max_types,
        max_values=config.limits.max_values,
        max_values_bytes=config.limits.max_values_bytes,
    )


def _queue_policy(queue: QueueConfig, default: QueuePolicy) -> QueuePolicy:
    said = {name: getattr(queue, name) for name in _QUEUE_KEYS}
    own = {name: value for name, value in said.items() if value is not None}
    return replace(default, **own, own=frozenset(own))


def most_ended_bytes(config: Config) -> int | None:
    """
    What completed, cancelled and expired tasks may take in memory, where the store keeps them
    there: of C{memory_limit} not more than half of what it leaves to tasks.
    """
    if config.store.kind != "memory":
        return None
    most, limit = config.store.max_ended_bytes, config.broker.memory_limit
    return min(most, (limit - PROCESS_BYTES) // 2) if limit else most


def sweep_before(config: Config, wall: float) -> dict[State, float]:
    """For each ended state that is not kept for ever: the moment before which its tasks go."""
    retention = config.retention
    kept_s = {
        State.COMPLETED: retention.completed_s,
        State.DEAD_LETTER: retention.dead_letter_s,
        State.CANCELLED: retention.cancelled_s,
        State.EXPIRED: retention.expired_s,
    }
    return {state: wall - kept for state, kept in kept_s.items() if kept is not None}
