"""
Sessions of people who have signed in: in memory only, so a restart of the broker ends them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable

from taskqueue.access.identities import Identity

#: So many are open at a time; one more ends the one that was used longest ago.
MAX_SESSIONS = 10_000

#: So many of one name; one more ends that name's oldest.
MAX_SESSIONS_OF_ONE = 100

_TOKEN_BYTES = 32


class _Session:
    __slots__ = ("digest", "identity", "opened_at", "used_at")

    def __init__(self, digest: bytes, identity: Identity, now: float) -> None:
        self.digest = digest
        self.identity = identity
        self.opened_at = now
        self.used_at = now


class Sessions:
    """
    Who has signed in, by the token of a cookie.  Only the token's digest is kept.

    @ivar idle_s: after how long without use a session ends.
    @ivar max_s: after how long it ends in any case.
    """

    def __init__(self, clock: Callable[[], float], idle_s: float, max_s: float) -> None:
        """
        @param clock: seconds, of a clock that never jumps.
        """
        self._clock = clock
        self.idle_s = idle_s
        self.max_s = max_s
        #: By digest of the token; what was used last stands last.
        self._open: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, identity: Identity) -> str:
        """
        Begin a session.

        @return: its token, which nobody can guess: 256 random bits as text for a cookie.
        """
        self._sweep()
        own = [one for one in self._open.values() if one.identity.name == identity.name]
        if len(own) >= MAX_SESSIONS_OF_ONE:
            del self._open[min(own, key=lambda one: one.opened_at).digest]
        if len(self._open) >= MAX_SESSIONS:
            self._open.popitem(last=False)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        digest = _digest(token)
        self._open[digest] = _Session(digest, identity, self._clock())
        return token

    def find(self, token: str) -> Identity | None:
        """Whose session it is, which counts as using it; C{None} where there is none any more."""
        session = self._open.get(_digest(token))
        if session is None:
            return None
        now = self._clock()
        if self._is_over(session, now):
            del self._open[session.digest]
            return None
        session.used_at = now
        self._open.move_to_end(session.digest)
        return session.identity

    def renew(self, token: str, identity: Identity) -> None:
        """Let a session be another identity's from now on: the same person may do other things."""
        session = self._open.get(_digest(token))
        if session is not None:
            session.identity = identity

    def close(self, token: str) -> None:
        """End a session; harmless where there is none."""
        self._open.pop(_digest(token), None)

    def clear(self) -> None:
        """End all sessions."""
        self._open.clear()

    def _is_over(self, session: _Session, now: float) -> bool:
        return now - session.used_at >= self.idle_s or now - session.opened_at >= self.max_s

    def _sweep(self) -> None:
        """Forget sessions that nobody has used for too long; they stand first."""
        now = self._clock()
        while self._open:
            oldest = next(iter(self._open.values()))
            if not self._is_over(oldest, now):
                return
            del self._open[oldest.digest]


def _digest(token: str) -> bytes:
    # A token is random, so a slow hash would add nothing.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
