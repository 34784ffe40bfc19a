"""
Commands that show how the broker is doing.
"""

from __future__ import annotations

import math

import click
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from taskqueue.cli.exits import DIFFERS, OK
from taskqueue.cli.output import Rows, Shown, flat, moment
from taskqueue.cli.running import Visit
from taskqueue.cli.setting import Setting, shows, watches
from taskqueue.client import Client


async def view_stats(client: Client) -> Shown:
    """The broker in numbers."""
    numbers = await client.stats()
    return Shown(numbers, [Rows("Broker", ("what", "value"), flat(numbers))])


@click.command()
@watches
def stats(setting: Setting, /) -> None:
    """Show the broker in numbers."""
    setting.show(view_stats)


async def view_audit(client: Client) -> Shown:
    """What the broker finds when it audits itself."""
    found = await client.audit()
    differences = found["differences"]
    looked_at = {name: value for name, value in found.items() if name != "differences"}
    looked_at["at"] = moment(found["at"])
    parts = [Rows("Audit", ("what", "value"), flat(looked_at))]
    if differences:
        parts.append(Rows("Differences", ("what differs",), [(each,) for each in differences]))
    return Shown(found, parts, DIFFERS if found["found"] else OK)


@click.command()
@shows
def audit(setting: Setting, /) -> None:
    """Have the broker compare its books, its leases and its store with the tasks.

    It does so in small steps, beside its work; for millions of tasks that takes a minute,
    so give it a longer --timeout. Ends with 6 where anything differs.
    """
    setting.show(view_audit)


@click.command("bench-ping")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Pings that are under way at a time.",
)
@shows
def bench_ping(setting: Setting, /, count: int, concurrency: int) -> None:
    """Measure how long the broker takes to answer a PING."""
    setting.ask(lambda visit: measure(visit, count, concurrency))


async def measure(visit: Visit, count: int, concurrency: int) -> int:
    """Ping C{count} times, and show the spread."""
    seconds = visit.reactor.seconds
    times: list[float] = []
    left = count
    began = seconds()

    async def one_after_another() -> None:
        nonlocal left
        while left:
            left -= 1
            asked_at = seconds()
            await visit.client.ping()
            times.append((seconds() - asked_at) * 1000)

    runs: list[Deferred[object]] = [
        Deferred.fromCoroutine(one_after_another()) for _ in range(min(count, concurrency))
    ]
    results: list[tuple[bool, object]] = await DeferredList(runs, consumeErrors=True)
    for _, result in results:
        if isinstance(result, Failure):
            result.raiseException()
    visit.out.show(_spread(sorted(times), seconds() - began, concurrency))
    return OK


def _spread(times: list[float], took_s: float, concurrency: int) -> Shown:
    """
    @param times: milliseconds, ascending.
    """

    def at(share: float) -> float:
        return times[max(0, math.ceil(share * len(times)) - 1)]

    found = {
        "pings": len(times),
        "concurrency": concurrency,
        "per_second": len(times) / max(took_s, 1e-9),
        "min_ms": times[0],
        "median_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "max_ms": times[-1],
    }
    return Shown(found, [Rows("PING", ("what", "value"), flat(found))])
