"""What can be done to a keyring, beyond what the commands' tests show."""

from __future__ import annotations

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.editing import KEPT, add_key, allow_certificate, revoke_keys, rotate_key
from taskqueue.access.keyring import Keyring, digest_of, id_of, new_secret
from taskqueue.access.permissions import MAX_WORDS
from taskqueue.access.soundness import problems_of
from taskqueue.errors import BadRequest
from tests.access.entries import MADE_AT, at

_DAY = timedelta(days=1)


class SecretTests(SynchronousTestCase):
    def test_no_two_are_alike(self) -> None:
        secrets = [new_secret() for _ in range(100)]
        self.assertEqual(len({one.text for one in secrets}), 100)
        self.assertEqual(len({one.id for one in secrets}), 100)
        for one in secrets:
            self.assertEqual(id_of(one.text), one.id)
            self.assertEqual(len(digest_of(one.text)), 64)
            self.assertNotIn(one.text[16:], repr(one))

    def test_what_is_no_key_has_no_id(self) -> None:
        text = new_secret().text
        for wrong in ("", text[:-1], text + "x", text.replace("tq", "tk"), " " + text, text + "\n"):
            self.assertIsNone(id_of(wrong))

    def test_a_whole_key_in_place_of_a_name_is_not_repeated(self) -> None:
        keyring, secret = add_key(Keyring(), "a", now=MADE_AT, role="admin")
        for change in (
            lambda name: revoke_keys(keyring, name, now=MADE_AT),
            lambda name: rotate_key(keyring, name, now=MADE_AT, grace=_DAY),
        ):
            said = str(self.assertRaises(BadRequest, change, secret.text))
            self.assertNotIn(secret.text[16:], said)
            self.assertIn(f"the part in the middle, {secret.id}.", said)


class TextTests(SynchronousTestCase):
    def test_what_is_beside_the_name(self) -> None:
        for text in ("\ud800", "a\nb", "x" * 501):
            with self.assertRaises(BadRequest):
                add_key(Keyring(), "a", now=MADE_AT, role="admin", note=text)
            with self.assertRaises(BadRequest):
                allow_certificate(Keyring(), "a", now=MADE_AT, role="admin", subject=text)

    def test_a_role_counts_with_what_is_allowed_beside_it(self) -> None:
        words = [f"submit:{number}" for number in range(MAX_WORDS)]
        add_key(Keyring(), "a", now=MADE_AT, allow=words)
        with self.assertRaises(BadRequest):
            add_key(Keyring(), "a", now=MADE_AT, allow=words, role="viewer")


class KeptTests(SynchronousTestCase):
    def test_revoked_keys_are_forgotten_after_a_while(self) -> None:
        keyring, _ = add_key(Keyring(), "a", now=MADE_AT, role="admin")
        keyring, _ = revoke_keys(keyring, "a", now=MADE_AT)
        early, _ = add_key(keyring, "b", now=MADE_AT + KEPT - _DAY, role="admin")
        late, _ = add_key(keyring, "b", now=MADE_AT + KEPT, role="admin")
        self.assertEqual([one.name for one in early.keys], ["a", "b"])
        self.assertEqual([one.name for one in late.keys], ["b"])

    def test_a_name_is_free_again(self) -> None:
        keyring, _ = add_key(Keyring(), "a", now=MADE_AT, role="admin", expires_at=at(10))
        with self.assertRaises(BadRequest):
            add_key(keyring, "a", now=at(9.9), role="admin")
        again, _ = add_key(keyring, "a", now=at(10), role="admin")
        self.assertEqual(list(problems_of(again)), [])


class RotateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.keyring, _ = add_key(
            Keyring(), "a", now=MADE_AT, role="admin", expires_at=MADE_AT + 10 * _DAY, note="n"
        )

    def test_as_long_as_the_old_one_was_given(self) -> None:
        now = MADE_AT + 4 * _DAY
        keyring, secret = rotate_key(self.keyring, "a", now=now, grace=_DAY)
        old, new = keyring.keys
        self.assertEqual(old.expires_at, now + _DAY)
        self.assertEqual(new.expires_at, now + 10 * _DAY)
        self.assertEqual((new.id, new.sha256), (secret.id, digest_of(secret.text)))
        self.assertEqual((new.name, new.role, new.note), ("a", "admin", "n"))

    def test_no_longer_than_the_old_one_would_have(self) -> None:
        now = MADE_AT + 9 * _DAY
        keyring, _ = rotate_key(self.keyring, "a", now=now, grace=7 * _DAY)
        self.assertEqual(keyring.keys[0].expires_at, MADE_AT + 10 * _DAY)

    def test_until_a_day(self) -> None:
        keyring, _ = rotate_key(self.keyring, "a", now=at(0), grace=_DAY, expires_at=at(99))
        self.assertEqual(keyring.keys[1].expires_at, at(99))

    def test_twice_within_the_grace(self) -> None:
        keyring, _ = rotate_key(self.keyring, "a", now=at(0), grace=_DAY)
        keyring, _ = rotate_key(keyring, "a", now=at(1), grace=timedelta(0))
        self.assertEqual([one.revoked_at for one in keyring.keys], [at(1), at(1), None])

    def test_one_that_has_expired(self) -> None:
        with self.assertRaises(BadRequest):
            rotate_key(self.keyring, "a", now=MADE_AT + 10 * _DAY, grace=_DAY)
