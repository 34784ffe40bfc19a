"""Keys through any sequence of changes: who holds one is let in exactly as the file says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.editing import add_key, permit, revoke_keys, rotate_key
from taskqueue.access.identities import Identity
from taskqueue.access.keyring import Keyring
from taskqueue.errors import Unauthenticated
from tests.access.entries import Keeper, at

_NAMES = st.sampled_from(["a", "b"])
_WORDS = st.sampled_from([("submit:x",), ("read:*", "metrics"), ("admin",)])


class Known:
    """
    What is known of one key: the model.

    @ivar ends: when it counts no more, in seconds of the test; C{None} for never.
    @ivar seen: identities that it gave.
    """

    def __init__(self, name: str, text: str, words: tuple[str, ...], ends: float | None) -> None:
        self.name = name
        self.text = text
        self.words = list(words)
        self.ends = ends
        self.seen: list[Identity] = []


class KeyMachine(RuleBasedStateMachine):
    """Keys are made, renewed, revoked and changed, and expire, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = Keeper(Keyring())
        self.keyring = Keyring()
        self.known: list[Known] = []

    def current(self, name: str) -> list[Known]:
        return [one for one in self.known if one.name == name and self.counts(one)]

    def counts(self, one: Known) -> bool:
        return one.ends is None or self.keeper.passed < one.ends

    def adopt(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.keeper.gate.adopt(keyring)

    @rule(name=_NAMES, words=_WORDS, lasts=st.none() | st.integers(1, 50))
    def make(self, name: str, words: tuple[str, ...], lasts: int | None) -> None:
        if self.current(name):
            return
        now = self.keeper.passed
        ends = None if lasts is None else now + lasts
        expires_at = None if ends is None else at(ends)
        keyring, secret = add_key(
            self.keyring, name, now=at(now), allow=words, expires_at=expires_at
        )
        self.known.append(Known(name, secret.text, words, ends))
        self.adopt(keyring)

    @rule(name=_NAMES, grace=st.integers(0, 30))
    def rotate(self, name: str, grace: int) -> None:
        current = self.current(name)
        if not current:
            return
        now = self.keeper.passed
        keyring, secret = rotate_key(
            self.keyring, name, now=at(now), grace=timedelta(seconds=grace), expires_at=at(now + 40)
        )
        words = current[-1].words
        for one in current:
            one.ends = now + grace if one.ends is None else min(one.ends, now + grace)
        self.known.append(Known(name, secret.text, tuple(words), now + 40))
        self.adopt(keyring)

    @rule(name=_NAMES)
    def revoke(self, name: str) -> None:
        current = self.current(name)
        if not current:
            return
        self.adopt(revoke_keys(self.keyring, name, now=at(self.keeper.passed))[0])
        for one in current:
            one.ends = self.keeper.passed

    @precondition(lambda self: self.known)
    @rule(data=st.data(), words=_WORDS)
    def change(self, data: Any, words: tuple[str, ...]) -> None:
        name = data.draw(st.sampled_from([one.name for one in self.known]))
        self.adopt(permit(self.keyring, "keys", name, allow=words))
        for one in self.known:
            if one.name == name:
                one.words = list(words)

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        before = {id(one) for one in self.known if self.counts(one)}
        told = self.keeper.told
        self.keeper.gate.expire()
        told, self.keeper.passed = self.keeper.told, self.keeper.passed + seconds
        self.keeper.gate.expire()
        ended = any(id(one) in before and not self.counts(one) for one in self.known)
        assert not ended or self.keeper.told > told, "nobody was told that one expired"

    @invariant()
    def who_holds_a_key_is_let_in_as_the_file_says(self) -> None:
        gate = self.keeper.gate
        for one in self.known:
            if self.counts(one):
                found = gate.by_key(one.text)
                assert found.name == one.name
                assert found.permissions.words() == one.words
                if not any(found is other for other in one.seen):
                    one.seen.append(found)
                continue
            try:
                gate.by_key(one.text)
            except Unauthenticated:
                pass
            else:
                raise AssertionError("a key counts that does not")

    @invariant()
    def who_is_in_is_who_the_file_says(self) -> None:
        gate = self.keeper.gate
        for one in self.known:
            expected = gate.by_key(one.text) if self.counts(one) else None
            for identity in one.seen:
                assert gate.refresh(identity) is expected


class LifeTests(SynchronousTestCase):
    def test_any_sequence_of_changes(self) -> None:
        KeyMachine.TestCase.settings = settings(derandomize=True, deadline=None, max_examples=60)
        case = KeyMachine.TestCase()
        case.runTest()
