"""
Redis: at-least-once queues, with its fastest client parser (hiredis).

C{list}: a worker moves tasks to a list of its own, one LMOVE each, and removes each
by an LREM.  C{stream}: XADD, XREADGROUP, XACK and XDEL.  C{script}: a worker moves
a whole batch to its list in one script and deletes that list when all of it is
done: no task of it can be acknowledged alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.peers.course import (
    PAYLOAD,
    PRODUCERS,
    WORKERS,
    Arrivals,
    Connection,
    Course,
    Filling,
    LoadFailed,
    Wire,
    connect,
    numbered,
)

#: Takes a batch off the queue and keeps it until it is done: both or neither.
TAKE = (
    b"local tasks = redis.call('LPOP', KEYS[1], ARGV[1])"
    b" if tasks then redis.call('RPUSH', KEYS[2], unpack(tasks)) end return tasks"
)


def command(*words: bytes) -> bytes:
    """A command as Redis reads it."""
    head = b"*%d\r\n" % len(words)
    return head + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


CREATE = command(b"XGROUP", b"CREATE", b"stream", b"group", b"$", b"MKSTREAM")


def submission(style: str, payloads: list[bytes]) -> tuple[bytes, int]:
    """Commands that submit C{payloads}, and how many answers they get."""
    if style == "stream":
        adds = [command(b"XADD", b"stream", b"*", b"p", payload) for payload in payloads]
        return b"".join(adds), len(payloads)
    return command(b"RPUSH", b"queue", *payloads), 1


class Replies(Connection):
    """Whole replies."""

    def begin(self) -> None:
        import hiredis  # where the load is put on, not where it is tested

        self._reader = hiredis.Reader(replyError=LoadFailed)
        self.ready()

    def ready(self) -> None:
        """Say the first words."""

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, LoadFailed):
                raise reply
            self.heard(reply)

    def heard(self, reply: Any) -> None:
        """One reply."""
        raise NotImplementedError


class Producer(Filling, Replies):
    """Submits C{window} batches and awaits their answers."""

    def __init__(self, course: Course, style: str, batch: int, window: int) -> None:
        data, self._answers = submission(style, [PAYLOAD] * batch)
        super().__init__(course, batch, window, data)
        self._heard = 0

    def heard(self, reply: Any) -> None:
        self._heard += 1
        if self._heard == self._answers:
            self._heard = 0
            self._submit()


class Worker(Replies):
    """Takes batches off the list, in either way; waits where there is none."""

    def __init__(self, course: Course, style: str, batch: int, name: bytes) -> None:
        self._course = course
        self._script = style == "script"
        if self._script:
            self._take = command(b"EVAL", TAKE, b"2", b"queue", name, b"%d" % batch)
            self._takes = 1
        else:
            self._take = command(b"LMOVE", b"queue", name, b"LEFT", b"RIGHT") * batch
            self._takes = batch
        self._wait = command(b"BLMOVE", b"queue", name, b"LEFT", b"RIGHT", b"1")
        self._delete = command(b"DEL", name)
        self._remove = command(b"LREM", name, b"1", PAYLOAD)

    def ready(self) -> None:
        self._in_hand = self._ended = self._deletes = 0
        self._takes_left = 1
        self.transport.write(self._wait)

    def heard(self, reply: Any) -> None:
        if self._deletes:  # their answers come first
            self._deletes -= 1
            if not self._deletes:
                self._course.finished(self._ended)
            return
        if reply is not None:
            self._in_hand += len(reply) if isinstance(reply, list) else 1
        self._takes_left -= 1
        if not self._takes_left:
            self._next()

    def _next(self) -> None:
        self._ended, self._in_hand = self._in_hand, 0
        if not self._ended:
            self._takes_left = 1
            self.transport.write(self._wait)
            return
        self._deletes = 1 if self._script else self._ended
        self._takes_left = self._takes
        deletes = self._delete if self._script else self._remove * self._ended
        self.transport.write(deletes + self._take)


class StreamWorker(Replies):
    """Reads batches of a stream, acknowledges and deletes them."""

    def __init__(self, course: Course, batch: int, name: bytes) -> None:
        self._course = course
        count = b"%d" % batch
        self._read = command(
            b"XREADGROUP", b"GROUP", b"group", name, b"COUNT", count,
            b"BLOCK", b"1000", b"STREAMS", b"stream", b">",
        )  # fmt: skip

    def ready(self) -> None:
        self._answers: deque[int] = deque()
        self.transport.write(self._read)

    def heard(self, reply: Any) -> None:
        if isinstance(reply, int):
            self._course.finished(self._answers.popleft())
            return
        ids = [entry[0] for entry in reply[0][1]] if reply else []
        if ids:
            self._answers += (0, len(ids))  # it is deleted when the second one is answered
            end = command(b"XACK", b"stream", b"group", *ids) + command(b"XDEL", b"stream", *ids)
            self.transport.write(end + self._read)
        else:
            self.transport.write(self._read)


def prepare(port: int, style: str) -> None:
    """What must be there before the first task."""
    if style == "stream":
        Wire(port).ask(CREATE)


async def closed(course: Course, port: int, *, style: str, batch: int, window: int) -> None:
    """Producers and workers of a closed loop."""
    prepare(port, style)
    names = [b"worker%d" % number for number in range(WORKERS)]
    workers: list[Callable[[], Connection]] = [
        partial(StreamWorker, course, batch, name)
        if style == "stream"
        else partial(Worker, course, style, batch, name)
        for name in names
    ]
    await connect(port, *[partial(Producer, course, style, batch, window)] * PRODUCERS, *workers)


# --- an open loop -----------------------------------------------------------------


class Submitter(Replies):
    """Submits single tasks; answers come in the order of the tasks."""

    def __init__(self, arrivals: Arrivals, style: str) -> None:
        self._arrivals = arrivals
        self._style = style
        self._waiting: deque[int] = deque()

    def submit(self, number: int) -> None:
        """Submit task C{number}."""
        self._waiting.append(number)
        self.transport.write(submission(self._style, [numbered(number)])[0])

    def heard(self, reply: Any) -> None:
        self._arrivals.acked(self._waiting.popleft())


class Waiter(Replies):
    """Waits for one task of the list, deletes it, and waits for the next."""

    def __init__(self, arrivals: Arrivals, name: bytes) -> None:
        self._arrivals = arrivals
        self._wait = command(b"BLMOVE", b"queue", name, b"LEFT", b"RIGHT", b"0")
        self._done = command(b"DEL", name)

    def ready(self) -> None:
        self.transport.write(self._wait)

    def heard(self, reply: Any) -> None:
        if isinstance(reply, int):
            self._arrivals.finished()
        else:
            self._arrivals.claimed(reply)
            self.transport.write(self._done + self._wait)


class StreamWaiter(Replies):
    """Waits for one task of the stream, acknowledges and deletes it, and waits for the next."""

    def __init__(self, arrivals: Arrivals, name: bytes) -> None:
        self._arrivals = arrivals
        self._read = command(
            b"XREADGROUP", b"GROUP", b"group", name, b"COUNT", b"1",
            b"BLOCK", b"0", b"STREAMS", b"stream", b">",
        )  # fmt: skip

    def ready(self) -> None:
        self._acked = False
        self.transport.write(self._read)

    def heard(self, reply: Any) -> None:
        if isinstance(reply, int):
            if self._acked:
                self._arrivals.finished()
            self._acked = not self._acked
            return
        number, fields = reply[0][1][0]
        self._arrivals.claimed(fields[1])
        end = command(b"XACK", b"stream", b"group", number) + command(b"XDEL", b"stream", number)
        self.transport.write(end + self._read)


async def opened(arrivals: Arrivals, port: int, *, style: str) -> Callable[[int], None]:
    """The workers and a producer of an open loop; how it submits."""
    prepare(port, style)
    kind = StreamWaiter if style == "stream" else Waiter
    waiters = [partial(kind, arrivals, b"worker%d" % number) for number in range(WORKERS)]
    made: list[Submitter] = await connect(port, *waiters, partial(Submitter, arrivals, style))
    return made[-1].submit


# --- one at a time ----------------------------------------------------------------


def one(port: int, *, client: str = "raw") -> Callable[[], None]:
    """
    The requests of one task, each of which waits for its answer.

    @param client: C{"raw"}, or C{"redis-py"} for what most people use.
    """
    return through_redis_py(port) if client == "redis-py" else through_a_socket(port)


def through_a_socket(port: int) -> Callable[[], None]:
    """By bytes that were made before."""
    wire = Wire(port)
    put, _ = submission("list", [PAYLOAD])
    reserve = command(b"BLMOVE", b"queue", b"worker", b"LEFT", b"RIGHT", b"0")
    delete = command(b"LREM", b"worker", b"1", PAYLOAD)

    def cycle() -> None:
        wire.ask(put)
        wire.ask(reserve)
        wire.exactly(len(PAYLOAD) + 2)
        answer = wire.ask(delete)
        if answer != b":1":
            raise LoadFailed(f"LREM: {answer!r}")

    return cycle


def through_redis_py(port: int) -> Callable[[], None]:
    """By the methods of its client for Python."""
    import redis

    client = redis.Redis(port=port)

    def cycle() -> None:
        client.rpush("queue", PAYLOAD)
        payload = client.blmove("queue", "worker", 0)
        if client.lrem("worker", 1, payload) != 1:
            raise LoadFailed(f"LREM of {payload!r}")

    return cycle
