"""What the log looks like."""

from __future__ import annotations

import json
import signal
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.logs import LogSettings, add_observer, event_as_json, fill_in, is_twist, is_twistd


def told(event: LogEvent) -> dict[str, Any]:
    """The event as a log collector sees it."""
    text = event_as_json(event)
    assert text.endswith("\n") and text.count("\n") == 1, text
    record: dict[str, Any] = json.loads(text, parse_constant=lambda name: 1 / 0)
    return record


class Unwilling:
    """An object that will not be looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Json(SynchronousTestCase):
    """Events as lines of JSON."""

    def test_own_fields_first(self) -> None:
        record = told(
            {
                "log_time": 1.5,
                "log_level": LogLevel.warn,
                "log_namespace": "taskqueue.service",
                "log_format": "task {task} on {connection}",
                "log_logger": object(),
                "task": "t1",
                "connection": 7,
            }
        )
        self.assertEqual(
            list(record.items()),
            [
                ("time", "1970-01-01T00:00:01.500000Z"),
                ("level", "warn"),
                ("namespace", "taskqueue.service"),
                ("message", "task t1 on 7"),
                ("task", "t1"),
                ("connection", 7),
            ],
        )

    def test_failure(self) -> None:
        try:
            raise ValueError("no such thing")
        except ValueError:
            failure = Failure()
        record = told({"log_format": "it failed", "log_failure": failure})
        self.assertEqual(record["message"], "it failed")
        self.assertEqual(record["failure"], "builtins.ValueError: no such thing")
        self.assertIn("test_logs.py", record["traceback"])

    def test_failure_that_will_not_tell(self) -> None:
        failure = Failure(RuntimeError(Unwilling()))
        failure.getTraceback = Unwilling.__repr__  # type: ignore[assignment]  # breaks it
        record = told({"log_failure": failure})
        self.assertIn("builtins.RuntimeError", record["failure"])
        self.assertIn("no traceback", record["traceback"])

    def test_what_json_cannot_carry(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        record = told(
            {
                "nan": float("nan"),
                "infinite": float("inf"),
                "bytes": b"a\xff\n",
                "huge": 10**5000,
                "object": Unwilling(),
                "loop": loop,
                "mapping": {1: {2: Unwilling()}},
                "set": {3},
                "surrogate": "\ud800",
            }
        )
        self.assertEqual((record["nan"], record["infinite"]), ("nan", "inf"))
        self.assertEqual(record["bytes"], "a\\xff\n")
        self.assertIsInstance(record["huge"], str)
        self.assertIn("Unwilling", record["object"])
        self.assertIn("Unwilling", record["mapping"]["1"]["2"])
        self.assertEqual(record["set"], [3])

    def test_a_field_called_like_one_of_ours(self) -> None:
        record = told({"log_format": "hello", "level": "high", "namespace": "n", "traceback": 1})
        self.assertEqual(record["level"], None)
        self.assertEqual(record["level_"], "high")
        self.assertEqual(record["namespace_"], "n")
        self.assertEqual(record["traceback_"], 1)

    def test_no_moment(self) -> None:
        for moment in (None, float("nan"), 1e300, "now"):
            self.assertIsNone(told({"log_time": moment})["time"])

    def test_an_event_of_the_old_kind(self) -> None:
        record = told(
            {
                "log_format": "{log_text}",
                "log_text": "hello",
                "log_level": LogLevel.info,
                "message": ("hello",),
                "isError": 0,
                "system": "-",
                "time": 1.0,
            }
        )
        self.assertEqual(set(record), {"time", "level", "namespace", "message"})
        self.assertEqual(record["message"], "hello")

    _values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )

    @settings(derandomize=True, deadline=None)
    @given(st.dictionaries(st.text(), _values))
    def test_always_one_object_a_line(self, event: dict[str, Any]) -> None:
        self.assertLessEqual({"time", "level", "namespace", "message"}, set(told(event)))


class Settings(SynchronousTestCase):
    """Level and format."""

    def logger(self, level: str, format: str) -> tuple[LogSettings, Logger, StringIO]:
        chosen, out = LogSettings(level, format), StringIO()
        return chosen, Logger("test", observer=chosen.observer(out)), out

    def test_text(self) -> None:
        _, log, out = self.logger("info", "text")
        log.info("hello {name}", name="you")
        self.assertTrue(out.getvalue().endswith("[test#info] hello you\n"), out.getvalue())

    def test_json(self) -> None:
        _, log, out = self.logger("info", "json")
        log.info("hello {name}", name="you")
        self.assertEqual(json.loads(out.getvalue())["name"], "you")
        self.assertTrue(out.getvalue().startswith("{"))

    def test_level(self) -> None:
        for format in ("text", "json"):
            chosen, source, out = self.logger("warn", format)
            source.info("one")
            source.warn("two")
            chosen.set_level("debug")
            source.debug("three")
            chosen.set_level("critical")
            source.error("four")
            found = [word for word in ("one", "two", "three", "four") if word in out.getvalue()]
            self.assertEqual(found, ["two", "three"])


class Twist(SynchronousTestCase):
    """The options of twist."""

    def test_filled_in(self) -> None:
        options: dict[str, Any] = {"fileLogObserverFactory": None, "logLevel": LogLevel.info}
        self.assertTrue(is_twist(options))
        self.assertFalse(is_twistd(options))
        fill_in(LogSettings("debug", "json"), options)
        out = StringIO()
        Logger("test", observer=options["fileLogObserverFactory"](out)).debug("hello")
        self.assertEqual(json.loads(out.getvalue())["message"], "hello")
        self.assertEqual(options["logLevel"], LogLevel.debug)


class Twistd(SynchronousTestCase):
    """Where twistd would log to by its options."""

    def log(self, **options: Any) -> None:
        """Log one line as the command with these options would."""
        application = Componentized()
        given = {"logfile": None, **options}
        self.assertTrue(is_twistd(given))
        self.assertFalse(is_twist(given))
        add_observer(LogSettings("info", "json"), given, application, lambda rotate: rotate())
        self.observer = application.getComponent(ILogObserver)
        if self.observer is not None:
            log = Logger("test", observer=self.observer)
            log.info("hello")
            log.debug("hush")

    def test_standard_output(self) -> None:
        for options in ({"nodaemon": True}, {"nodaemon": True, "logfile": "-"}):
            out = StringIO()
            self.patch(sys, "stdout", out)
            self.log(**options)
            self.assertEqual(json.loads(out.getvalue())["message"], "hello")

    def test_a_daemon_has_no_standard_output(self) -> None:
        error = self.assertRaises(SystemExit, self.log, logfile="-", nodaemon=False)
        self.assertIn("cannot log to stdout", str(error))

    def test_file_that_rotates_on_a_signal(self) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        path = self.mktemp()
        self.log(logfile=path, nodaemon=True)
        self.assertEqual(json.loads(Path(path).read_text())["message"], "hello")
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(Path(path).read_text(), "")
        self.assertEqual(json.loads(Path(path + ".1").read_text())["message"], "hello")

    def test_a_signal_that_is_taken_stays_so(self) -> None:
        before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        self.log(logfile=self.mktemp())
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_syslog(self) -> None:
        from twisted.python import syslog

        said: list[Any] = []

        class Observer:
            def __init__(self, prefix: str) -> None:
                said.append(prefix)

            def emit(self, event: Any) -> None:
                said.append(event["log_format"])

        self.patch(syslog, "SyslogObserver", Observer)
        self.log(syslog=True, prefix="broker")
        self.assertEqual(said, ["broker", "hello"])

    def test_an_observer_of_ones_own(self) -> None:
        self.log(logger="somebody.elses")
        self.assertIsNone(self.observer)
