r"""
The commands of beanstalkd's protocol: what a line says.

The document is C{doc/protocol.txt} of beanstalkd 1.12.  Where it leaves something open (blanks,
what follows a number, which command a line is that begins like two of them), its server decides,
and lines are read here as it reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

#: How long a line may be, without its end: 224 bytes with it.
MAX_LINE_BYTES = 222

#: How long the name of a tube may be.
MAX_TUBE_BYTES = 200

#: The verb of a command that was not understood: its C{body} is what is replied.
REFUSED = "refused"

BAD_FORMAT = b"BAD_FORMAT\r\n"
EXPECTED_CRLF = b"EXPECTED_CRLF\r\n"
JOB_TOO_BIG = b"JOB_TOO_BIG\r\n"
UNKNOWN_COMMAND = b"UNKNOWN_COMMAND\r\n"

_MAX_U32 = 2**32 - 1
_MAX_U64 = 2**64 - 1


class Command(NamedTuple):
    """
    One command, read and checked.

    @ivar verb: its first word, or L{REFUSED}.
    @ivar number: the id of a job; the bound of C{kick}; of C{put}, how long the body is; of
        C{reserve}, for how many seconds it waits, below 0 for as long as it takes.
    @ivar priority: 0 is most urgent.
    @ivar delay_s: of C{pause-tube} too.
    @ivar counted: the verb that statistics count this as, empty for none.
    """

    verb: str
    number: int = 0
    priority: int = 0
    delay_s: int = 0
    ttr_s: int = 0
    tube: str = ""
    body: bytes = b""
    counted: str = ""


def refused(reply: bytes, counted: str = "") -> Command:
    """What is not carried out, but answered with C{reply}."""
    return Command(REFUSED, body=reply, counted=counted)


_UNKNOWN = refused(UNKNOWN_COMMAND)
_MALFORMED = refused(BAD_FORMAT)

_NAME = rb"[A-Za-z0-9+/;.$_()][A-Za-z0-9+/;.$_()-]{0,%d}" % (MAX_TUBE_BYTES - 1)
_TUBE = re.compile(_NAME)
_PAUSE = re.compile(rb" *(%b) +([0-9]+)" % _NAME)
_NUMBERS = {
    count: re.compile(rb" *([0-9]+)" + rb" +([0-9]+)" * (count - 1)) for count in (1, 2, 3, 4)
}
_SECONDS = re.compile(rb" *(-?[0-9]+)")
#: As C{strtoul} reads it.
_BOUND = re.compile(rb"[ \t\v\f]*([+-]?[0-9]+)")


def _numbers(rest: bytes, most: tuple[int, ...]) -> list[int] | None:
    """As many numbers as C{most} has, each up to that, and nothing else."""
    found = _NUMBERS[len(most)].fullmatch(rest)
    if found is None:
        return None
    numbers = [int(text) for text in found.groups()]
    return numbers if all(map(int.__le__, numbers, most)) else None


def _job(verb: str) -> Callable[[bytes], Command]:
    """Reads what a command says that names one job."""

    def read(rest: bytes) -> Command:
        found = _numbers(rest, (_MAX_U64,))
        return _MALFORMED if found is None else Command(verb, found[0], counted=verb)

    return read


def _tube(verb: str) -> Callable[[bytes], Command]:
    """Reads what a command says that names one tube."""

    def read(rest: bytes) -> Command:
        if _TUBE.fullmatch(rest) is None:
            return _MALFORMED
        return Command(verb, tube=rest.decode("ascii"), counted=verb)

    return read


def _alone(verb: str, number: int = 0) -> Callable[[bytes], Command]:
    """Reads what a command says that says nothing more."""
    command = Command(verb, number, counted=verb)
    return lambda rest: _MALFORMED if rest else command


def _put(rest: bytes) -> Command:
    """The head of a C{put}: its body follows."""
    found = _NUMBERS[4].match(rest)
    if found is None:
        return _MALFORMED
    priority, delay_s, ttr_s, size = map(int, found.groups())
    if max(priority, delay_s, ttr_s, size) > _MAX_U32:
        return _MALFORMED
    # Of a job that is too big, what follows the size is not looked at: its body is skipped.
    tail = rest[found.end() :]
    return Command("put", size, priority, delay_s, max(ttr_s, 1), body=tail, counted="put")


def _release(rest: bytes) -> Command:
    found = _numbers(rest, (_MAX_U64, _MAX_U32, _MAX_U32))
    if found is None:
        return _MALFORMED
    number, priority, delay_s = found
    return Command("release", number, priority, delay_s, counted="release")


def _bury(rest: bytes) -> Command:
    found = _numbers(rest, (_MAX_U64, _MAX_U32))
    if found is None:
        return _MALFORMED
    number, priority = found
    return Command("bury", number, priority, counted="bury")


def _reserve_with_timeout(rest: bytes) -> Command:
    found = _SECONDS.match(rest)
    if found is None or not -(2**63) <= (seconds := int(found[1])) < 2**63:
        return _MALFORMED
    seconds = (seconds + 2**31) % 2**32 - 2**31  # as 1.12, which keeps it in an int of 32 bits
    return Command("reserve", max(seconds, -1), counted="reserve-with-timeout")


def _kick(rest: bytes) -> Command:
    found = _BOUND.match(rest)
    bound = _MAX_U64 + 1 if found is None else int(found[1])
    if abs(bound) > _MAX_U64:
        return _MALFORMED
    return Command("kick", bound & _MAX_U32, counted="kick")


def _pause_tube(rest: bytes) -> Command:
    found = _PAUSE.fullmatch(rest)
    if found is None or (delay_s := int(found[2])) > _MAX_U32:
        return _MALFORMED
    tube = found[1].decode("ascii")
    return Command("pause-tube", delay_s=delay_s, tube=tube, counted="pause-tube")


#: How each command begins, and what reads the rest of its line.  The first that fits counts.
_READERS: tuple[tuple[bytes, Callable[[bytes], Command]], ...] = (
    (b"put ", _put),
    (b"peek ", _job("peek")),
    (b"peek-ready", _alone("peek-ready")),
    (b"peek-delayed", _alone("peek-delayed")),
    (b"peek-buried", _alone("peek-buried")),
    (b"reserve-with-timeout ", _reserve_with_timeout),
    (b"reserve-job ", _job("reserve-job")),
    (b"reserve", _alone("reserve", -1)),
    (b"delete ", _job("delete")),
    (b"release ", _release),
    (b"bury ", _bury),
    (b"kick ", _kick),
    (b"kick-job ", _job("kick-job")),
    (b"touch ", _job("touch")),
    (b"stats-job ", _job("stats-job")),
    (b"stats-tube ", _tube("stats-tube")),
    (b"stats", _alone("stats")),
    (b"use ", _tube("use")),
    (b"watch ", _tube("watch")),
    (b"ignore ", _tube("ignore")),
    (b"list-tubes-watched", _alone("list-tubes-watched")),
    (b"list-tube-used", _alone("list-tube-used")),
    (b"list-tubes", _alone("list-tubes")),
    (b"quit", lambda _: Command("quit")),
    (b"pause-tube", _pause_tube),
)


def _by_letter() -> Mapping[int, tuple[tuple[bytes, Callable[[bytes], Command]], ...]]:
    """The readers by the first letter of what they read."""
    letters = {word[0] for word, _ in _READERS}
    return {letter: tuple(r for r in _READERS if r[0][0] == letter) for letter in letters}


_BY_LETTER = _by_letter()


@lru_cache(maxsize=1024)
def read_line(line: bytes) -> Command:
    """
    Read a line, without its end.  Programs say the same ones again and again: some are
    remembered.

    @param line: of L{MAX_LINE_BYTES} at most.
    @return: the command, as far as it goes: of a C{put}, the body is yet to come, and what
        C{Command.body} holds stood behind the size, where nothing should.
    """
    if b"\0" in line:
        return _MALFORMED
    for word, read in _BY_LETTER.get(line[0], ()) if line else ():
        if line.startswith(word):
            return read(line[len(word) :])
    return _UNKNOWN
