"""
A short look at how fast the broker is, and a guard against becoming slower.

It prints operations per second, how they compare with a bare server that sends the
same frames, and what a task costs in numbers that are the same on every machine:
function calls, writes, syncs, bytes.  It fails on those alone, for nothing else is
the same from one run to the next: where one is larger than in L{LIMITS}.

Who has made something faster, or has a good reason to make it slower, renews them:
C{python -m benchmarks.quick --renew}

Run: C{python -m benchmarks.quick [--counters] [--renew]}; less than a minute, and
with C{--counters}, which times nothing, about a second.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.counters import Counters, counters

LIMITS = Path(__file__).with_name("quick_limits.json")

#: How much more than was counted is allowed: versions of Python and libraries differ.
SLACK = 1.1

#: Of each measurement, seconds.
SECONDS = 2.0

RENEW = (
    "If that is meant, renew the limits and say why in the commit:"
    " python -m benchmarks.quick --renew"
)


class Excess(NamedTuple):
    """A counter over its limit; C{limit} is C{None} where it has none."""

    name: str
    found: float
    limit: float | None

    def __str__(self) -> str:
        if self.limit is None:
            return f"{self.name}: {self.found:.2f}, and there is no limit for it"
        return f"{self.name}: {self.found:.2f}, more than {self.limit:.2f}"


def renewed(found: Counters) -> Counters:
    """Limits that what was counted keeps to, with some slack."""
    return {name: round(value * SLACK, 3) for name, value in found.items()}


def excesses(found: Counters, limits: Counters) -> list[Excess]:
    """What is over its limit, or has none."""
    return [
        Excess(name, value, limits.get(name))
        for name, value in found.items()
        if name not in limits or value > limits[name]
    ]


def rates() -> None:
    """Print operations per second, and their ratio to the bare server's."""
    # What starts servers needs the peers' environment, which counting does not.
    from benchmarks import servers
    from benchmarks.limits import through_echo
    from benchmarks.throughput import alone, closed

    styles = (
        ("batches of 100", {"batch": 100, "window": 2}),
        ("one task a request, pipelined", {"batch": 1, "window": 50}),
    )
    for style, variant in styles:
        floor = through_echo(variant, SECONDS)["tasks_per_s"]
        print(f"{'a bare server, ' + style:48} {floor:>9,.0f} tasks/s")
        for durability in ("fsync", "interval", "none"):
            start = servers.taskqueue(durability)
            rate = closed(start, "taskqueue", variant, SECONDS)["tasks_per_s"]
            name = f"{durability}, {style}"
            print(f"{name:48} {rate:>9,.0f} tasks/s {rate / floor:>6.0%} of it")
    one = partial(alone, servers.taskqueue("fsync"), "taskqueue", {}, SECONDS)()
    print(f"{'fsync, one request at a time':48} {one['operation_us']:>9,.0f} us a request")


def report(found: Counters, limits: Counters) -> None:
    """Print what was counted beside what is allowed."""
    for name, value in found.items():
        limit = limits.get(name)
        allowed = "no limit" if limit is None else f"of {limit:.2f}"
        print(f"{name:48} {value:>9.2f} {allowed}")


def main() -> int:
    """
    Count, and measure where that is wanted.

    @return: the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counters", action="store_true", help="measure nothing, only count")
    parser.add_argument("--renew", action="store_true", help="write the limits anew")
    options = parser.parse_args()
    found = counters()
    if options.renew:
        LIMITS.write_text(json.dumps(renewed(found), indent=1) + "\n")
        print(f"renewed: {LIMITS}")
        return 0
    if not options.counters:
        print(f"{platform.machine()}, Python {platform.python_version()}")
        rates()
    limits: Counters = json.loads(LIMITS.read_text())
    report(found, limits)
    over = excesses(found, limits)
    for excess in over:
        print(f"SLOWER: {excess}", file=sys.stderr)
    if over:
        print(RENEW, file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
