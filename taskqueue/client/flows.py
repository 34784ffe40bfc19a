"""
Tasks that wait for each other: chains, and groups that begin or end together.

::

    pages = group({"type": "fetch", "payload": url} for url in urls)
    handles = client.submit_many(fan_in(pages, {"type": "report", "payload": pages.ids}))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from taskqueue.client.messages import Submission
from taskqueue.errors import BadRequest
from taskqueue.ids import new_task_id

#: On how many tasks one may depend, at the broker.
MOST_DEPENDENCIES = 1000


class Flow(Sequence[Submission]):
    """
    Tasks to be submitted together, each after those that it depends on.

    @ivar first: ids of those that depend on no other of them.
    @ivar last: ids of those that no other of them depends on.
    """

    def __init__(
        self, tasks: Iterable[Submission], first: Iterable[str], last: Iterable[str]
    ) -> None:
        self._tasks = list(tasks)
        self.first = frozenset(first)
        self.last = tuple(last)

    @property
    def ids(self) -> list[str]:
        """The ids of all."""
        return [str(task.id) for task in self._tasks]

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Submission: ...

    @overload
    def __getitem__(self, index: slice) -> list[Submission]: ...

    def __getitem__(self, index: int | slice) -> Submission | list[Submission]:
        return self._tasks[index]

    def after(self, others: Flow) -> Flow:
        """The same tasks, begun when all of C{others} are completed."""
        tasks = (_after(t, others.last) if t.id in self.first else t for t in self._tasks)
        return Flow(tasks, self.first, self.last)


def _after(task: Submission, ids: Sequence[str]) -> Submission:
    depends_on = [*(task.depends_on or ()), *ids]
    if len(depends_on) > MOST_DEPENDENCIES:
        raise BadRequest(
            f"A task can depend on {MOST_DEPENDENCIES} others, not on {len(depends_on)}:"
            " let it depend on some that depend on a part of them each."
        )
    return replace(task, depends_on=depends_on)


def _flow(step: Flow | Submission | Mapping[str, Any]) -> Flow:
    if isinstance(step, Flow):
        return step
    task = Submission.of(step)
    task_id = str(task.id or new_task_id()).lower()
    return Flow([replace(task, id=task_id)], [task_id], [task_id])


def chain(steps: Iterable[Flow | Submission | Mapping[str, Any]]) -> Flow:
    """
    Tasks that run one after the other.

    @param steps: each a task, or a flow, such as a L{group}.
    @raises BadRequest: there is none, or one would depend on too many.
    """
    flows = [_flow(step) for step in steps]
    if not flows:
        raise BadRequest("A chain needs a task.")
    linked = flows[:1]
    for flow in flows[1:]:
        linked.append(flow.after(linked[-1]))
    tasks = (task for flow in linked for task in flow)
    return Flow(tasks, linked[0].first, linked[-1].last)


def group(steps: Iterable[Flow | Submission | Mapping[str, Any]]) -> Flow:
    """
    Tasks that may run at the same time.

    @param steps: each a task, or a flow, such as a L{chain}.
    @raises BadRequest: there is none.
    """
    flows = [_flow(step) for step in steps]
    if not flows:
        raise BadRequest("A group needs a task.")
    return Flow(
        (task for flow in flows for task in flow),
        (task_id for flow in flows for task_id in flow.first),
        (task_id for flow in flows for task_id in flow.last),
    )


def fan_out(
    first: Flow | Submission | Mapping[str, Any],
    steps: Iterable[Flow | Submission | Mapping[str, Any]],
) -> Flow:
    """One task, and others that begin when it is completed."""
    return chain([first, group(steps)])


def fan_in(
    steps: Iterable[Flow | Submission | Mapping[str, Any]],
    final: Flow | Submission | Mapping[str, Any],
) -> Flow:
    """
    Tasks that may run at the same time, and one that begins when all are completed.

    @param steps: these tasks, or a L{group} of them.
    """
    return chain([steps if isinstance(steps, Flow) else group(steps), final])
