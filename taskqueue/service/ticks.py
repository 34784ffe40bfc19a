"""
When periodic tasks are due: cron expressions and time zones.

Cron expressions mean what Debian's cron makes of them (the C{cronsim} library),
also where clocks change: a job at a set time that falls into the hour that is
left out runs right after it, one in the hour that comes twice runs once.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from taskqueue.core.periodic import Periodic, next_multiple
from taskqueue.errors import BadRequest


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    """
    The time zone with a name of the IANA database.

    @raises BadRequest: there is none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # names are looked up as paths
        raise BadRequest(
            f"tz is {name[:60]!r}, which is no time zone of this machine: expected a name such "
            f"as Europe/Paris",
            field="tz",
        ) from error


def next_tick(definition: Periodic, after: float) -> float | None:
    """
    The first tick after a wall-clock moment, C{None} where none comes within
    fifty years.

    @raises BadRequest: the cron expression or the time zone makes no sense.
    """
    if definition.cron is None:
        return next_multiple(definition, after)
    moment = datetime.fromtimestamp(after, zone(definition.tz))
    try:
        for found in CronSim(definition.cron, moment):
            at = found.timestamp()
            if at > after:
                return at
    except (CronSimError, OverflowError) as error:
        raise BadRequest(
            f"cron is {definition.cron!r}, which is no cron expression ({error}): expected five "
            f"fields, such as */5 * * * *",
            field="cron",
        ) from error
    return None
