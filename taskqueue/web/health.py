"""
C{/health} and C{/ready}: short answers for load balancers, orchestrators and people.
"""

from __future__ import annotations

from typing import Any

from twisted.web import http

from taskqueue.service import TaskQueueService
from taskqueue.web.pages import Page, answer


def why_not_ready(service: TaskQueueService) -> str | None:
    """Why the broker takes no work at the moment, C{None} where it does."""
    if service.stopping:
        return "the broker is stopping"
    if not service.running:
        return "the broker is starting"
    if service.journal.trouble is not None:
        return f"the store fails, and nothing is accepted: {service.journal.trouble}"
    return None


def why_degraded(service: TaskQueueService) -> str | None:
    """What is wrong with the broker, C{None} where all is well."""
    reason = why_not_ready(service)
    failing = [str(timer.name) for timer in service.timers if timer.failing]
    if reason is None and failing:
        reason = f"failed when it was last due: {', '.join(failing)}; the log says why"
    return reason


class HealthPage(Page):
    """Whether the broker does all that it should: 200, or 503 with the reason."""

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def render_GET(self, request: Any) -> bytes:
        """C{{"status": "ok"}}, or C{{"status": "degraded", "reason": ...}}."""
        return _verdict(request, "ok", "degraded", why_degraded(self._service))


class ReadyPage(Page):
    """Whether the broker takes work: 200, or 503 with the reason."""

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def render_GET(self, request: Any) -> bytes:
        """C{{"status": "ready"}}, or C{{"status": "not ready", "reason": ...}}."""
        return _verdict(request, "ready", "not ready", why_not_ready(self._service))


def _verdict(request: Any, well: str, ill: str, reason: str | None) -> bytes:
    if reason is None:
        return answer(request, http.OK, {"status": well})
    return answer(request, http.SERVICE_UNAVAILABLE, {"status": ill, "reason": reason})
