"""
Submitting a task for each line of a file.

A chunk of lines is settled when the broker has answered for each of them, and
chunks are settled in the order of the file, so that one offset says how far it
is.  Where it begins anew from an older offset, lines are submitted again under
the ids that they had, which gives the same tasks.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os.path import exists, getsize, isfile
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID, uuid4

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from taskqueue.cli.exits import OK, REFUSED, USAGE
from taskqueue.cli.lines import Line, fingerprint, lines_from, space_of, submission_from
from taskqueue.cli.progress import Bar, Place, head_of, read_place, write_place
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.watching import pause
from taskqueue.client import Submission
from taskqueue.errors import (
    AnswerTimedOut,
    BadRequest,
    ConnectionLost,
    TaskQueueError,
    UnknownDependency,
)

#: Lines, and bytes of lines, that are submitted together.
CHUNK_LINES = 1000
CHUNK_BYTES = 1024 * 1024

#: Chunks that are under way at a time.
WINDOW = 4

#: How often the journal is written, seconds.
_NOTE_S = 1.0

#: Bad lines that are told of at the end.
_TOLD = 20

#: The pause before a try again where the broker names none, seconds.
_AGAIN_S = 0.5


class Import(NamedTuple):
    """
    What to submit.

    @ivar source: a path, or C{-}.
    @ivar journal: the file that says how far it got.
    @ivar rejects: the file for lines that were not accepted.
    @ivar defaults: fields for lines that leave them out.
    """

    source: str
    journal: str | None
    rejects: str | None
    run_name: str
    defaults: dict[str, Any]


@dataclass
class Chunk:
    """
    Lines that are submitted together.

    @ivar tasks: the lines that can be submitted, by number.
    @ivar bad: what is wrong with the others, by number.
    @ivar texts: every line, by number.
    @ivar end: the offset behind the last of them, and its number.
    """

    end: int = 0
    number: int = 0
    size: int = 0
    tasks: dict[int, Submission] = field(default_factory=dict)
    bad: dict[int, TaskQueueError] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)
    accepted: int = 0

    def add(self, line: Line, defaults: dict[str, Any], space: UUID) -> None:
        """Take one more line; empty ones say nothing."""
        self.end, self.number = line.end, line.number
        if line.data == b"":
            return
        self.size += len(line.data or b"")
        self.texts[line.number] = line.data or b""
        try:
            self.tasks[line.number] = submission_from(line, defaults, space)
        except BadRequest as error:
            self.bad[line.number] = error

    @property
    def full(self) -> bool:
        """Whether it is large enough to be submitted."""
        return len(self.texts) >= CHUNK_LINES or self.size >= CHUNK_BYTES


def chunks_of(lines: Iterable[Line], defaults: dict[str, Any], space: UUID) -> Iterator[Chunk]:
    """The lines, in chunks."""
    chunk = Chunk()
    for line in lines:
        chunk.add(line, defaults, space)
        if chunk.full:
            yield chunk
            chunk = Chunk()
    if chunk.number:
        yield chunk


async def import_tasks(visit: Visit, plan: Import) -> int:
    """
    Submit a task for each line, from where an earlier import stopped.

    @return: the exit status.
    """
    try:
        place = await _beginning(visit, plan)
        run = _Run(visit, plan, place)
    except BadRequest as error:
        complain(str(error))
        return USAGE
    except OSError as error:
        complain(f"{error.filename or plan.source}: {error.strerror or error}")
        return USAGE
    try:
        with _source(plan, place) as file, _rejects(plan, place) as rejects:
            await run.all(file, rejects)
    except OSError as error:
        complain(f"{error.filename or plan.source}: {error.strerror or error}")
        return REFUSED
    except BaseException:
        run.tell_where()
        raise
    return run.tell()


async def _beginning(visit: Visit, plan: Import) -> Place:
    """
    @raises BadRequest: the journal is of something else.
    @raises OSError: a file cannot be read or written.
    """
    if plan.source == "-":
        if plan.journal:
            raise BadRequest("the standard input cannot be resumed: name a file")
        return Place(uuid4().hex, run_name=plan.run_name)
    if exists(plan.source) and not isfile(plan.source):
        raise BadRequest(f"{plan.source} is no file that can be read twice: use --from-file -")
    found = None
    if plan.journal:
        found = read_place(plan.journal, plan.source, plan.run_name)
    if found is None:
        # A large file takes a while, and the connection is to live meanwhile.
        reactor = visit.reactor
        whole = await deferToThreadPool(reactor, reactor.getThreadPool(), fingerprint, plan.source)
        found = Place(whole, *head_of(plan.source), run_name=plan.run_name)
    if plan.journal:
        write_place(plan.journal, found)
    return found


@contextmanager
def _source(plan: Import, place: Place) -> Iterator[BinaryIO]:
    """The file, where it is to be read on."""
    if plan.source == "-":
        yield sys.stdin.buffer
        return
    with open(plan.source, "rb") as file:
        file.seek(place.offset)
        yield file


@contextmanager
def _rejects(plan: Import, place: Place) -> Iterator[BinaryIO | None]:
    """The file for bad lines, without what was written after the last note was taken."""
    if plan.rejects is None:
        yield None
        return
    with open(plan.rejects, "ab") as file:
        file.truncate(place.rejects_bytes)
        yield file


class _Run:
    """One import."""

    def __init__(self, visit: Visit, plan: Import, place: Place) -> None:
        self._visit = visit
        self._plan = plan
        self._place = place
        self._began_at = place.line
        self._noted_at = visit.reactor.seconds()
        self._rejects: BinaryIO | None = None
        self._bad: list[tuple[int, str]] = []
        self._waited_for: set[str] = set()
        self._bar = Bar(None if plan.source == "-" else getsize(plan.source))

    async def all(self, file: BinaryIO, rejects: BinaryIO | None) -> None:
        """Submit everything from where C{file} stands."""
        self._rejects = rejects
        space = space_of(self._place.print, self._plan.run_name)
        lines = lines_from(file, self._place.line, self._place.offset)
        under_way: deque[tuple[Chunk, Deferred[None]]] = deque()
        with self._bar:
            try:
                for chunk in chunks_of(lines, self._plan.defaults, space):
                    if len(under_way) == WINDOW:
                        await self._settle(*under_way.popleft())
                    sent = Deferred.fromCoroutine(self._submit(chunk))
                    under_way.append((chunk, sent))
                while under_way:
                    await self._settle(*under_way.popleft())
            finally:
                for _, sent in under_way:
                    sent.addErrback(lambda failure: None)
                    sent.cancel()
                self._note()

    async def _submit(self, chunk: Chunk) -> None:
        """Submit a chunk, once; what can be mended by a try again is left to L{_settle}."""
        await self._try(chunk, list(chunk.tasks))

    async def _try(self, chunk: Chunk, numbers: Sequence[int]) -> None:
        tasks = [chunk.tasks[number] for number in numbers]
        # Waiting is done, and told of, here.
        answers = await self._visit.client.submit_many(tasks, retry_for_s=0.0)
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, TaskQueueError):
                chunk.bad[number] = answer
            else:
                chunk.bad.pop(number, None)
                chunk.accepted += 1

    async def _settle(self, chunk: Chunk, sent: Deferred[None]) -> None:
        """Have an answer for each line of a chunk, all lines before which have theirs."""
        await sent
        # All that a line may depend on is there by now, or is not going to be.
        orphans = [n for n, error in chunk.bad.items() if isinstance(error, UnknownDependency)]
        await self._again(chunk, orphans)
        while mendable := {n: e for n, e in chunk.bad.items() if _is_passing(e)}:
            error = next(iter(mendable.values()))
            if isinstance(error, AnswerTimedOut):
                raise error
            self._wait_for(error)
            await pause(self._visit.reactor, error.retry_after_s or _AGAIN_S)
            await self._again(chunk, list(mendable))
        self._settled(chunk)

    def _wait_for(self, error: TaskQueueError) -> None:
        """Say why it does not go on: always on the bar, and once where there is none."""
        self._bar.show(self._place, f"waiting: {error.code}")
        if not self._bar.visible and error.code not in self._waited_for:
            self._waited_for.add(error.code)
            complain(f"waiting at line {self._place.line + 1:,}: {error}")

    async def _again(self, chunk: Chunk, numbers: list[int]) -> None:
        if numbers:
            await self._try(chunk, numbers)

    def _settled(self, chunk: Chunk) -> None:
        place = self._place
        for number in sorted(chunk.bad):
            self._reject(number, chunk.bad[number], chunk.texts[number])
        place.offset, place.line = chunk.end, chunk.number
        place.accepted += chunk.accepted
        place.rejected += len(chunk.bad)
        self._bar.show(place)
        now = self._visit.reactor.seconds()
        if now - self._noted_at >= _NOTE_S:
            self._noted_at = now
            self._note()

    def _reject(self, number: int, error: TaskQueueError, text: bytes) -> None:
        if len(self._bad) < _TOLD:
            self._bad.append((number, str(error)))
        if self._rejects is not None:
            told = {"line": number, "code": error.code, "message": str(error)}
            told["text"] = text.decode("utf-8", "replace")
            data = json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            self._rejects.write(data)
            self._place.rejects_bytes += len(data)

    def _note(self) -> None:
        if self._rejects is not None:
            self._rejects.flush()
        if self._plan.journal is not None:
            write_place(self._plan.journal, self._place)

    # --- the end --------------------------------------------------------------------

    def tell_where(self) -> None:
        """Say how far it got, where it did not get to the end."""
        place = self._place
        complain(f"stopped after line {place.line:,}, with {place.accepted:,} tasks submitted")
        if self._plan.journal is not None:
            complain("the same command goes on from there")

    def tell(self) -> int:
        """Say what came of it; return the exit status."""
        place, out = self._place, self._visit.out
        if out.for_people:
            from_line = f", from line {self._began_at + 1:,} on" if self._began_at else ""
            out.line(f"{place.accepted:,} tasks of {place.line:,} lines submitted{from_line}.")
        else:
            bad = [{"line": number, "message": why} for number, why in self._bad]
            out.value(
                {
                    "lines": place.line,
                    "submitted": place.accepted,
                    "rejected": place.rejected,
                    "resumed_after": self._began_at,
                    "first_rejected": bad,
                }
            )
        self._tell_bad()
        return REFUSED if place.rejected else OK

    def _tell_bad(self) -> None:
        for number, why in self._bad:
            complain(f"line {number}: {why}")
        more = self._place.rejected - len(self._bad)
        if more:
            where = "" if self._plan.rejects is None else f"; all are in {self._plan.rejects}"
            complain(f"and {more:,} more bad lines{where}")


def _is_passing(error: TaskQueueError) -> bool:
    """Whether the same line may be accepted later."""
    return error.retry_after_s is not None or isinstance(error, (ConnectionLost, AnswerTimedOut))
