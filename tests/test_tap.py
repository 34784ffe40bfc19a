"""The command line of the broker, and the reload on SIGHUP."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService, MultiService
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.components import Componentized
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import __version__, systemd, tap
from taskqueue.config import BrokerConfig, Config, LimitsConfig, LogConfig, load
from taskqueue.config.endpoints import Endpoint
from taskqueue.errors import ConfigError, TaskQueueError
from taskqueue.reloading import ReloadOnHangup
from taskqueue.systemd import handed_over
from taskqueue.tap import Options, assemble

ROOT = Path(__file__).parent.parent


class FakeReactor:
    """Runs at once what it is asked to run in its thread."""

    def __init__(self) -> None:
        self.calls = 0

    def stop(self):
        """Nothing runs here."""

    def callFromThread(self, function: Any) -> None:
        self.calls += 1
        function()


class FakeBroker(MultiService):
    """Records the configurations that it is given."""

    def __init__(self, config: Config, reactor: Any) -> None:
        super().__init__()
        self.configs = [config]

    def reconfigure(self, config: Config) -> None:
        self.configs.append(config)


class CommandLine(SynchronousTestCase):
    """What the options make of the configuration."""

    def parse(self, *arguments: str, **environ: str) -> Options:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.early: list[Endpoint] = []
        self.patch(tap, "listen_early", self.early.append)
        options = Options(environ)
        options.parseOptions(list(arguments))
        return options

    def exits(self, status: int, *arguments: str, **environ: str) -> None:
        error = self.assertRaises(SystemExit, self.parse, *arguments, **environ)
        self.assertEqual(error.code, status)

    def write(self, content: str) -> str:
        path = self.mktemp()
        Path(path).write_text(content)
        return path

    def test_nothing(self) -> None:
        self.assertEqual(self.parse().config, Config())

    def test_the_real_environment_is_the_default(self) -> None:
        self.patch(os, "environ", {"TASKQUEUE_BROKER_NAME": "outside"})
        options = Options()
        options.parseOptions([])
        self.assertEqual(options.config.broker.name, "outside")

    def test_file(self) -> None:
        path = self.write("[broker]\nname = filed\n")
        self.assertEqual(self.parse("--config", path).config.broker.name, "filed")
        self.assertEqual(self.parse("-c", path).config.broker.name, "filed")
        self.assertEqual(self.parse(TASKQUEUE_CONFIG=path).config.broker.name, "filed")
        other = self.write("[broker]\nname = other\n")
        self.assertEqual(self.parse("-c", other, TASKQUEUE_CONFIG=path).config.broker.name, "other")
        self.assertEqual(self.parse(TASKQUEUE_CONFIG="").config, Config())

    def test_the_file_is_found_again_from_another_directory(self) -> None:
        path = self.write("[broker]\nname = filed\n")
        options = self.parse("-c", os.path.relpath(path))
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir("/")
        self.assertEqual(options.load().broker.name, "filed")

    def test_shortcuts(self) -> None:
        config = self.parse(
            "--listen=tcp:1",
            '--listen="unix:/a,b"',
            "--lines=tcp:2",
            "--http=tcp:3",
            "--data-dir=/var/x, y",
            "--durability=interval",
            "--log-level=debug",
            "--set=limits.max_connections=5",
            "--set=queues.a.b.paused = yes",
        ).config
        self.assertEqual(config.listen.framed, ("tcp:1", "unix:/a,b"))
        self.assertEqual(config.listen.lines, ("tcp:2",))
        self.assertEqual(config.http.listen, ("tcp:3",))
        self.assertEqual((config.store.path, config.store.durability), ("/var/x, y", "interval"))
        self.assertEqual(config.log.level, "debug")
        self.assertEqual(config.limits.max_connections, 5)
        self.assertTrue(config.queues["a.b"].paused)

    def test_as_beanstalkd(self) -> None:
        options = self.parse("--beanstalkd", "-p", "7", "--http", "tcp:8", "-VV", "-b", "/d")
        config = options.config
        self.assertEqual(config.listen.beanstalkd, ("tcp:7:interface=127.0.0.1",))
        self.assertEqual((config.listen.framed, config.http.listen), ((), ("tcp:8",)))
        self.assertEqual((config.store.path, config.log.level), ("/d", "debug"))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.assertIn(config.limits.max_connections, (10_000, most - 128))
        self.assertEqual(options.load(), config)
        [endpoint] = self.early
        self.assertEqual(endpoint.arguments["port"], "7")

    def test_who_only_looks_listens_nowhere(self) -> None:
        self.exits(0, "--beanstalkd", "-p", "7", "--check-config")
        self.parse("--listen=tcp:7780")
        self.assertEqual(self.early, [])

    def test_as_beanstalkd_with_more_to_say(self) -> None:
        path = self.write("[retention]\ncompleted_s = 9\n[broker]\nname = filed\n")
        config = self.parse(
            "--beanstalkd", "--config", path, "--set", "listen.beanstalkd=unix:/b.sock"
        ).config
        self.assertEqual((config.retention.completed_s, config.broker.name), (9.0, "filed"))
        self.assertEqual(config.listen.beanstalkd, ("unix:/b.sock",))
        self.assertEqual(config.retention.cancelled_s, 0.0)

    def test_as_beanstalkd_in_memory(self) -> None:
        """No reply waits for a store that nothing outlives; on disk, what is said counts."""
        self.assertEqual(self.parse("--beanstalkd").config.store.durability, "none")
        on_disk = self.write("[store]\nkind = sqlite\npath = /d\n")
        config = self.parse("--beanstalkd", "--config", on_disk).config
        self.assertEqual((config.store.durability, config.store.sync_interval_ms), ("fsync", 100))
        said = self.parse("--beanstalkd", "--set", "store.durability=fsync").config
        self.assertEqual((said.store.kind, said.store.durability), ("memory", "fsync"))

    def test_as_beanstalkd_where_systemd_listens(self) -> None:
        with socket.socket() as given:
            self.patch(systemd, "handed_over", lambda environ: handed_over(environ, given.fileno()))
            environ = {"LISTEN_FDNAMES": "a", "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
            config = self.parse("--beanstalkd", "-p", "7", **environ).config
        self.assertEqual(config.listen.beanstalkd, ("systemd:domain=INET:index=0",))

    def test_what_beanstalkd_prints(self) -> None:
        self.exits(0, "--beanstalkd", "-v", "-x")
        self.assertEqual(self.out.getvalue(), f"beanstalkd 1.12 (taskqueue {__version__})\n")
        self.exits(0, "--beanstalkd", "-h")
        self.assertIn(" -z BYTES set the maximum job size in bytes", self.out.getvalue())
        self.exits(5, "--beanstalkd", "-x")
        self.assertTrue(self.err.getvalue().startswith("taskqueue: unknown flag: -x\nUse: "))
        self.assertEqual(self.out.getvalue(), "")
        self.parse("--beanstalkd", "-n")
        self.assertIn("-n flag was removed", self.err.getvalue())
        self.exits(33, "--beanstalkd", "-u", "no such")

    def test_its_options_are_not_ours(self) -> None:
        self.assertRaises(UsageError, self.parse, "-p", "7")

    def test_nowhere(self) -> None:
        config = self.parse("--listen=", "--http=", "--lines=tcp:1").config
        self.assertEqual((config.listen.framed, config.http.listen), ((), ()))

    def test_the_command_line_wins(self) -> None:
        config = self.parse("--log-level=warn", TASKQUEUE_LOG_LEVEL="error").config
        self.assertEqual(config.log.level, "warn")

    def test_set_without_a_value(self) -> None:
        error = self.assertRaises(UsageError, self.parse, "--set", "broker.name")
        self.assertIn("write --set section.key=value", str(error))

    def test_check(self) -> None:
        self.exits(0, "--check-config")
        self.assertEqual((self.out.getvalue(), self.err.getvalue()), ("configuration ok\n", ""))

    def test_problems(self) -> None:
        path = self.write("[broker]\nlease_s = x\nfoo = 1\n")
        for arguments in ([], ["--check-config"], ["--print-config"]):
            self.exits(1, "-c", path, *arguments)
            self.assertEqual(self.out.getvalue(), "")
            lines = self.err.getvalue().splitlines()
            self.assertEqual(len(lines), 2, lines)
            self.assertTrue(lines[0].startswith(f"{os.path.abspath(path)} line 2: "), lines[0])

    def test_print(self) -> None:
        self.exits(0, "--print-config", "--set=broker.name=printed", "--listen=tcp:1,tcp:2")
        config = load(self.write(self.out.getvalue()))
        self.assertEqual(config.broker.name, "printed")

    def test_help_names_every_option(self) -> None:
        text = str(Options({}))
        for name in ("config", "set", "listen", "lines", "http", "data-dir", "durability"):
            self.assertIn(f"--{name}", text)

    def test_twist_is_told_how_to_log(self) -> None:
        command = UsageOptions()
        command["fileLogObserverFactory"] = None
        options = Options({"TASKQUEUE_LOG_LEVEL": "error"})
        options.parent = command
        options.parseOptions([])
        self.assertEqual(command["logLevel"], LogLevel.debug)
        self.assertEqual(command["fileLogObserverFactory"], options.log.observer)


class Service(SynchronousTestCase):
    """What the command runs."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        Path(self.path).write_text("[broker]\nmax_lost = 4\n")
        self.options = Options({})
        self.options.parseOptions(["-c", self.path])
        self.reactor = FakeReactor()
        self.root = assemble(self.options, self.reactor, FakeBroker)
        self.broker: Any = next(s for s in self.root if isinstance(s, FakeBroker))

    def test_started_and_stopped_with_it(self) -> None:
        self.root.startService()
        self.assertTrue(self.broker.running)
        self.root.stopService()
        self.assertFalse(self.broker.running)

    def test_large_memory_is_mapped_where_there_is_a_limit(self) -> None:
        """From the start, or from a reload on."""
        asked: list[None] = []
        self.patch(tap, "map_large_memory", lambda: asked.append(None))
        assemble(self.options, self.reactor, FakeBroker)
        self.assertEqual(len(asked), 0)
        self.root.startService()
        self.addCleanup(self.root.stopService)
        Path(self.path).write_text("[broker]\nmemory_limit = 600 MiB\n")
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(len(asked), 1)
        self.options.config = self.options.load()
        assemble(self.options, self.reactor, FakeBroker)
        self.assertEqual(len(asked), 2)

    def test_nothing_is_collected_while_it_recovers(self) -> None:
        """Whether it starts or not, it is afterwards."""
        enabled: list[bool] = []

        def start(broker: FakeBroker) -> None:
            enabled.append(gc.isenabled())
            if len(enabled) > 1:
                raise TaskQueueError("it cannot be")

        self.patch(FakeBroker, "startService", start)
        self.patch(tap, "wait_with_sigterm", lambda *given: None)
        self.addCleanup(gc.unfreeze)
        self.options.parent = UsageOptions()
        self.options.parent.update({"logfile": None, "nodaemon": 1})
        root = assemble(self.options, self.reactor, FakeBroker)
        root.setServiceParent(Application("taskqueue"))
        root.startService()
        self.assertTrue(gc.isenabled())
        self.patch(sys, "__stderr__", StringIO())
        self.assertRaises(SystemExit, root.startService)
        self.assertTrue(gc.isenabled())
        self.assertEqual(enabled, [False, False])

    def test_hangup(self) -> None:
        before = signal.getsignal(signal.SIGHUP)
        self.root.startService()
        self.addCleanup(self.root.stopService)
        Path(self.path).write_text("[broker]\nmax_lost = 6\nname = other\n[log]\nlevel = warn\n")
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.reactor.calls, 1)
        expected = Config(broker=BrokerConfig(max_lost=6), log=LogConfig(level="warn"))
        self.assertEqual(self.broker.configs[1:], [expected])
        self.root.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)
        self.root.startService()

    def test_hangup_sets_the_level(self) -> None:
        levels: list[str] = []
        self.patch(self.options.log, "set_level", levels.append)
        self.root.startService()
        self.addCleanup(self.root.stopService)
        Path(self.path).write_text("[log]\nlevel = debug\n")
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(levels, ["debug"])

    def test_twistd_is_told_how_to_log(self) -> None:
        from twisted.logger import ILogObserver

        for parent, expected in (({"logfile": None, "nodaemon": 1}, True), ({}, False)):
            self.options.parent = UsageOptions()
            self.options.parent.update(parent)
            root = assemble(self.options, self.reactor, FakeBroker)
            application: Any = Application("taskqueue")
            self.assertIsInstance(application, Componentized)
            root.setServiceParent(application)
            self.assertIs(IService(application), root.parent)
            found = application.getComponent(ILogObserver) is not None
            self.assertIs(found, expected)


class Reload(SynchronousTestCase):
    """Reading the configuration again."""

    def setUp(self) -> None:
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.applied: list[Config] = []
        self.next: Any = Config()
        self.reload = ReloadOnHangup(Config(), self.read, self.apply, lambda call: call())

    def read(self) -> Config:
        if isinstance(self.next, Config):
            return self.next
        raise self.next

    def apply(self, config: Config) -> None:
        self.applied.append(config)

    def said(self) -> list[tuple[str, str]]:
        from twisted.logger import formatEvent

        said = [
            (event["log_level"].name, formatEvent(event))
            for event in self.events
            if event.get("log_namespace", "").startswith("taskqueue")
        ]
        self.events.clear()
        return said

    def test_nothing_changed(self) -> None:
        self.reload.reload()
        self.assertEqual(self.applied, [])
        self.assertEqual(self.said(), [("info", "configuration reloaded: nothing changed")])

    def test_changes(self) -> None:
        self.next = Config(
            broker=BrokerConfig(name="other"), limits=LimitsConfig(max_connections=5)
        )
        self.reload.reload()
        self.assertEqual(self.applied, [Config(limits=LimitsConfig(max_connections=5))])
        restart = ("warn", "broker.name: 'taskqueue' stays; 'other' needs a restart")
        self.assertEqual(
            self.said(),
            [
                ("info", "configuration reloaded; settings changed: 1"),
                restart,
                ("info", "limits.max_connections: 1000 is now 5"),
            ],
        )
        self.reload.reload()  # what needs a restart still does
        self.assertEqual(self.said()[1:], [restart])

    def test_problems_change_nothing(self) -> None:
        self.next = ConfigError(["this is wrong", "and {this}"])
        self.reload.reload()
        self.assertEqual(self.applied, [])
        self.assertEqual(
            self.said(),
            [
                ("error", "configuration not reloaded: 2 problems"),
                ("error", "this is wrong"),
                ("error", "and {this}"),
            ],
        )

    def test_the_broker_fails_to_apply(self) -> None:
        self.next = Config(limits=LimitsConfig(max_connections=5))
        apply = self.reload._apply
        self.reload._apply = lambda config: 1 / 0  # type: ignore[assignment,return-value]
        self.reload.reload()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.reload._apply = apply
        self.reload.reload()  # it is not taken for applied
        self.assertEqual(self.applied, [self.next])

    def test_somebody_else_took_the_signal(self) -> None:
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.reload.startService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.reload.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_not_in_the_main_thread(self) -> None:
        before = signal.getsignal(signal.SIGHUP)
        thread = threading.Thread(target=self.reload.startService)
        thread.start()
        thread.join()
        self.reload.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)
        self.assertIn("SIGHUP will not reload", self.said()[0][1])


#: A broker that says hello, is hung up on, and stops; run by the real command.
_SCRIPT = """
import os, signal, sys
import taskqueue.application
from twisted.application.service import MultiService
from twisted.logger import Logger

class TaskQueueService(MultiService):
    log = Logger()
    def __init__(self, config, reactor):
        MultiService.__init__(self)
        self.reactor = reactor
    def startService(self):
        MultiService.startService(self)
        self.reactor.callWhenRunning(self.hello)
    def hello(self):
        self.log.debug("too early")
        self.log.info("hello", task="t1", what=object())
        with open(os.environ["CONFIG"], "a") as file:
            file.write("level = debug\\n")
        os.kill(os.getpid(), signal.SIGHUP)
    def reconfigure(self, config):
        self.reactor.callLater(0, self.last)
    def last(self):
        self.log.debug("late enough")
        self.reactor.stop()

taskqueue.application.build = TaskQueueService
if sys.argv.pop(1) == "twistd":
    from twisted.scripts.twistd import run
else:
    from twisted.application.twist._twist import Twist
    run = Twist.main
run()
"""


class Process(SynchronousTestCase):
    """The real commands."""

    def run_command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _SCRIPT, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_check(self) -> None:
        done = self.run_command("twistd", "-n", "taskqueue", "--check-config")
        self.assertEqual((done.returncode, done.stdout), (0, "configuration ok\n"), done.stderr)

    def test_a_bad_configuration(self) -> None:
        for command in (["twistd", "-n", "--pidfile="], ["twist"]):
            done = self.run_command(*command, "taskqueue", "--log-level=loud", "--set=a.b=c")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(done.stdout, "")
            lines = done.stderr.splitlines()
            self.assertEqual(len(lines), 2, lines)
            self.assertIn("[log] level = 'loud'", "".join(lines))

    def test_log_and_hangup(self) -> None:
        for command in (["twistd", "-n", "--pidfile="], ["twist"]):
            path = os.path.abspath(self.mktemp())
            Path(path).write_text("[log]\nformat = json\n")
            done = self.run_command(*command, "taskqueue", "-c", path, CONFIG=path)
            self.assertEqual(done.returncode, 0, done.stderr)
            records = [json.loads(line) for line in done.stdout.splitlines()]
            messages = [record["message"] for record in records]
            self.assertNotIn("too early", messages)
            self.assertIn("late enough", messages)
            self.assertIn("log.level: 'info' is now 'debug'", messages)
            hello = records[messages.index("hello")]
            self.assertEqual(hello["task"], "t1")
            self.assertEqual(messages.count("hello"), 1)

    def test_text(self) -> None:
        path = os.path.abspath(self.mktemp())
        Path(path).write_text("[log]\n")
        done = self.run_command("twist", "taskqueue", "-c", path, CONFIG=path)
        self.assertIn("TaskQueueService#info] hello\n", done.stdout, done.stderr)
