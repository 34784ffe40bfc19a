"""
What a job costs on its way through the door of beanstalkd's protocol, from the received bytes
to the written ones, with the service and the core, without a store that writes.

One client over a transport in memory.  Printed are, for each command and each way of
sending it, microseconds of processor time (the best of many rounds, which other programs
on the machine disturb least) and calls of functions, which are exact.

Run: C{python -m benchmarks.beanstalkd_path [rounds]}
"""

from __future__ import annotations

import gc
import platform
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from benchmarks.wire_path import CONFIG, PAYLOAD, calls, cpu_us
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.beanstalkd import BeanstalkdDoor
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.service import TaskQueueService

#: Jobs of a round.
JOBS = 100

PUT = b"put 0 0 60 %d\r\n%b\r\n" % (len(PAYLOAD), PAYLOAD)
RESERVE = b"reserve-with-timeout 0\r\n"

_RESERVED = re.compile(rb"RESERVED (\d+) ")

#: How commands are sent: in how many pieces of how many commands those of a round are.
TOGETHER = {"one by one": 1, f"{JOBS} together": JOBS}

Measure = Callable[[Callable[[], Any]], float]


class Client:
    """A client, over a transport in memory."""

    def __init__(self, factory: BrokerFactory, clock: Clock) -> None:
        self._clock = clock
        self._transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 4000))
        connection: Any = factory.buildProtocol(self._transport.getPeer())
        connection.makeConnection(self._transport)
        self.say: Callable[[bytes], None] = connection.dataReceived

    def hear(self) -> bytes:
        """What was replied since the last time."""
        self._clock.advance(0.01)
        data = self._transport.value()
        self._transport.clear()
        return data


class Door:
    """
    A broker in memory, and two clients.

    @ivar client: sends the commands.
    @ivar worker: waits for jobs.
    """

    def __init__(self) -> None:
        self._clock = clock = Clock()
        clock.advance(time.time())
        self._service = TaskQueueService(replace(CONFIG), clock)
        door = BeanstalkdDoor(self._service)
        factory = BrokerFactory(self._service, Admission(), "beanstalkd", door.connect)
        self._service.startService()
        self.client, self.worker = Client(factory, clock), Client(factory, clock)

    def close(self) -> None:
        """Stop the broker."""
        self._service.stopService()
        self._clock.advance(1.0)


def in_pieces(commands: list[bytes], together: int) -> list[bytes]:
    """Commands as they arrive, so many at once."""
    return [
        b"".join(commands[start : start + together]) for start in range(0, len(commands), together)
    ]


def heard(client: Client, reply: bytes, count: int) -> bytes:
    """
    What a client was replied.

    @raises RuntimeError: there are not as many replies of the kind.
    """
    said = client.hear()
    if said.count(reply) != count:
        raise RuntimeError(f"{said.count(reply)} of {count} replies {reply!r}: {said[:200]!r}")
    return said


def deletes(reserved: bytes) -> list[bytes]:
    """The commands that delete what was reserved."""
    return [b"delete %b\r\n" % job for job in _RESERVED.findall(reserved)]


def round_of(door: Door, together: int, measure: Measure) -> dict[str, float]:
    """What C{measure} finds for each of the commands, a job."""
    found, client = {}, door.client

    def measured(name: str, commands: list[bytes], reply: bytes) -> bytes:
        pieces, say = in_pieces(commands, together), client.say
        found[name] = measure(lambda: [say(piece) for piece in pieces]) / JOBS
        return heard(client, reply, JOBS)

    measured("put", [PUT] * JOBS, b"INSERTED ")
    reserved = measured("reserve", [RESERVE] * JOBS, b"RESERVED ")
    measured("delete", deletes(reserved), b"DELETED\r\n")
    return found


def waiting_round(door: Door, measure: Measure) -> dict[str, float]:
    """What C{measure} finds for a reserve that waits, and the put that it waits for."""
    client, worker = door.client, door.worker

    def work() -> None:
        for _ in range(JOBS):
            worker.say(b"reserve\r\n")
            client.say(PUT)

    found = measure(work) / JOBS
    heard(client, b"INSERTED ", JOBS)
    reserved = heard(worker, b"RESERVED ", JOBS)
    worker.say(b"".join(deletes(reserved)))
    heard(worker, b"DELETED\r\n", JOBS)
    return {"reserve that waits, and put": found}


def rounds_of(door: Door, measure: Measure) -> dict[str, float]:
    """What C{measure} finds for each command and each way of sending it, a job."""
    found = waiting_round(door, measure)
    for how, together in TOGETHER.items():
        for command, value in round_of(door, together, measure).items():
            found[f"{command}, {how}"] = value
    return found


def calls_per_job() -> dict[str, float]:
    """How many functions are called for a job, by command and way of sending it, in words."""
    return {f"function calls a job: {name}": count for name, count in counted().items()}


def counted() -> dict[str, float]:
    """The same, by the names of L{rounds_of}."""
    door = Door()
    rounds_of(door, lambda command: float(command() is None))  # what is kept is made now
    gc.collect()
    gc.disable()  # what it finds may call functions too
    try:
        return rounds_of(door, calls)
    finally:
        gc.enable()
        door.close()


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print(f"{platform.platform()}, Python {platform.python_version()}")
    print(f"processor time (us) and calls for one job, the best of {rounds} rounds\n")
    calls_of = counted()
    gc.disable()
    door = Door()
    found = [rounds_of(door, cpu_us) for _ in range(rounds)]
    door.close()
    for name, count in calls_of.items():
        print(f"{name:40}{min(numbers[name] for numbers in found):>9.2f} {count:>8.2f}")


if __name__ == "__main__":
    main()
