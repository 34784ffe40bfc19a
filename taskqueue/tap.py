"""
What C{twistd taskqueue} and C{twist taskqueue} run: the options, and the service.
The only module that imports the reactor.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from socket import socket
from typing import Any

from twisted.application.service import MultiService
from twisted.python import usage
from twisted.python.components import Componentized

from taskqueue import __version__, beanstalkd_line
from taskqueue.config import (
    Config,
    as_text,
    load,
)
from taskqueue.config.endpoints import parse_endpoint
from taskqueue.errors import ConfigError, TaskQueueError
from taskqueue.logs import FromSignal, LogSettings, add_observer, fill_in, is_twist, is_twistd
from taskqueue.polling import poll_busily
from taskqueue.process import (
    DrainOnSignal,
    Terminal,
    become,
    collect_rarely,
    end_well_on_sigterm,
    listen_early,
    map_large_memory,
    most_connections,
    provide_files,
    refuse_to_start,
    use_monotonic_clock,
    wait_with_sigterm,
)
from taskqueue.reloading import ReloadOnHangup

_CONFIG_VARIABLE = "TASKQUEUE_CONFIG"


class Options(usage.Options):
    """
    The command line of the broker.

    @ivar config: the configuration that it and the other sources make; set
        once the options are parsed.
    @ivar log: how this process logs, as the configuration says.
    @ivar early: sockets that listen already, by the endpoints that they stand for.
    """

    longdesc = (
        "Runs the broker. A value on the command line wins over one in the environment"
        " (TASKQUEUE_<SECTION>_<KEY>), that over one in the file, that over the default."
        " On SIGHUP the configuration is read again."
    )

    optParameters = [  # noqa: RUF012  # twisted.python.usage reads it from the class
        ["config", "c", None, f"The configuration file. [default: ${_CONFIG_VARIABLE}]"],
    ]
    optFlags = [  # noqa: RUF012
        ["check-config", None, "Say whether the configuration is usable, and exit."],
        ["print-config", None, "Print the whole effective configuration, and exit."],
        ["beanstalkd", None, "Be started as beanstalkd is, by its options: see -h after this."],
    ]

    config: Config
    log: LogSettings

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._environ = dict(os.environ if environ is None else environ)
        self._overrides: dict[str, str] = {}
        self._defaults: dict[str, str] = {}
        self._framed: list[str] = []
        self._user: str | None = None
        self.early: dict[str, socket] = {}

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line; after C{--beanstalkd}, short options are beanstalkd's."""
        given = list(sys.argv[1:] if options is None else options)
        super().parseOptions(self._as_beanstalkd(given) if "--beanstalkd" in given else given)

    def _as_beanstalkd(self, given: list[str]) -> list[str]:
        """
        Take beanstalkd's options from the command line.

        @return: what is left.
        @raises SystemExit: what it asks for is done, or it is wrong.
        """
        with_value = [name.removesuffix("=") for name in self.longOpt if name.endswith("=")]
        given, theirs = beanstalkd_line.split(given, with_value)
        try:
            line = beanstalkd_line.BeanstalkdLine(theirs)
        except beanstalkd_line.BadLine as error:
            _print(sys.stderr, [f"taskqueue: {error}", beanstalkd_line.USAGE])
            raise SystemExit(beanstalkd_line.USAGE_STATUS) from None
        if line.wanted:
            version = f"beanstalkd {beanstalkd_line.VERSION} (taskqueue {__version__})"
            is_help = line.wanted == "help"
            _print(sys.stdout, [beanstalkd_line.USAGE if is_help else version])
            raise SystemExit(0)
        _print(sys.stderr, [f"taskqueue: {warning}" for warning in line.warnings])
        most = str(most_connections(beanstalkd_line.MOST_CONNECTIONS))
        limits = dict.fromkeys(("limits.max_connections", "limits.max_connections_per_peer"), most)
        self._defaults = {**beanstalkd_line.DEFAULTS, **limits}
        self._overrides.update(line.settings)
        if "LISTEN_FDS" in self._environ:
            from taskqueue.systemd import handed_over  # costs start-up time, and most have none

            if (endpoint := handed_over(self._environ)) is not None:
                self._overrides.update(line.listening(endpoint))
        self._user = line.user
        return given

    def opt_set(self, setting: str) -> None:
        """Set one value, as in --set limits.max_connections=50; may be repeated."""
        name, equals, text = setting.partition("=")
        if not equals:
            raise usage.UsageError(f"--set {setting}: write --set section.key=value")
        self._overrides[name.strip()] = text.strip()

    def opt_listen(self, endpoint: str) -> None:
        """Where programs connect, as in tcp:7780; may be repeated. (listen.framed)"""
        self._framed.append(endpoint)
        self._overrides["listen.framed"] = ", ".join(filter(None, self._framed))

    def opt_lines(self, endpoint: str) -> None:
        """Where people and scripts connect. (listen.lines)"""
        self._overrides["listen.lines"] = endpoint

    def opt_http(self, endpoint: str) -> None:
        """Where HTTP is served; empty for nowhere. (http.listen)"""
        self._overrides["http.listen"] = endpoint

    def opt_data_dir(self, path: str) -> None:
        """The directory of the task store. (store.path)"""
        self._overrides["store.path"] = path

    def opt_durability(self, word: str) -> None:
        """When an answer says accepted: fsync, interval or none. (store.durability)"""
        self._overrides["store.durability"] = word

    def opt_log_level(self, word: str) -> None:
        """What is logged: debug, info, warn, error or critical. (log.level)"""
        self._overrides["log.level"] = word

    def postOptions(self) -> None:
        """
        Read the configuration; then, for the options that only look at it, exit.

        @raises SystemExit: 0 after looking, 1 where it is not usable.
        """
        path = self["config"] or self._environ.get(_CONFIG_VARIABLE) or None
        # twistd may change its directory before the file is read again.
        self["config"] = None if path is None else os.path.abspath(path)
        try:
            self.config = self.load()
        except ConfigError as error:
            _print(sys.stderr, error.problems)
            raise SystemExit(1) from None
        if self["print-config"]:
            _print(sys.stdout, as_text(self.config).splitlines())
            raise SystemExit(0)
        if self["check-config"]:
            _print(sys.stdout, ["configuration ok"])
            raise SystemExit(0)
        self.log = LogSettings(self.config.log.level, self.config.log.format)
        if self["beanstalkd"]:
            self._listen_early()
        if self._user is not None:
            become(self._user, self.parent)
        if self.parent is not None and is_twist(self.parent):
            fill_in(self.log, self.parent)

    def _listen_early(self) -> None:
        """Scripts that start a beanstalkd connect to it a moment later."""
        for text in self.config.listen.beanstalkd:
            found = listen_early(parse_endpoint(text))
            if found is not None:
                self.early[text] = found

    def load(self) -> Config:
        """
        Read the configuration from the sources that these options name.

        @raises ConfigError: it is not usable.
        """
        sources = self["config"], self._environ, self._overrides
        config = load(*sources, self._defaults)
        if self["beanstalkd"] and config.store.kind == "memory":
            config = load(*sources, {**self._defaults, **beanstalkd_line.IN_MEMORY})
        return config


def _print(out: Any, lines: list[str]) -> None:
    out.write("".join(f"{line}\n" for line in lines))
    out.flush()


class Root(MultiService):
    """
    What the command runs: the broker and L{ReloadOnHangup}.

    @param options: the parsed options.
    @param from_signal: runs a function in the reactor's thread.
    @param stop: stops the reactor.
    """

    def __init__(self, options: Options, from_signal: FromSignal, stop: Callable[[], None]) -> None:
        super().__init__()
        self._options = options
        self._from_signal = from_signal
        self._stop = stop
        self._terminal: Terminal | None = None

    def setServiceParent(self, parent: Any) -> None:
        """
        Become part of an application; C{twistd} looks there, next, for the
        observer that it is to log to.
        """
        command = self._options.parent
        if command is not None and is_twistd(command) and isinstance(parent, Componentized):
            add_observer(self._options.log, command, parent, self._from_signal)
        if command is not None:
            self._terminal = Terminal(command)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """
        Start everything.

        @raises SystemExit: it cannot start, and has said why, where a command runs it.
        """
        command, terminal = self._options.parent, self._terminal
        if command is None or terminal is None:
            super().startService()
            return
        gc.disable()  # what is recovered is in no cycle: see the note in taskqueue.process
        try:
            super().startService()
        except TaskQueueError as error:
            refuse_to_start(error, command, self._options.log, terminal)
        finally:
            gc.enable()
        terminal.leave()
        wait_with_sigterm(self._from_signal, self._stop)
        gc.freeze()  # what was recovered stays: see there


def _prepare_for_limit(config: Config) -> None:
    if config.broker.memory_limit:
        map_large_memory()


def assemble(options: Options, reactor: Any, broker: Callable[[Config, Any], Any]) -> Root:
    """
    The broker's service, and the reload of its configuration on SIGHUP.

    @param broker: makes, of a configuration and a reactor, a service that has a
        method C{reconfigure(config)}; C{hung_up()}, if it has that, is called at SIGHUP.
    """
    _prepare_for_limit(options.config)
    service = broker(options.config, reactor)
    poll_busily(reactor, lambda: service.threads_at_work)

    def apply(config: Config) -> None:
        service.reconfigure(config)
        provide_files(config.limits.max_connections)
        _prepare_for_limit(config)
        options.log.set_level(config.log.level)

    root = Root(options, reactor.callFromThread, reactor.stop)
    service.setServiceParent(root)
    hung_up = getattr(service, "hung_up", lambda: None)
    reload: Any = ReloadOnHangup(
        options.config, options.load, apply, reactor.callFromThread, hung_up
    )
    reload.setServiceParent(root)
    if getattr(service, "drains", False):
        DrainOnSignal(
            service.drain, reactor.callFromThread, always=bool(options["beanstalkd"])
        ).setServiceParent(root)
    return root


def makeService(options: Options) -> Root:
    """What C{twistd} and C{twist} ask for: the broker, not yet started."""
    collect_rarely()  # importing makes many objects, of which none goes
    from twisted.internet import reactor

    from taskqueue.application import build
    from taskqueue.systemd import Notifier

    use_monotonic_clock(reactor)
    end_well_on_sigterm(reactor)
    provide_files(options.config.limits.max_connections)
    early = options.early
    root = assemble(options, reactor, partial(build, early=early) if early else build)
    Notifier(os.environ, reactor).setServiceParent(root)
    return root
