"""
The reload of the configuration on SIGHUP.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from taskqueue.config import Config, Difference, applicable, differences
from taskqueue.errors import ConfigError
from taskqueue.logs import FromSignal

#: Absent on systems that cannot hang up.
_HANGUP: int | None = getattr(signal, "SIGHUP", None)


class ReloadOnHangup(Service):
    """
    Reads the configuration again on SIGHUP and applies what can change.

    A configuration that is not usable changes nothing; its problems are logged.

    @param config: the configuration in force.
    @param read: reads the configuration anew.
    @param apply: puts a new configuration into force; it differs from the old
        one only where a running broker can change.
    @param from_signal: runs a function in the reactor's thread.
    @param hung_up: called at each SIGHUP, whatever the configuration says now.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        apply: Callable[[Config], None],
        from_signal: FromSignal,
        hung_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._read = read
        self._apply = apply
        self._from_signal = from_signal
        self._files_anew = hung_up
        self._previous: Any = None
        self._installed = False

    def startService(self) -> None:
        """Begin to heed SIGHUP."""
        super().startService()
        if _HANGUP is None:
            return
        try:
            self._previous = signal.signal(_HANGUP, self._hung_up)
        except ValueError:  # Python lets only the main thread handle signals
            self._log.warn("not started in the main thread: SIGHUP will not reload anything")
        else:
            self._installed = True

    def stopService(self) -> None:
        """Give SIGHUP back to who had it before."""
        super().stopService()
        # Whoever took it since then keeps it.  Bound methods are equal, never identical.
        if self._installed and _HANGUP and signal.getsignal(_HANGUP) == self._hung_up:
            signal.signal(_HANGUP, self._previous or signal.SIG_DFL)
        self._installed = False

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._from_signal(self.reload)

    def reload(self) -> None:
        """Open files anew; read the configuration again and apply what can change."""
        self._files_anew()
        try:
            new = self._read()
        except ConfigError as error:
            self._log.error(
                "configuration not reloaded: {count} problems", count=len(error.problems)
            )
            for problem in error.problems:
                self._log.error("{problem}", problem=problem)
            return
        changes = differences(self._config, new)
        if not changes:
            self._log.info("configuration reloaded: nothing changed")
            return
        self._put_into_force(applicable(self._config, new), changes)

    def _put_into_force(self, config: Config, changes: list[Difference]) -> None:
        try:
            self._apply(config)
        except Exception:
            self._log.failure("configuration not reloaded: the broker could not apply it")
            return
        self._config = config
        applied = sum(change.reloadable for change in changes)
        self._log.info("configuration reloaded; settings changed: {applied}", applied=applied)
        for change in changes:
            self._tell(change)

    def _tell(self, change: Difference) -> None:
        fields = {
            "setting": f"{change.section}.{change.key}",
            "old": change.old,
            "new": change.new,
        }
        if change.reloadable:
            self._log.info("{setting}: {old!r} is now {new!r}", **fields)
        else:
            self._log.warn("{setting}: {old!r} stays; {new!r} needs a restart", **fields)
