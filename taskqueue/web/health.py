"""
C{/health}, C{/ready} and C{/live}: short answers for load balancers, orchestrators and
people.
"""

from __future__ import annotations

from typing import Any

from twisted.web import http

from taskqueue.access.permissions import Action
from taskqueue.service import TaskQueueService
from taskqueue.web.credentials import check
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
    """All that is wrong with the broker, C{None} where all is well."""
    reasons = [why_not_ready(service)]
    failing = [str(timer.name) for timer in service.timers if timer.failing]
    if failing:
        reasons.append(f"failed when it was last due: {', '.join(failing)}; the log says why")
    if service.running and service.settling.error is not None:
        reasons.append(
            f"commits stay in the log, as the store cannot catch up: {service.settling.error}"
        )
    newest = service.auditor.newest
    if newest is not None and newest.found:
        reasons.append(
            f"the self-audit found {newest.found} differences; the log names them, and so does"
            " the command: taskqueue audit"
        )
    return "; ".join(filter(None, reasons)) or None


class HealthPage(Page):
    """Whether the broker does all that it should: 200, or 503 with the reason."""

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def render_GET(self, request: Any) -> bytes:
        """C{{"status": "ok"}}, or C{{"status": "degraded", "reason": ...}}."""
        return _verdict(self._service, request, "ok", "degraded", why_degraded(self._service))


class ReadyPage(Page):
    """Whether the broker takes work: 200, or 503 with the reason."""

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def render_GET(self, request: Any) -> bytes:
        """C{{"status": "ready"}}, or C{{"status": "not ready", "reason": ...}}."""
        reason = why_not_ready(self._service)
        return _verdict(self._service, request, "ready", "not ready", reason)


class LivePage(Page):
    """Whether the reactor turns: 200.  Where it does not, there is no answer in time."""

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def render_GET(self, request: Any) -> bytes:
        """
        C{{"status": "alive", "uptime_s": ...}}: C{null} while the broker starts.

        Nothing else is looked at: to restart the process mends no disk, and no book.
        """
        service = self._service
        uptime_s = service.moments().wall - service.started_at if service.running else None
        return answer(request, http.OK, {"status": "alive", "uptime_s": uptime_s})


def _verdict(
    service: TaskQueueService, request: Any, well: str, ill: str, reason: str | None
) -> bytes:
    """The status is for everybody, as load balancers have no key; the reason for who may read."""
    if reason is None:
        return answer(request, http.OK, {"status": well})
    if check(service, request, Action.READ) is not None:
        reason = "told to those only who may read everything (read:*): give a key"
    return answer(request, http.SERVICE_UNAVAILABLE, {"status": ill, "reason": reason})
