"""
What the log looks like, under C{twistd} and under C{twist}.

Both commands choose their log observer after the options of the service have
been read and before the first event: C{twist} from its own options, C{twistd}
from what the application carries as its C{ILogObserver}.  So the configuration's
C{[log]} section is put into effect there (L{fill_in}, L{add_observer}): no
observer is added beside another or taken away, and the very first line has the
right form.  An application that embeds the broker chooses its own observers,
and nothing here touches them.
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from json import dumps
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    textFileLogObserver,
)
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.python.reflect import qual, safe_str

#: What L{event_as_json} writes itself; a field of that name gets an underscore.
OWN_FIELDS = frozenset({"time", "level", "namespace", "message", "failure", "traceback"})

#: What Twisted adds to events for observers of the old kind.
_LEGACY_FIELDS = frozenset({"time", "message", "isError", "format", "system", "why", "failure"})

#: Containers deeper than this are written as text: they may contain themselves.
_DEEPEST = 5

_JSON_INTEGERS = 2**63

#: Runs a function in the reactor's thread, from a signal handler.
FromSignal = Callable[[Callable[[], object]], object]


class LogSettings:
    """
    Level and format of one process's log; the level can change while it runs.

    @param level: C{"debug"}, C{"info"}, C{"warn"}, C{"error"} or C{"critical"}.
    @param format: C{"text"} or C{"json"}.
    """

    def __init__(self, level: str, format: str) -> None:
        self._predicate = LogLevelFilterPredicate()
        self._format = format
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Log events of this level and above from now on."""
        self._predicate.setLogLevelForNamespace("", LogLevel.levelWithName(level))

    def observer(self, out: IO[Any]) -> ILogObserver:
        """An observer that writes to a file in the chosen format."""
        if self._format == "json":
            return self.filtered(FileLogObserver(out, event_as_json))
        return self.filtered(textFileLogObserver(out))

    def filtered(self, observer: ILogObserver) -> ILogObserver:
        """An observer that passes on what the level allows."""
        return FilteringLogObserver(observer, [self._predicate])


def is_twist(command: Mapping[str, Any]) -> bool:
    """Whether these are the options of C{twist}."""
    return "fileLogObserverFactory" in command


def is_twistd(command: Mapping[str, Any]) -> bool:
    """Whether these are the options of C{twistd}."""
    return "logfile" in command


def is_shown(command: Mapping[str, Any]) -> bool:
    """Whether who gives this command, C{twist} or C{twistd}, sees the log."""
    if is_twist(command):
        return command["logFile"] in (sys.stdout, sys.stderr)
    elsewhere = command.get("syslog") or command.get("logger") or not command.get("nodaemon")
    return not elsewhere and command["logfile"] in (None, "", "-")


def fill_in(settings: LogSettings, command: MutableMapping[str, Any]) -> None:
    """Make C{twist}, whose options these are, log as C{settings} say."""
    command["fileLogObserverFactory"] = settings.observer
    # Its own filter comes before ours, which alone is to decide.
    command["logLevel"] = LogLevel.debug


def add_observer(
    settings: LogSettings,
    options: Mapping[str, Any],
    application: Componentized,
    from_signal: FromSignal,
) -> None:
    """
    Make C{twistd} log as C{settings} say, where its options would have it log.

    An observer that the person chose with C{--logger} goes before this one.

    @param options: those of C{twistd}.
    @param application: what it is about to run.
    @param from_signal: used when a signal asks for the log file's rotation.
    """
    if not options.get("logger"):
        observer = _twistd_observer(settings, options, from_signal)
        application.setComponent(ILogObserver, observer)


def _twistd_observer(
    settings: LogSettings, options: Mapping[str, Any], from_signal: FromSignal
) -> ILogObserver:
    """What C{twistd} would write to by its options, with our format and level."""
    if options.get("syslog"):
        return settings.filtered(_syslog(options.get("prefix", "twisted")))
    path, foreground = options["logfile"], options.get("nodaemon")
    if path == "-" and not foreground:
        sys.exit("Daemons cannot log to stdout, exiting!")
    if path == "-" or (foreground and not path):
        return settings.observer(sys.stdout)
    return settings.observer(_rotating(path or "twistd.log", from_signal))


def _syslog(prefix: str) -> ILogObserver:
    from twisted.python import syslog

    observer: Any = syslog.SyslogObserver(prefix)
    return LegacyLogObserverWrapper(observer.emit)


def _rotating(path: str, from_signal: FromSignal) -> IO[Any]:
    """A log file that rotates by size, and on SIGUSR1 as under C{twistd} alone."""
    file: Any = LogFile.fromFullPath(path)
    if hasattr(signal, "SIGUSR1") and not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: from_signal(file.rotate))
    log_file: IO[Any] = file
    return log_file


# --- JSON ----------------------------------------------------------------------------------


def event_as_json(event: LogEvent) -> str:
    """
    A log event as one line of JSON.

    C{time} (RFC 3339, UTC), C{level}, C{namespace} and C{message} come first,
    then the event's own fields; for a failure C{failure} (class and message)
    and C{traceback}.  What JSON cannot carry becomes text; never an exception.
    """
    record: dict[str, Any] = {
        "time": _moment(event.get("log_time")),
        "level": getattr(event.get("log_level"), "name", None),
        "namespace": safe_str(event.get("log_namespace", "")),
        "message": formatEvent(event),
    }
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        record["failure"], record["traceback"] = _told(failure)
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY_FIELDS:
            record[f"{name}_" if name in OWN_FIELDS else name] = _plain(value, 0)
    return dumps(record, separators=(",", ":")) + "\n"


def _moment(seconds: object) -> str | None:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)  # type: ignore[arg-type]  # judged by trying
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _told(failure: Failure) -> tuple[str, str]:
    """Class and message, and the traceback, of a failure that may not want to tell."""
    name = qual(failure.type) if failure.type is not None else "unknown"
    try:
        traceback = failure.getTraceback()
    except Exception as error:
        traceback = f"(no traceback: {safe_str(error)})"
    return f"{name}: {safe_str(failure.value)}", traceback


def _plain(value: Any, depth: int) -> Any:
    """The value, or what JSON can carry of it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and -_JSON_INTEGERS <= value < _JSON_INTEGERS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if depth < _DEEPEST:
        if isinstance(value, dict):
            return {safe_str(key): _plain(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(each, depth + 1) for each in value]
    return safe_str(value)
