"""Who comes in, and as whom."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.audit import AuditLog
from taskqueue.access.gate import MAX_CHECKS, MAX_NOTED, OPEN_ON_PURPOSE, OPEN_WARNING
from taskqueue.access.identities import Identity
from taskqueue.access.keyring import Keyring
from taskqueue.access.passwords import LONGEST, NOBODY, hash_password, is_hash, verify
from taskqueue.access.permissions import Action
from taskqueue.access.throttle import FREE_FAILURES
from taskqueue.errors import BadRequest, RateLimited, TaskQueueError, Unauthenticated
from tests.access.entries import PASSWORD, Keeper, a_certificate, a_key, a_user, at


class OpenTests(SynchronousTestCase):
    def test_open_until_there_is_a_keyring(self) -> None:
        keeper = Keeper()
        gate, everyone = keeper.gate, keeper.gate.everyone
        self.assertTrue(gate.open)
        self.assertEqual(gate.warning, OPEN_WARNING)
        self.assertTrue(everyone.unrestricted)
        self.assertEqual((everyone.kind, everyone.name), ("everyone", "everyone"))
        self.assertIs(gate.refresh(everyone), everyone)
        gate.adopt(Keyring())
        self.assertFalse(gate.open)
        self.assertIsNone(gate.warning)
        self.assertIsNone(gate.refresh(everyone))
        self.assertEqual(keeper.told, 1)

    def test_it_stays_shut_when_the_last_key_goes(self) -> None:
        entry, _ = a_key()
        keeper = Keeper(Keyring(keys=(entry,)))
        keeper.gate.adopt(Keyring())
        self.assertFalse(keeper.gate.open)

    def test_required_from_the_start(self) -> None:
        keeper = Keeper(authentication="required")
        self.assertFalse(keeper.gate.open)
        self.assertIsNone(keeper.gate.refresh(keeper.gate.everyone))

    def test_open_on_purpose(self) -> None:
        entry, secret = a_key()
        keeper = Keeper(Keyring(keys=(entry,)), authentication="open_to_everyone")
        self.assertTrue(keeper.gate.open)
        self.assertEqual(keeper.gate.warning, OPEN_ON_PURPOSE)
        # Who shows a key is who the key says all the same.
        self.assertFalse(keeper.gate.by_key(secret).unrestricted)


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entry, self.secret = a_key(expires_at=at(100))
        self.keeper = Keeper(Keyring(keys=(self.entry,)))
        self.gate = self.keeper.gate

    def refused(self, secret: str, peer: str = "192.0.2.1") -> str:
        return str(self.assertRaises(Unauthenticated, self.gate.by_key, secret, peer))

    def test_a_true_one(self) -> None:
        found = self.gate.by_key(self.secret)
        self.assertEqual((found.name, found.kind, found.key_id), ("mailer", "key", self.entry.id))
        self.assertTrue(found.permissions.allows(Action.SUBMIT, "mail"))
        self.assertIs(self.gate.by_key(self.secret), found)

    def test_all_wrong_ones_are_told_the_same(self) -> None:
        _, unknown = a_key()
        half = self.secret[:-1] + ("a" if self.secret[-1] != "a" else "b")
        said = {
            self.refused(one, str(n)) for n, one in enumerate((unknown, half, "", "x", "é\ud800"))
        }
        self.assertEqual(len(said), 1)
        self.assertNotIn("expired", said.pop())

    def test_only_the_holder_is_told_that_it_expired(self) -> None:
        self.keeper.passed = 100.0
        self.assertIn(
            f"({self.entry.id}) expired at 2027-01-15T08:01:40", self.refused(self.secret)
        )
        self.assertIn("not known", self.refused(self.secret[:-1] + "_"))

    def test_only_the_holder_is_told_that_it_was_revoked(self) -> None:
        self.gate.adopt(Keyring(keys=(replace(self.entry, revoked_at=at(5)),)))
        self.assertIn("was revoked at 2027-01-15T08:00:05", self.refused(self.secret))

    def test_wrong_ones_are_slowed_down(self) -> None:
        for _ in range(6):
            self.refused("x")
        error = self.assertRaises(RateLimited, self.gate.by_key, "x", "192.0.2.1")
        self.assertEqual(error.retry_after_s, 1.0)
        self.refused("x", "192.0.2.2")
        self.keeper.passed = 1.0
        self.refused("x")
        self.keeper.passed = 2.0
        self.assertRaises(RateLimited, self.gate.by_key, "x", "192.0.2.1")

    def test_nobody_locks_out_who_holds_a_true_one(self) -> None:
        for _ in range(6):
            self.refused("x")
        self.gate.by_key(self.secret, "192.0.2.1")

    def test_by_its_name(self) -> None:
        """Of several, the one that was made last; none that does not count."""
        old, _ = a_key("jobs", created_at=at(-10))
        new, _ = a_key("jobs", created_at=at(-5), expires_at=at(10))
        gone, _ = a_key("gone", revoked_at=at(-1))
        keeper = Keeper(Keyring(keys=(old, new, gone)))

        def found(name: str) -> str | None:
            identity = keeper.gate.by_name(name)
            return None if identity is None else identity.key_id

        self.assertEqual(found("jobs"), new.id)
        self.assertIsNone(found("gone"))
        self.assertIsNone(found("nobody"))
        keeper.passed += 10
        self.assertEqual(found("jobs"), old.id)

    def test_nothing_secret_is_shown(self) -> None:
        found = self.gate.by_key(self.secret)
        shown = f"{found!r} {self.entry!r} {Keyring(keys=(self.entry,))!r} {vars(self.keeper)!r}"
        self.assertEqual(repr(found), "<key mailer: submit:mail>")
        for secret in (self.secret[16:], self.entry.sha256):
            self.assertNotIn(secret, shown)


class ChangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entry, self.secret = a_key(expires_at=at(100))
        self.user = a_user()
        self.keeper = Keeper(Keyring(keys=(self.entry,), users=(self.user,)))
        self.gate = self.keeper.gate
        self.found = self.gate.by_key(self.secret)

    def change(self, *keys: Any, users: Any = ()) -> Identity | None:
        self.gate.adopt(Keyring(keys=keys, users=users or (self.user,)))
        return self.gate.refresh(self.found)

    def test_nothing_has_changed(self) -> None:
        self.assertIs(self.change(self.entry), self.found)
        self.assertEqual(self.keeper.told, 0)

    def test_others_have_changed(self) -> None:
        other, _ = a_key("other")
        self.assertIs(self.change(self.entry, other), self.found)
        self.assertIs(self.change(self.entry), self.found)
        self.assertEqual(self.keeper.told, 1)

    def test_revoked(self) -> None:
        self.assertIsNone(self.change(replace(self.entry, revoked_at=at(0))))
        self.assertTrue(self.found.revoked)
        self.assertEqual(self.keeper.told, 1)

    def test_removed_and_made_anew(self) -> None:
        self.assertIsNone(self.change())
        self.assertIsNone(self.change(self.entry))

    def test_permissions_have_changed_again_and_again(self) -> None:
        current: Identity | None = None
        for queue in ("a", "b", "c"):
            current = self.change(replace(self.entry, allow=(f"submit:{queue}",)))
            assert current is not None
            self.assertTrue(current.permissions.allows(Action.SUBMIT, queue))
            self.assertIsNot(current, self.found)
        self.assertIs(self.gate.by_key(self.secret), current)
        self.assertEqual(self.keeper.told, 3)

    def test_another_secret_under_the_same_id(self) -> None:
        self.assertIsNone(self.change(replace(self.entry, sha256="0" * 64)))

    def test_expired_while_it_is_in(self) -> None:
        self.gate.expire()
        told = self.keeper.told
        for passed, more in ((99.9, 0), (100.0, 1), (101.0, 1)):
            self.keeper.passed = passed
            self.gate.expire()
            self.assertEqual(self.keeper.told - told, more, passed)
        self.assertIsNone(self.gate.refresh(self.found))

    def test_the_clock_is_set_back(self) -> None:
        """What had expired is valid again, and whoever is in is told when it expires anew."""
        identity = self.gate.by_key(self.secret)
        self.gate.expire()
        self.keeper.passed = 200.0
        self.gate.expire()
        self.assertIsNone(self.gate.refresh(identity))
        self.keeper.passed = 0.0
        self.gate.expire()
        self.assertIs(self.gate.by_key(self.secret), identity)
        told = self.keeper.told
        for passed, more in ((50.0, 0), (99.0, 0), (100.0, 1), (101.0, 1)):
            self.keeper.passed = passed
            self.gate.expire()
            self.assertEqual(self.keeper.told - told, more, passed)

    def test_a_wrong_entry_changes_nothing(self) -> None:
        with self.assertRaises(BadRequest):
            self.change(replace(self.entry, allow=("fly",)), users=())
        self.assertIs(self.gate.refresh(self.found), self.found)
        self.assertEqual(self.keeper.told, 0)

    def test_a_listener_that_fails_keeps_nobody_from_being_told(self) -> None:
        self.gate.when_changed(lambda: 1 / 0)  # type: ignore[arg-type]
        told: list[int] = []
        self.gate.when_changed(lambda: told.append(1))
        self.change()
        self.assertEqual(told, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_listener_that_went_is_not_told(self) -> None:
        self.keeper.stop_telling()
        self.change()
        self.assertEqual(self.keeper.told, 0)


class PasswordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.checked: list[tuple[str, str]] = []
        self.waiting: list[tuple[Deferred[bool], bool]] = []
        self.keeper = Keeper(Keyring(users=(a_user(),)), hashing=self.hashing)
        self.gate = self.keeper.gate

    def hashing(self, function: Any, hashed: str, password: str) -> Deferred[bool]:
        """As a thread would: the answer comes later."""
        self.checked.append((hashed, password))
        answer: Deferred[bool] = Deferred()
        self.waiting.append((answer, password == PASSWORD and hashed != NOBODY))
        return answer

    def answer(self) -> None:
        """Let all checks come to their end."""
        waiting, self.waiting = self.waiting, []
        for answer, true in waiting:
            answer.callback(true)

    def attempt(self, name: str, password: str, peer: str = "192.0.2.1") -> Any:
        answer = self.gate.by_password(name, password, peer, "http")
        self.answer()
        return answer

    def refused(self, name: str, password: str, peer: str = "192.0.2.1") -> str:
        return str(self.failureResultOf(self.attempt(name, password, peer), Unauthenticated).value)

    def test_the_true_one(self) -> None:
        found = self.successResultOf(self.attempt("ann", PASSWORD))
        self.assertEqual((found.name, found.kind, found.role), ("ann", "user", "viewer"))

    def test_an_unknown_name_takes_the_same_way(self) -> None:
        self.assertEqual(self.refused("ann", "wrong"), self.refused("bob", "wrong"))
        self.assertEqual([password for _, password in self.checked], ["wrong", "wrong"])
        known, unknown = (hashed for hashed, _ in self.checked)
        self.assertEqual(unknown, NOBODY)
        # The same parameters, so the same time.
        self.assertEqual(known.split("$")[:4], unknown.split("$")[:4])

    def test_slowed_down_before_anything_is_checked(self) -> None:
        for _ in range(6):
            self.refused("ann", "wrong")
        self.failureResultOf(self.attempt("ann", PASSWORD), RateLimited)
        self.assertEqual(len(self.checked), 6)
        self.successResultOf(self.attempt("ann", PASSWORD, "192.0.2.2"))
        self.keeper.passed = 1.0
        self.successResultOf(self.attempt("ann", PASSWORD))
        self.refused("ann", "wrong")  # all is forgiven

    def test_many_at_once_count_before_they_are_checked(self) -> None:
        attempts = [self.gate.by_password("ann", "wrong", "192.0.2.1") for _ in range(50)]
        self.assertEqual(len(self.checked), 6)
        self.answer()
        for attempt in attempts:
            self.failureResultOf(attempt, Unauthenticated, RateLimited)

    def test_no_more_are_checked_than_there_may_be(self) -> None:
        attempts = [
            self.gate.by_password("ann", PASSWORD, f"192.0.2.{n}") for n in range(MAX_CHECKS + 1)
        ]
        error = self.failureResultOf(attempts.pop(), RateLimited).value
        self.assertEqual(error.retry_after_s, 1.0)
        self.answer()
        for attempt in attempts:
            self.successResultOf(attempt)
        self.successResultOf(self.attempt("ann", PASSWORD))

    def test_a_check_that_breaks_is_over(self) -> None:
        for n in range(MAX_CHECKS + 1):
            attempt = self.gate.by_password("ann", PASSWORD, f"192.0.2.{n}")
            self.waiting.pop()[0].errback(MemoryError())
            self.failureResultOf(attempt, MemoryError)

    def test_removed_while_it_is_checked(self) -> None:
        attempt = self.gate.by_password("ann", PASSWORD, "192.0.2.1")
        self.gate.adopt(Keyring())
        self.answer()
        self.failureResultOf(attempt, Unauthenticated)

    def test_another_password_ends_what_the_old_one_began(self) -> None:
        found = self.successResultOf(self.attempt("ann", PASSWORD))
        token = self.gate.open_session(found)
        self.gate.adopt(Keyring(users=(a_user(role="operator"),)))
        current = self.gate.by_session(token)
        assert current is not None
        self.assertEqual(current.role, "operator")
        self.assertIs(self.gate.by_session(token), current)
        self.gate.adopt(Keyring(users=(a_user(role="operator", password=NOBODY),)))
        self.assertIsNone(self.gate.by_session(token))
        self.assertIsNone(self.gate.refresh(current))

    def test_keys_that_fail_keep_nobody_from_signing_in(self) -> None:
        for _ in range(20):
            self.assertRaises(TaskQueueError, self.gate.by_key, "x", "192.0.2.1")
        self.successResultOf(self.attempt("ann", PASSWORD))


class HashTests(SynchronousTestCase):
    def test_of_nobody_is_one_that_nothing_fits(self) -> None:
        self.assertTrue(is_hash(NOBODY))
        self.assertFalse(verify(NOBODY, ""))
        self.assertFalse(verify(NOBODY, PASSWORD))

    def test_what_looks_the_same_is_the_same(self) -> None:
        hashed = hash_password("caf\u00e9 au lait")
        self.assertTrue(verify(hashed, "cafe\u0301 au lait"))
        self.assertFalse(verify(hashed, "cafe au lait"))
        self.assertFalse(verify(hashed, "\ud800"))

    def test_what_nobody_types_is_not_hashed(self) -> None:
        self.assertFalse(verify("no hash", "x" * (LONGEST + 1)))
        self.assertFalse(verify("no hash", "x"))

    def test_whoever_has_an_account_guesses_no_longer_at_another(self) -> None:
        keeper = Keeper(Keyring(users=(a_user(), a_user("eve"))))
        tried = 0
        for _ in range(20):
            for _ in range(4):
                told = self.failureResultOf(keeper.gate.by_password("ann", "guess", "192.0.2.1"))
                tried += told.check(RateLimited) is None
            found: list[Any] = []
            keeper.gate.by_password("eve", PASSWORD, "192.0.2.1").addBoth(found.append)
        self.assertEqual(tried, FREE_FAILURES + 1)

    def test_one_may_mistype_ones_own(self) -> None:
        keeper = Keeper(Keyring(users=(a_user(),)))
        for _ in range(20):
            for _ in range(3):
                told = self.failureResultOf(keeper.gate.by_password("ann", "typo", "192.0.2.1"))
                told.trap(Unauthenticated)
            self.successResultOf(keeper.gate.by_password("ann", PASSWORD, "192.0.2.1"))

    def test_hashing_where_it_is(self) -> None:
        keeper = Keeper(Keyring(users=(a_user(),)))
        self.successResultOf(keeper.gate.by_password("ann", PASSWORD))
        self.failureResultOf(keeper.gate.by_password("ann", "wrong"), Unauthenticated)
        self.failureResultOf(keeper.gate.by_password("bob", PASSWORD), Unauthenticated)


class CertificateTests(SynchronousTestCase):
    def name(self, subject: str, *names: str) -> str | None:
        found = self.keeper.gate.by_certificate(subject, names)
        return None if found is None else found.name

    def test_subject_and_names(self) -> None:
        self.keeper = Keeper(
            Keyring(
                certificates=(
                    a_certificate("both", subject="CN=a,O=Example", san="DNS:*.example.org"),
                    a_certificate("subject", subject="CN=*, O=Example"),
                    a_certificate("name", san="URI:spiffe://example/*"),
                    a_certificate("past", san="DNS:old.example", expires_at=at(-1)),
                )
            )
        )
        for expected, subject, *names in (
            ("both", "CN=a,O=Example", "IP:192.0.2.1", "DNS:A.Example.Org"),
            ("subject", "CN=a,O=Example", "DNS:example.net"),
            ("subject", "CN=a,O=Example"),
            ("name", "CN=a", "URI:spiffe://example/x"),
            (None, "CN=a", "DNS:spiffe://example/x"),
            (None, "CN=a,OU=b,O=Example"),
            (None, r"CN=a\,O=Example"),
            (None, "CN=a,O=Example,C=XX"),
            (None, "", ""),
            (None, "CN=b", "DNS:old.example"),
        ):
            self.assertEqual(self.name(subject, *names), expected, (subject, names))

    def test_who_is_not_known_is_told_what_an_entry_must_have(self) -> None:
        path = self.mktemp()
        self.keeper = Keeper(Keyring(certificates=(a_certificate(),)), audit=AuditLog(path))
        self.addCleanup(self.keeper.gate.audit.reopen)
        peer = ("192.0.2.1", "http")
        for _ in range(100):
            error = self.keeper.gate.unknown_certificate("O=Ex,CN=w", ("DNS:w.example",), *peer)
        self.assertIsInstance(error, Unauthenticated)
        self.assertIn("(O=Ex,CN=w, DNS:w.example)", str(error))
        self.assertIn("taskqueue certificates allow", str(error))
        first, *others = map(json.loads, Path(path).read_text().splitlines())
        self.assertEqual(
            (first["who"], first["what"], first["peer"], first["door"], first["outcome"]),
            (None, "certificate O=Ex,CN=w, DNS:w.example", *peer, "UNAUTHENTICATED"),
        )
        self.assertLess(len(others), 6)
        long = self.keeper.gate.unknown_certificate("CN=" + "x" * 10_000)
        self.assertLess(len(str(long)), 600)

    def test_a_removed_mapping(self) -> None:
        entry = a_certificate(subject="CN=a")
        self.keeper = Keeper(Keyring(certificates=(entry,)))
        found = self.keeper.gate.by_certificate("CN=a")
        assert found is not None
        self.assertEqual(found.kind, "certificate")
        self.keeper.gate.adopt(Keyring(certificates=(replace(entry, subject="CN=b"),)))
        self.assertIsNone(self.keeper.gate.refresh(found))


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entry, secret = a_key(expires_at=at(50_000))
        self.keeper = Keeper(Keyring(keys=(self.entry,)), session_idle_s=60.0, session_max_s=100.0)
        self.gate = self.keeper.gate
        self.found = self.gate.by_key(secret)
        self.token = self.gate.open_session(self.found)

    def test_until_it_is_closed(self) -> None:
        self.assertIs(self.gate.by_session(self.token), self.found)
        self.gate.close_session("x")
        self.gate.close_session(self.token)
        self.gate.close_session(self.token)
        self.assertIsNone(self.gate.by_session(self.token))

    def test_idle(self) -> None:
        for passed in (59.0, 99.0):
            self.keeper.passed = passed
            self.assertIs(self.gate.by_session(self.token), self.found)
        self.keeper.passed = 100.0
        self.assertIsNone(self.gate.by_session(self.token))

    def test_other_limits(self) -> None:
        self.gate.limit_sessions(10.0, 100.0)
        self.keeper.passed = 10.0
        self.assertIsNone(self.gate.by_session(self.token))

    def test_of_a_key_that_was_revoked(self) -> None:
        self.gate.adopt(Keyring(keys=(replace(self.entry, revoked_at=at(0)),)))
        self.assertIsNone(self.gate.by_session(self.token))

    def test_unknown_tokens(self) -> None:
        for token in ("", "x", "é", "\ud800", self.token[:-1]):
            self.assertIsNone(self.gate.by_session(token))


class AuditTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.entry, self.secret = a_key(expires_at=at(100))
        self.keeper = Keeper(
            Keyring(keys=(self.entry,), users=(a_user(),)),
            audit=AuditLog(self.path, lambda: self.keeper.moments().wall),
        )
        self.gate = self.keeper.gate
        self.audit = self.gate.audit
        self.addCleanup(self.audit.reopen)

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.path).read_text().splitlines()]

    def test_an_entry(self) -> None:
        who = self.gate.by_key(self.secret)
        self.audit.record(who, "purge_queue", peer="192.0.2.1", door="http", what="mail", count=7)
        self.assertEqual(
            self.entries(),
            [
                {
                    "at": "2027-01-15T08:00:00.000Z",
                    "who": "mailer",
                    "kind": "key",
                    "key_id": self.entry.id,
                    "peer": "192.0.2.1",
                    "door": "http",
                    "operation": "purge_queue",
                    "what": "mail",
                    "count": 7,
                    "outcome": "ok",
                }
            ],
        )
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_attempts_that_failed(self) -> None:
        half = self.secret[:-1] + ("a" if self.secret[-1] != "a" else "b")
        self.assertRaises(Unauthenticated, self.gate.by_key, half, "192.0.2.1", "framed")
        self.failureResultOf(self.gate.by_password("eve", "guess", "192.0.2.1", "http"))
        self.keeper.passed = 100.0
        self.assertRaises(Unauthenticated, self.gate.by_key, self.secret, "192.0.2.3", "lines")
        found = [(one["who"], one["door"], one["what"], one["outcome"]) for one in self.entries()]
        self.assertEqual(
            found,
            [
                (None, "framed", f"key {self.entry.id}", "UNAUTHENTICATED"),
                (None, "http", "user eve", "UNAUTHENTICATED"),
                (None, "lines", f"key {self.entry.id} of mailer", "UNAUTHENTICATED"),
            ],
        )
        written = Path(self.path).read_text()
        for secret in (self.secret[16:-1], "guess"):
            self.assertNotIn(secret, written)

    def test_what_is_no_name_may_be_a_secret(self) -> None:
        """Somebody gives a key, or a password, where the name stands."""
        given = (self.secret, f" {self.secret} ", "correct horse!", "", "a\nb", "x" * 129, "eve")
        for number, name in enumerate(given):
            self.failureResultOf(self.gate.by_password(name, "guess", f"192.0.2.{number}", "http"))
        key, none = f"key {self.entry.id} in place of a name", "user (what was given is no name)"
        self.assertEqual(
            [one["what"] for one in self.entries()],
            [key, key, none, none, none, none, "user eve"],
        )
        self.assertNotIn(self.secret[16:], Path(self.path).read_text())

    def test_changes_of_the_keyring(self) -> None:
        other, _ = a_key("other", "read:a")
        user, certificate = a_user(role="operator"), a_certificate(subject="CN=a")
        self.gate.adopt(
            Keyring(keys=(self.entry, other), users=(user,), certificates=(certificate,))
        )
        self.gate.adopt(
            Keyring(
                keys=(replace(self.entry, revoked_at=at(1)), replace(other, expires_at=at(9))),
                users=(replace(user, password=NOBODY),),
            )
        )
        mine, others = f"key {self.entry.id} of mailer", f"key {other.id} of other"
        self.assertEqual(
            [one["what"] for one in self.entries()],
            [
                f"{others} added, may read:a",
                "user ann changed, may read:*, cancel:*, metrics, values:read:*, values:write:*",
                "certificate workers added, may claim:mail",
                f"{mine} revoked",
                f"{others} changed, expires 2027-01-15T08:00:09+00:00",
                "user ann changed",
                "certificate workers removed",
            ],
        )
        (about,) = {(one["who"], one["operation"], one["door"]) for one in self.entries()}
        self.assertEqual(about, (None, "change_keyring", "file"))
        for secret in (NOBODY, self.entry.sha256):
            self.assertNotIn(secret, Path(self.path).read_text())

    def test_very_many_changes_of_the_keyring(self) -> None:
        entries = tuple(a_key(str(number))[0] for number in range(MAX_NOTED + 50))
        self.gate.adopt(Keyring(keys=entries))
        self.assertEqual(len(self.entries()), MAX_NOTED + 1)
        self.assertEqual(self.entries()[-1]["what"], "and 52 more")

    def test_who_goes_on_and_on_does_not_fill_the_disk(self) -> None:
        self.keeper.passed = 100.0
        for _ in range(1000):
            self.assertRaises(Unauthenticated, self.gate.by_key, self.secret, "192.0.2.1")
            self.assertRaises(TaskQueueError, self.gate.by_key, "x", "192.0.2.2")
        self.assertEqual(len(self.entries()), 12)

    def test_moved_away(self) -> None:
        self.audit.record(None, "a")
        os.rename(self.path, self.path + ".1")
        self.audit.record(None, "b")
        self.audit.reopen()
        self.audit.record(None, "c")
        self.assertEqual([one["operation"] for one in self.entries()], ["c"])

    def test_long_and_strange_texts(self) -> None:
        self.audit.record(None, "x", what="ü" * 10_000 + "\ud800", peer="\n\ud800")
        (entry,) = self.entries()
        self.assertEqual(entry["what"], "ü" * 500 + "...")
        self.assertEqual(entry["peer"], "\n\ud800")

    def test_a_pipe_that_nobody_reads(self) -> None:
        os.mkfifo(self.path)
        self.audit.record(None, "a")

    def test_a_line_that_did_not_fit(self) -> None:
        """The disk is full in the middle of a line: the next one that fits stands by itself."""
        write = os.write
        self.audit.record(None, "a")
        self.patch(os, "write", lambda file, data: write(file, data[:20]))
        self.audit.record(None, "b")
        self.patch(os, "write", lambda file, data: 0)
        self.audit.record(None, "c")
        self.patch(os, "write", write)
        for name in ("d", "e"):
            self.audit.record(None, name)
        first, torn, *rest = Path(self.path).read_text().splitlines()
        self.assertEqual(len(torn), 20)
        operations = [json.loads(line)["operation"] for line in (first, *rest)]
        self.assertEqual(operations, ["a", "d", "e"])

    def test_a_file_that_cannot_be_written(self) -> None:
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        audit = AuditLog(os.path.join(self.path, "nowhere"))
        for number in range(3):
            audit.record(None, f"operation {number}")
        ours = [one for one in events if one.get("log_namespace") == "taskqueue.audit"]
        levels = [one["log_level"].name for one in ours]
        self.assertEqual(levels, ["error", "info", "info", "info"])
        self.assertEqual(ours[-1]["audit"]["operation"], "operation 2")
