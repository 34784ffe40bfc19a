"""
What is submitted, and what is wrong with it before any task is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

from taskqueue.core.moments import Now
from taskqueue.core.policy import Policy
from taskqueue.core.task import (
    DEFAULT_OPTIONS,
    DEFAULT_PRIORITY,
    State,
    TaskOptions,
    Until,
)
from taskqueue.errors import BadRequest, DependencyCycle, UnknownDependency
from taskqueue.ids import NUMBERED, number_of


class Submission(NamedTuple):
    """
    One task to be submitted.

    @ivar id: chosen by the client, so that it can safely submit again, or
        C{None} for one chosen here, or L{NUMBERED} for the one that carries its place in
        line: see L{taskqueue.ids}.
    @ivar run_at: wall-clock moment before which it must not run.
    @ivar expires_at: wall-clock moment at which it expires if nobody has
        claimed it.
    @ivar headers: opaque JSON text that travels with the task.
    @ivar depends_on: ids of tasks that must complete first.
    @ivar unique: a key: while a task holds it, that task is the answer to every
        submission with the same key.
    @ivar unique_until: how long the task holds it.
    @ivar unique_for_s: holds it no longer than so many seconds from submission;
        with C{Until.WINDOW} exactly so long.
    """

    type: str
    payload: bytes = b""
    queue: str = "default"
    priority: int = DEFAULT_PRIORITY
    id: str | None = None
    run_at: float | None = None
    expires_at: float | None = None
    options: TaskOptions = DEFAULT_OPTIONS
    headers: str | None = None
    depends_on: tuple[str, ...] = ()
    unique: str | None = None
    unique_until: Until = Until.SUCCESS
    unique_for_s: float | None = None


class Accepted(NamedTuple):
    """
    A task that the broker has.

    @ivar existing: it had it before this submission, under its id or as the
        holder of its unique key (the C{id} is then another one than was asked for).
    """

    id: str
    state: State
    existing: bool = False


def unknown_dependency(task_id: str) -> UnknownDependency:
    """The error for a dependency that no task is."""
    return UnknownDependency(
        f"depends on task {task_id}, which does not exist: submit it first, or earlier in the "
        f"same batch",
        dependency=task_id,
    )


def check_lease(lease_s: float, policy: Policy) -> None:
    """
    @raises BadRequest: C{lease_s} is outside the configured bounds.
    """
    if not policy.lease_min_s <= lease_s <= policy.lease_max_s:
        raise BadRequest(
            f"lease_s is {lease_s:g}, allowed are {policy.lease_min_s:g} to "
            f"{policy.lease_max_s:g} seconds",
            field="lease_s",
        )


def check_options(options: TaskOptions, policy: Policy) -> None:
    """
    @raises BadRequest: the broker's bounds allow no such task.
    """
    if options.lease_s is not None:
        check_lease(options.lease_s, policy)


def chosen_id(item: Submission) -> str | None:
    """The id that the client chose, C{None} where it chose none."""
    return None if item.id == NUMBERED else item.id


def check_submission(item: Submission, now: Now) -> None:
    """
    @raises BadRequest: what C{item} says makes no sense.
    """
    if item.id is not None and number_of(item.id) is not None:
        raise BadRequest(
            f"id is {item.id}, of the kind that the broker gives to the tasks that it numbers, and "
            f"no task has it: choose another UUID",
            field="id",
        )
    window = item.unique is not None and item.unique_until is Until.WINDOW
    if window and item.unique_for_s is None:
        raise BadRequest(
            'unique_until is "window", so unique_for_s must say how long the key is held',
            field="unique_for_s",
        )
    if item.expires_at is not None:
        if item.expires_at <= now.wall:
            raise BadRequest("expires_at is in the past", field="expires_at")
        if item.run_at is not None and item.expires_at <= item.run_at:
            raise BadRequest("expires_at is not after run_at", field="expires_at")


def cycle(item: Submission) -> DependencyCycle:
    """The error for an item whose dependencies can never come first."""
    return DependencyCycle(
        f"task {item.id or '(without an id)'} is part of a cycle of dependencies within the "
        f"batch, or depends on one",
        task=item.id,
    )
