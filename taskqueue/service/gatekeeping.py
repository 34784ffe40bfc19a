"""
The gate of a running broker: its keyring, its audit log, and where passwords are checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from taskqueue.access import AuditLog, Gate
from taskqueue.access.exposure import exposed, refusal
from taskqueue.access.file import KeyringFile, path_of
from taskqueue.access.watch import KeyringWatch
from taskqueue.config import Config
from taskqueue.service.timers import Timer

if TYPE_CHECKING:
    from taskqueue.service.service import TaskQueueService

#: How often the file of keys and users is looked at, seconds.
LOOK_S = 1.0

#: How many passwords are checked at a time.  Each takes a processor, and 19 MiB.
HASHING_THREADS = 2


class GateKeeping(Timer):
    """
    Has the gate go by the file of keys and users, and looks at it again and again.

    @ivar gate: the gate.
    """

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__("keys and users", LOOK_S, self.look, service.reactor)
        self._service = service
        self._pool: ThreadPool | None = None
        access = service.config.access
        moments = service.moments
        self.gate = Gate(
            moments,
            authentication=access.authentication,
            session_idle_s=access.session_idle_s,
            session_max_s=access.session_max_s,
            audit=AuditLog(access.audit_log, lambda: moments().wall),
            # A test's clock has no threads, and nobody is kept waiting by one.
            hashing=self._hash if hasattr(service.reactor, "callFromThread") else execute,
        )
        path = path_of(service.config)
        self._watch = None if path is None else KeyringWatch(KeyringFile(path), self.gate)

    def open(self) -> None:
        """
        Read the keyring for the first time; before the store is opened, and anybody let in.

        @raises KeyringUnusable: it cannot be used.
        @raises ConfigError: nobody needs to authenticate, and other machines can reach the broker,
            and nobody has said that it should be so.
        """
        if self._watch is None:
            self.gate.adopt(None)
        else:
            self._watch.start()
        config = self._service.config
        listened = (*config.listen.framed, *config.listen.lines, *config.http.listen)
        self.refuse(exposed(listened))

    def refuse(self, reachable: list[str]) -> None:
        """
        @param reachable: what is listened on that other machines can reach.
        @raises ConfigError: as L{open} says.
        """
        if reachable and self.gate.open and self.gate.by_default:
            path = None if self._watch is None else self._watch.file.path
            raise refusal(reachable[0], path)

    def startService(self) -> None:
        super().startService()
        self.gate.audit.open()
        if self.gate.warning is not None:
            self._log.warn("{problem}", problem=self.gate.warning)

    def stopService(self) -> Deferred[None]:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
        self.gate.audit.reopen()
        return super().stopService()

    def look(self) -> None:
        """See what has changed in the file, and what has expired."""
        if self._watch is not None:
            self._watch.look()

    def hung_up(self) -> None:
        """Read the file anew, and open the audit log anew."""
        self.gate.audit.reopen()
        self.gate.audit.open()
        if self._watch is not None:
            self._watch.look(anew=True)

    def adopt(self, config: Config) -> None:
        """Go by another configuration, as far as it can change while the broker runs."""
        self.gate.limit_sessions(config.access.session_idle_s, config.access.session_max_s)

    def _hash(self, function: Callable[..., bool], hashed: str, password: str, /) -> Deferred[bool]:
        if self._pool is None:
            self._pool = ThreadPool(0, HASHING_THREADS, "taskqueue passwords")
            self._pool.start()
        answer: Deferred[Any] = deferToThreadPool(
            self._service.reactor, self._pool, function, hashed, password
        )
        return answer
