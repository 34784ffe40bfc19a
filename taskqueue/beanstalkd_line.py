"""
The command line of beanstalkd, as settings of ours: what starts a beanstalkd can start
this broker instead.  It imports nothing that takes its time.

Its options are read as beanstalkd 1.12 reads them: one letter each, several behind one
dash, a value behind its letter or after it; and what it would complain of is complained
of in its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

MIB = 1024 * 1024
GIB = 1024 * MIB

#: What is different from our own defaults, as who starts a beanstalkd expects it: nothing
#: else listens, what is deleted is gone, what is buried stays, and of bounds there are but
#: those of the machine.  The file, the environment and C{--set} go before these.
DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "listen.framed": "",
        "http.listen": "",
        "store.kind": "memory",
        "broker.queue_depth_threshold": "1000000000",
        "broker.max_held_bytes": "1 TiB",
        "limits.max_queues": "1000000",
        "limits.max_types": "10000000",
        "limits.max_waiting_claims": "100000000",
        "limits.max_requests_per_s": "0",
        "retention.completed_s": "0",
        "retention.cancelled_s": "0",
        "retention.expired_s": "0",
        "retention.dead_letter_s": "forever",
        "retention.sweep_interval_s": "1",
        "retention.sweep_batch": "100000",
        "log.level": "warn",
    }
)

#: As L{DEFAULTS}, where jobs are in memory only: nothing outlives the process, so no reply waits.
#: What changes is taken down as it comes, in small pieces that hold up nobody.
IN_MEMORY: Mapping[str, str] = MappingProxyType(
    {"store.durability": "none", "store.sync_interval_ms": "20"}
)

#: What clients may take it for.
VERSION = "1.12"

PORT = "11300"

#: Where it listens unless C{-l} says otherwise: beanstalkd's own answer is all addresses.
ADDRESS = "127.0.0.1"

#: How often changes are synced to disk where C{-b} is given and nothing is said, ms.
SYNC_MS = 50
LONGEST_SYNC_MS = 60_000

#: One byte less than beanstalkd's: the largest frame, which is larger than a payload, has 1 GiB.
LARGEST_JOB_BYTES = GIB - 1
DEFAULT_JOB_BYTES = 65535

#: A payload as large as this, and what frames add to it, is allowed by our own defaults.
_ROOM_FOR_PAYLOADS_BYTES = 10 * MIB
_FRAME_OVERHEAD_BYTES = MIB

#: How many connections there may be, where the process may have as many open files.
MOST_CONNECTIONS = 10_000

#: Status of a process that was called wrongly, and of one that cannot become a user.
USAGE_STATUS = 5
USER_STATUS = 33

USAGE = f"""\
Use: twistd -n taskqueue --beanstalkd [OPTIONS]

Options:
 -b DIR   keep jobs in directory DIR (default is in memory only)
 -f MS    sync to disk at most once every MS milliseconds (default is {SYNC_MS}ms);
          use -f0 for "before each answer"
 -F       never sync to disk
 -l ADDR  listen on address, or unix:PATH (default is {ADDRESS})
 -p PORT  listen on port (default is {PORT})
 -u USER  become user and group
 -z BYTES set the maximum job size in bytes (default is {DEFAULT_JOB_BYTES});
          max allowed is {LARGEST_JOB_BYTES} bytes
 -s BYTES has no effect here
 -v       show version information
 -V       increase verbosity; twice: more of it
 -h       show this help

The long options of `twistd taskqueue` may be given too, as in --http tcp:7781.
"""

_WITH_VALUE = "bflpuzs"
_WITHOUT_VALUE = "FvVhcn"
_LEVELS = ("warn", "info", "debug")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,18}", re.ASCII)


class BadLine(ValueError):
    """A command line that beanstalkd would not take."""


class BeanstalkdLine:
    """
    What a command line of beanstalkd asks for.

    @ivar settings: C{"section.key"} to text, of what was said.
    @ivar user: whom to become; C{None}: nobody else.
    @ivar wanted: C{"help"} or C{"version"} where nothing but that is to be printed; else empty.
    @ivar warnings: what is to be told, although it keeps nothing from starting.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """
        @param arguments: beanstalkd's options only.
        @raises BadLine: one of them cannot be.
        """
        self.settings: dict[str, str] = {}
        self.user: str | None = None
        self.wanted = ""
        self.warnings: list[str] = []
        self._address, self._port = "", PORT
        self._level = 0
        self._sync = {"store.durability": "interval", "store.sync_interval_ms": str(SYNC_MS)}
        for letter, value in _taken_apart(arguments):
            getattr(self, f"_take_{letter}")(value)
            if self.wanted:
                return
        if "store.path" in self.settings:
            self.settings.update(self._sync)
        self._listen()
        if self._level:
            self.settings["log.level"] = _LEVELS[min(self._level, 2)]

    @property
    def tcp(self) -> tuple[str, int] | None:
        """Address and port where it listens; C{None} for a Unix socket, or an address of IPv6."""
        address = self._address or ADDRESS
        return None if ":" in address else (address, int(self._port))

    @staticmethod
    def listening(endpoint: str) -> dict[str, str]:
        """The settings that say where to listen: whoever says it wants it to be reached there."""
        return {"listen.beanstalkd": f'"{endpoint}"', "beanstalkd.open_to_network": "yes"}

    def _listen(self) -> None:
        address = self._address or ADDRESS
        if address.startswith("unix:"):
            endpoint = f"unix:{escaped(address.removeprefix('unix:'))}"
        else:
            endpoint = f"tcp:{self._port}:interface={escaped(address)}"
        self.settings.update(self.listening(endpoint))

    def _take_b(self, value: str) -> None:
        self.settings.update({"store.kind": "sqlite", "store.path": value})

    def _take_f(self, value: str) -> None:
        ms = _size(value)
        if ms == 0:
            self._sync = {"store.durability": "fsync"}
        else:
            self._sync = {
                "store.durability": "interval",
                "store.sync_interval_ms": str(min(ms, LONGEST_SYNC_MS)),
            }

    def _take_F(self, value: str) -> None:
        self._sync = {"store.durability": "none"}

    def _take_l(self, value: str) -> None:
        if value in ("", "unix:") or '"' in value or not value.isprintable():
            raise BadLine(f"invalid address: {value!r}")
        self._address = value

    def _take_p(self, value: str) -> None:
        if _PORT.fullmatch(value) is None or int(value) > 65535:
            raise BadLine(f"invalid port: {value}")
        self._port = str(int(value))

    def _take_s(self, value: str) -> None:
        _size(value)

    def _take_u(self, value: str) -> None:
        self.user = value

    def _take_z(self, value: str) -> None:
        size = _size(value)
        if size > LARGEST_JOB_BYTES:
            self.warnings.append(f"maximum job size was set to {LARGEST_JOB_BYTES}")
            size = LARGEST_JOB_BYTES
        self.settings["beanstalkd.max_job_bytes"] = str(max(size, 1))
        if size > _ROOM_FOR_PAYLOADS_BYTES:
            self.settings["limits.max_payload_bytes"] = str(size)
            largest = str(min(size + _FRAME_OVERHEAD_BYTES, GIB))
            for key in ("max_frame_bytes", "max_outbound_bytes", "max_buffered_bytes"):
                self.settings[f"limits.{key}"] = largest

    def _take_V(self, value: str) -> None:
        self._level += 1

    def _take_v(self, value: str) -> None:
        self.wanted = "version"

    def _take_h(self, value: str) -> None:
        self.wanted = "help"

    def _take_c(self, value: str) -> None:
        self.warnings.append("-c flag was removed. binlog is always compacted.")

    def _take_n(self, value: str) -> None:
        self.warnings.append("-n flag was removed. binlog is always compacted.")


def split(arguments: Sequence[str], with_value: Iterable[str]) -> tuple[list[str], list[str]]:
    """
    Our own options among the arguments, which are long ones, and those of beanstalkd.

    @param with_value: the names of our options that have a value, which may follow them.
    """
    names = tuple(with_value)
    ours: list[str] = []
    theirs: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            theirs.append(argument)
            # A value may begin with dashes too.
            if rest and _wants_value(argument):
                theirs.append(rest.pop(0))
            continue
        ours.append(argument)
        if argument[2:] in names and rest:
            ours.append(rest.pop(0))
    return ours, theirs


def _wants_value(argument: str) -> bool:
    """Whether what follows an argument is the value of its last letter."""
    if not argument.startswith("-"):
        return False
    first = next((at for at, letter in enumerate(argument) if letter in _WITH_VALUE), None)
    return first == len(argument) - 1


def _taken_apart(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Letter and value of each option; the value is empty where it has none."""
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            raise BadLine(f"unknown argument: {argument}")
        letters = argument[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _WITHOUT_VALUE:
                yield letter, ""
            elif letter not in _WITH_VALUE:
                raise BadLine(f"unknown flag: -{letter}")
            elif not (letters or rest):
                raise BadLine(f"flag requires an argument: -{letter}")
            else:
                yield letter, letters or rest.pop(0)
                letters = ""


def _size(text: str) -> int:
    if _SIZE.fullmatch(text) is None:
        raise BadLine(f"invalid size: {text}")
    return int(text)


def escaped(text: str) -> str:
    """As a part of an endpoint string."""
    for character in ("\\", ":", "="):
        text = text.replace(character, f"\\{character}")
    return text
