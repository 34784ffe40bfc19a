"""
The load generator: one process, one peer, one kind of load.

C{python -m benchmarks.peers.drive '{"peer": "redis", "load": "closed", ...}'}
prints what it measured as JSON.  It runs in the peers' environment.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from benchmarks.peers.course import (
    Arrivals,
    Course,
    Numbers,
    closed_loop,
    one_at_a_time,
    open_loop,
    run,
    watched,
)

#: Who speaks to which peer.
MODULES = {
    "beanstalkd": "benchmarks.peers.beanstalk",
    "gearmand": "benchmarks.peers.gearman",
    "nats": "benchmarks.peers.jetstream",
    "rabbitmq": "benchmarks.peers.amqp",
    "redis": "benchmarks.peers.resp",
    "taskqueue": "benchmarks.peers.native",
}

#: Of an open loop, whose connections are the same afterwards.
WARM_UP_S = 0.5


def closed(
    module: Any, *, port: int, pid: int, seconds: float, warm_up_s: float, backlog: int, **how: Any
) -> Numbers:
    """Producers and workers at once, as fast as they go."""

    async def main() -> Numbers:
        failed = watched()
        course = Course(backlog)
        await module.closed(course, port, **how)
        return await closed_loop(course, pid, seconds, warm_up_s, failed)

    return run(main)


def opened(module: Any, *, port: int, pid: int, seconds: float, rate: float, **how: Any) -> Numbers:
    """Tasks at a fixed rate."""

    async def main() -> Numbers:
        failed = watched()
        arrivals = Arrivals(rate)
        arrivals.submit = await module.opened(arrivals, port, **how)
        await open_loop(arrivals, WARM_UP_S, pid, failed)
        return await open_loop(arrivals, seconds, pid, failed)

    return run(main)


def one(
    module: Any, *, port: int, pid: int, seconds: float, warm_up_s: float, **how: Any
) -> Numbers:
    """One request at a time on one connection."""
    return one_at_a_time(module.one(port, **how), pid, seconds, warm_up_s)


LOADS = {"closed": closed, "open": opened, "one": one}


def main() -> None:
    """Do what the command line says."""
    options = json.loads(sys.argv[1])
    module = importlib.import_module(MODULES[options.pop("peer")])
    numbers = LOADS[options.pop("load")](module, **options)
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
