"""
An application for tests, and deliveries that go nowhere.
"""

from __future__ import annotations

from typing import Any

from taskqueue.app.application import App
from taskqueue.app.context import Context

DELIVERY: dict[str, Any] = {
    "id": "019b74ff-0000-7000-8000-000000000001",
    "type": "greet",
    "queue": "default",
    "priority": 150,
    "attempt": 1,
    "failures": 0,
    "losses": 0,
    "lease": 7,
    "headers": {"from": "test"},
    "submitted_at": 1_800_000_000.0,
}


class Heard:
    """
    A sink that remembers.

    @ivar progressed: what was said of progress.
    @ivar logged: lines, with their fields.
    """

    def __init__(self) -> None:
        self.progressed: list[Any] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []

    def progress(self, context, value):
        self.progressed.append(value)

    def log(self, context, message, fields):
        self.logged.append((message, dict(fields)))


def context(heard: Heard | None = None, **described: Any) -> Context:
    """A context of a delivery that goes nowhere."""
    return Context(heard or Heard(), DELIVERY | described)


class Sent:
    """
    What an application submitted, instead of a broker.

    @ivar submissions: in order.
    """

    def __init__(self, app: App) -> None:
        self.submissions: list[Any] = []
        app.sender = self._take

    def _take(self, submission):
        self.submissions.append(submission)
        return f"handle {len(self.submissions)}"

    @property
    def last(self) -> Any:
        return self.submissions[-1]
