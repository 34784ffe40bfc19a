"""
Tasks that come again and again: declared here, fired by the broker.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from taskqueue.client import Submission
from taskqueue.errors import BadRequest

CATCH_UP = ("skip", "once", "all")

#: What a schedule can say about the tasks that it submits.
_RECURRING = frozenset(
    {
        *("type", "payload", "queue", "priority", "headers", "expires_in_s", "lease_s"),
        *("max_retries", "max_lost", "retry_delay_s", "retry_max_delay_s", "retry_jitter"),
    }
)


class Periodic(NamedTuple):
    """
    A schedule, and the task that each of its ticks submits.

    @ivar name: unique in the broker; to declare it again replaces it.
    @ivar submission: the task.
    @ivar cron: five fields, as in C{crontab(5)}; or C{None}.
    @ivar every_s: the distance of the ticks, seconds; or C{None}.
    @ivar tz: the time zone of C{cron}, such as C{"Europe/Paris"}.
    @ivar catch_up: of ticks missed while no broker ran, C{"skip"} all, fire
        C{"once"}, or fire C{"all"}, within C{catch_up_window_s}.
    @ivar overlap: fire although the task of the tick before is not done yet.
    """

    name: str
    submission: Submission
    cron: str | None
    every_s: float | None
    tz: str
    catch_up: str
    catch_up_window_s: float | None
    overlap: bool

    def check(self) -> None:
        """
        @raises BadRequest: it is not one of C{cron} and C{every_s}, or a value is
            none that there is.
        """
        if (self.cron is None) == (self.every_s is None):
            raise BadRequest(f"periodic {self.name} needs cron or every_s, and not both")
        if self.cron is not None and len(self.cron.split()) != 5:
            raise BadRequest(
                f"periodic {self.name}: cron is {self.cron!r}, expected five fields, such as"
                " '*/5 * * * *': minute, hour, day, month, weekday"
            )
        if self.every_s is not None and not self.every_s >= 1:
            raise BadRequest(
                f"periodic {self.name}: every_s is {self.every_s!r}, expected 1 or more"
            )
        self._check_task()
        if self.catch_up not in CATCH_UP:
            raise BadRequest(
                f"periodic {self.name}: catch_up is {self.catch_up!r}, expected one of"
                f" {', '.join(CATCH_UP)}"
            )
        try:
            ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadRequest(
                f"periodic {self.name}: there is no time zone {self.tz!r}; write one as"
                " 'Europe/Paris' (on systems without zone data, install tzdata)"
            ) from None

    def _check_task(self) -> None:
        _, task = self.submission.item()
        alone = task.keys() - _RECURRING - {"id"}
        if alone:
            raise BadRequest(
                f"periodic {self.name}: its task has {', '.join(sorted(alone))}, which tasks that"
                " come again cannot have"
            )

    def item(self) -> dict[str, Any]:
        """What PUT_PERIODIC says of it."""
        _, task = self.submission.item()
        schedule = self._asdict()
        del schedule["submission"], task["id"]
        return {**task, **{name: value for name, value in schedule.items() if value is not None}}


async def register(periodics: Iterable[Periodic], client: Any) -> None:
    """
    Tell the broker of these, each by its name; one that it has as it is keeps its
    next tick.

    @param client: for Twisted or asyncio.
    @raises TaskQueueError: the broker refuses one.
    """
    for periodic in periodics:
        await client.put_periodic(**periodic.item())
