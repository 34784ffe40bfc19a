"""
What a worker may be told, in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskqueue.errors import BadRequest

#: The most tasks that one worker runs at a time, and that it claims ahead of them.
MOST_TASKS = 10_000

#: The longest that stopping may wait for what runs, seconds: a week.
LONGEST_STOP_S = 604_800.0

#: The most memory after which a child process may be replaced, MB of 2**20 bytes.
MOST_MB = 2.0**30


def check_bounds(
    queues: Sequence[str], concurrency: int, prefetch: int | None, stop_timeout_s: float
) -> None:
    """
    Check what every worker is told.

    @raises BadRequest: one of these is out of its bounds.
    """
    if not queues:
        raise BadRequest("a worker needs at least one queue: name those that it is to work for")
    _check_count("concurrency", concurrency, 1)
    if prefetch is not None:
        _check_count("prefetch", prefetch, 0)
    # Written so that "not a number" is refused, which is neither less nor more than anything.
    if not 0 <= stop_timeout_s <= LONGEST_STOP_S:
        raise BadRequest(
            f"stop_timeout_s is {stop_timeout_s}, expected seconds from 0 to {LONGEST_STOP_S:.0f}"
        )


def check_recycling(recycle_after: int | None, recycle_mb: float | None) -> None:
    """
    Check when child processes are replaced.

    @raises BadRequest: never, or before they begin.
    """
    if recycle_after is not None:
        _check_count("recycle_after", recycle_after, 1, None)
    if recycle_mb is not None and not 0 < recycle_mb <= MOST_MB:
        raise BadRequest(
            f"recycle_mb is {recycle_mb}, expected a number over 0, up to {MOST_MB:.0f}"
        )


def _check_count(name: str, count: object, least: int, most: int | None = MOST_TASKS) -> None:
    if isinstance(count, int) and least <= count and (most is None or count <= most):
        return
    bounds = f"from {least} on" if most is None else f"from {least} to {most}"
    raise BadRequest(f"{name} is {count}, expected a whole number {bounds}")
