"""
The gate: who comes in, and as whom.

Every door asks it: the wire protocols, HTTP, and whatever comes later.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any, Protocol

from twisted.internet.defer import Deferred, execute, fail
from twisted.logger import Logger

from taskqueue.access.audit import AuditLog, moment_text
from taskqueue.access.differences import differences
from taskqueue.access.identities import Identity, everyone
from taskqueue.access.keyring import KeyEntry, Keyring, digest_of, id_of, is_name
from taskqueue.access.passwords import NOBODY, verify
from taskqueue.access.pool import Pool
from taskqueue.access.sessions import Sessions
from taskqueue.access.throttle import FailedAttempts
from taskqueue.core.moments import Now
from taskqueue.errors import RateLimited, Unauthenticated

#: Passwords that are being checked, or wait for it, at a time.
MAX_CHECKS = 20

#: Of one change of the keyring, so many entries are named in the audit log.
MAX_NOTED = 100

#: Of what a certificate says, so many characters are told.
MAX_SHOWN = 300

#: When a session ends where nothing else is said: unused for an hour; after half a day.
SESSION_IDLE_S = 3600.0
SESSION_MAX_S = 12 * 3600.0

#: Of no key: what is compared where there is no such key.
NO_DIGEST = "0" * 64

_WRONG_KEY = (
    "This key is not known here. Check that it is complete and meant for this broker, or ask"
    " whoever runs it for another."
)
_WRONG_PASSWORD = "The name or the password is wrong."

OPEN_WARNING = (
    "Nobody needs to authenticate: whoever reaches this broker may do everything. The first"
    " `taskqueue keys create` or `taskqueue users add` ends that."
)
OPEN_ON_PURPOSE = (
    "Nobody needs to authenticate: whoever reaches this broker may do everything, because"
    " [access] authentication is open_to_everyone."
)


class Hashing(Protocol):
    """Runs what takes long somewhere else: a pool of threads."""

    def __call__(
        self, function: Callable[..., bool], hashed: str, password: str, /
    ) -> Deferred[bool]: ...


class Gate:
    """
    Lets in whom the keyring knows.

    @ivar open: nobody needs to authenticate.
    @ivar by_default: that is so because nobody has said how it should be.
    @ivar everyone: whoever comes in while that is so.
    @ivar warning: what people should know of that; C{None} where all is well.
    @ivar audit: where administrative actions, and failed attempts to come in, are written down.
    """

    _log = Logger()

    def __init__(
        self,
        moments: Callable[[], Now],
        *,
        authentication: str = "auto",
        session_idle_s: float = SESSION_IDLE_S,
        session_max_s: float = SESSION_MAX_S,
        audit: AuditLog | None = None,
        hashing: Hashing = execute,
    ) -> None:
        """
        @param moments: the clocks.
        @param authentication: C{"required"}; C{"open_to_everyone"}; C{"auto"}, which is open for
            as long as there is no keyring.
        @param session_idle_s: after how long without use a session ends.
        @param session_max_s: after how long it ends in any case.
        @param hashing: where passwords are checked.
        """
        self._mode = authentication
        self.by_default = authentication == "auto"
        self._moments = moments
        self._hashing = hashing
        self.audit = audit or AuditLog("", lambda: moments().wall)
        self._pool = Pool()
        self._keyring: Keyring | None = None
        self._sessions = Sessions(lambda: moments().mono, session_idle_s, session_max_s)
        #: Apart: a worker with an old key, which tries again and again, keeps nobody from
        #: signing in at the same address.
        self._failed_keys = FailedAttempts()
        self._failed_passwords = FailedAttempts()
        self._checking = 0
        self._listeners: list[Callable[[], None]] = []
        self.everyone = everyone()
        self.everyone.revoked = True
        self.open = False
        self.warning: str | None = None
        self._set_open(None)

    # --- who comes in ------------------------------------------------------------------

    def by_key(self, secret: str, peer: str = "", door: str = "") -> Identity:
        """
        Whose key this is.  A true one is never kept waiting: nobody behind the same address can
        lock its holder out.

        @param peer: the address that it came from.
        @param door: where it came in; for the audit log.
        @raises Unauthenticated: it is nobody's, or counts no more.
        @raises RateLimited: it is wrong, and so were too many others from there.
        """
        key_id = id_of(secret)
        found = self._pool.key(key_id)
        true = hmac.compare_digest(digest_of(secret), found.entry.sha256 if found else NO_DIGEST)
        if found is None or not true:
            self._refuse_fast(self._failed_keys, peer)
            raise self._key_failed(_WRONG_KEY, peer, door, f"key {key_id or '(malformed)'}")
        if not found.identity.valid(self._moments().wall):
            what = f"key {found.entry.id} of {found.entry.name}"
            raise self._key_failed(_why_invalid(found.entry), peer, door, what)
        self._failed_keys.succeeded(peer)
        return found.identity

    def by_name(self, name: str) -> Identity | None:
        """
        Whom a door stands for that the configuration gives a key by its name, as its clients
        cannot show one.

        @return: C{None} where no key of this name is valid.
        """
        return self._pool.key_named(name, self._moments().wall)

    def by_password(
        self, name: str, password: str, peer: str = "", door: str = ""
    ) -> Deferred[Identity]:
        """
        Whose name and password these are.

        @return: fires with the user's identity; fails with L{Unauthenticated}, with the same
            text and after as long a time for a wrong name as for a wrong password; or with
            L{RateLimited} where too many attempts from there failed, or too many are checked now.
        """
        try:
            self._refuse_fast(self._failed_passwords, peer)
            if self._checking >= MAX_CHECKS:
                raise RateLimited("Too many sign-ins are being checked.", retry_after_s=1.0)
        except RateLimited as error:
            return fail(error)
        # Noted before it is checked: else a hundred could be tried at once.
        self._failed_passwords.failed(peer, self._moments().mono, name)
        found = self._pool.user(name)
        self._checking += 1

        def checked(outcome: Any) -> Any:
            self._checking -= 1
            return outcome

        def told(true: bool) -> Identity:
            current = self.refresh(found.identity) if found and true else None
            if current is None:
                raise self._audited(_WRONG_PASSWORD, peer, door, _who_tried(name))
            self._failed_passwords.succeeded(peer, name)
            return current

        hashed = found.entry.password if found else NOBODY
        return self._hashing(verify, hashed, password).addBoth(checked).addCallback(told)

    def by_certificate(self, subject: str, names: Iterable[str] = ()) -> Identity | None:
        """
        Whom a client's certificate stands for, which TLS has verified.

        @param subject: as RFC 4514 writes it, such as C{CN=worker-1,O=Example}.
        @param names: its alternative names, with their kind, such as C{DNS:worker-1.example}.
        @return: C{None} where it stands for nobody.
        """
        return self._pool.certificate(subject, names, self._moments().wall)

    def unknown_certificate(
        self, subject: str, names: Iterable[str] = (), peer: str = "", door: str = ""
    ) -> Unauthenticated:
        """
        What to tell whom L{by_certificate} does not know, where nothing else lets them in: what
        their certificate says, as an entry would have to have it.

        @param peer: the address that it came from.
        @param door: where it came in; for the audit log.
        """
        shown = ", ".join([subject, *names])
        message = (
            f"The certificate that was shown stands for nobody here ({shown[:MAX_SHOWN]}): whoever"
            f" runs this broker lets it in with taskqueue certificates allow."
        )
        return self._key_failed(message, peer, door, f"certificate {shown}")

    # --- who is in already -------------------------------------------------------------

    def refresh(self, identity: Identity) -> Identity | None:
        """
        Who somebody is now that was let in before.

        @return: the same object where nothing has changed; another one where the permissions
            have; C{None} where it was revoked or has expired, and has to authenticate anew.
        """
        current: Identity | None = identity
        while current is not None and current.revoked:
            current = current.successor
        if current is None or not current.valid(self._moments().wall):
            return None
        return current

    def when_changed(self, call: Callable[[], None]) -> Callable[[], None]:
        """
        Have C{call} called whenever somebody who is in may have to L{refresh}: entries have
        changed or expired, or the gate was opened or shut.

        @return: ends that.
        """
        self._listeners.append(call)
        return lambda: self._listeners.remove(call)

    def open_session(self, identity: Identity) -> str:
        """Begin a session; returns its token, for a cookie."""
        return self._sessions.open(identity)

    def by_session(self, token: str) -> Identity | None:
        """Whose session it is, as L{refresh} says; C{None}: there is none, or not any more."""
        identity = self._sessions.find(token)
        if identity is None:
            return None
        current = self.refresh(identity)
        if current is None:
            self._sessions.close(token)
        elif current is not identity:
            self._sessions.renew(token, current)
        return current

    def close_session(self, token: str) -> None:
        """End a session; harmless where there is none."""
        self._sessions.close(token)

    # --- what the keyring says ---------------------------------------------------------

    def adopt(self, keyring: Keyring | None) -> None:
        """
        Go by another keyring from now on, also for those who are in.

        @param keyring: C{None} where there is none.
        @raises BadRequest: something is wrong with an entry; nothing has changed then.
        """
        new = keyring or Keyring()
        changed = self._pool.adopt(new)
        if self._keyring is not None:
            self._note_changes(self._keyring, new)
        self._keyring = new
        changed = self._set_open(keyring) or changed
        if changed:
            self._tell()

    def _note_changes(self, old: Keyring, new: Keyring) -> None:
        """Whoever changed the file is not known to a broker, but what they changed is."""
        found = list(differences(old, new))
        noted = found[:MAX_NOTED]
        if len(found) > MAX_NOTED:
            noted.append(f"and {len(found) - MAX_NOTED} more")
        for what in noted:
            self.audit.record(None, "change_keyring", door="file", what=what)

    def limit_sessions(self, idle_s: float, max_s: float) -> None:
        """Let sessions end after other times from now on, those that are open too."""
        self._sessions.idle_s = idle_s
        self._sessions.max_s = max_s

    def expire(self) -> None:
        """Tell the listeners of entries that have expired since the last call."""
        if self._pool.expired(self._moments().wall):
            self._tell()

    def _set_open(self, keyring: Keyring | None) -> bool:
        """Open or shut the gate; whether that changed anything."""
        on_purpose = self._mode == "open_to_everyone"
        now_open = on_purpose or (self.by_default and keyring is None)
        self.warning = None
        if now_open:
            self.warning = OPEN_ON_PURPOSE if on_purpose else OPEN_WARNING
        if now_open == self.open:
            return False
        self.open = now_open
        self.everyone.revoked = True
        self.everyone = everyone()
        self.everyone.revoked = not now_open
        return True

    def _tell(self) -> None:
        for call in list(self._listeners):
            try:
                call()
            except Exception:
                self._log.failure("somebody could not be told that permissions changed")

    # --- who is kept out ---------------------------------------------------------------

    def _refuse_fast(self, failed: FailedAttempts, peer: str) -> None:
        wait_s = failed.wait_s(peer, self._moments().mono)
        if wait_s > 0:
            raise RateLimited(
                f"Too many attempts to authenticate have failed; try again in {ceil(wait_s)} s.",
                retry_after_s=wait_s,
            )

    def _key_failed(self, message: str, peer: str, door: str, what: str) -> Unauthenticated:
        now = self._moments().mono
        # Whoever goes on with a key that has expired is told so each time, and noted seldom.
        is_noted = not self._failed_keys.wait_s(peer, now)
        self._failed_keys.failed(peer, now)
        return self._audited(message, peer, door, what) if is_noted else Unauthenticated(message)

    def _audited(self, message: str, peer: str, door: str, what: str) -> Unauthenticated:
        error = Unauthenticated(message)
        self.audit.record(None, "authenticate", peer=peer, door=door, what=what, outcome=error.code)
        return error


def _who_tried(name: str) -> str:
    """
    Under which name somebody tried to sign in, for the audit log.  What cannot be a name may be a
    password in the wrong field; a key certainly is.
    """
    key_id = id_of(name.strip())
    if key_id is not None:
        return f"key {key_id} in place of a name"
    return f"user {name}" if is_name(name) else "user (what was given is no name)"


def _why_invalid(entry: KeyEntry) -> str:
    """What to tell whoever holds the true key; nobody else hears it."""
    if entry.revoked_at is not None:
        what, at = "was revoked", entry.revoked_at
    else:
        assert entry.expires_at is not None, "nothing else makes a key invalid"
        what, at = "expired", entry.expires_at
    return f"This key ({entry.id}) {what} at {moment_text(at.timestamp())}; ask for another."
