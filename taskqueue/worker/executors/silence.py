"""
The listener of an executor that has none yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Silence:
    """Hears what an executor tells, and does nothing."""

    def progress(self, token: int, value: Any) -> None:
        """See L{Listener<taskqueue.worker.executors.Listener>}."""

    def logged(self, token: int, message: str, fields: Mapping[str, Any]) -> None:
        """See L{Listener<taskqueue.worker.executors.Listener>}."""

    def began(self, token: int) -> None:
        """See L{Listener<taskqueue.worker.executors.Listener>}."""

    def capacity_changed(self) -> None:
        """See L{Listener<taskqueue.worker.executors.Listener>}."""
