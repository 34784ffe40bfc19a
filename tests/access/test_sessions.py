"""Sessions of people who have signed in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access import sessions as module
from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Permissions
from taskqueue.access.sessions import Sessions


def somebody(name: str = "ann") -> Identity:
    return Identity(name, "user", Permissions.of_role("viewer"))


class SessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.sessions = Sessions(lambda: self.now, 60.0, 1000.0)
        self.patch(module, "MAX_SESSIONS", 20)
        self.patch(module, "MAX_SESSIONS_OF_ONE", 5)

    def test_tokens_are_not_kept(self) -> None:
        tokens = {self.sessions.open(somebody(str(n))) for n in range(10)}
        self.assertEqual(len(tokens), 10)
        kept = repr(self.sessions._open)
        for token in tokens:
            self.assertGreaterEqual(len(token), 43)
            self.assertNotIn(token, kept)

    def test_one_too_many_of_one_name(self) -> None:
        tokens = []
        for _ in range(7):
            tokens.append(self.sessions.open(somebody()))
            self.now += 1
        found = [self.sessions.find(token) is not None for token in tokens]
        self.assertEqual(found, [False] * 2 + [True] * 5)

    def test_one_too_many(self) -> None:
        first = self.sessions.open(somebody("first"))
        second = self.sessions.open(somebody("second"))
        self.sessions.find(first)  # used since
        for number in range(19):
            self.sessions.open(somebody(str(number)))
        self.assertEqual(len(self.sessions), 20)
        self.assertIsNotNone(self.sessions.find(first))
        self.assertIsNone(self.sessions.find(second))

    def test_those_that_are_over_are_forgotten(self) -> None:
        for number in range(10):
            self.sessions.open(somebody(str(number)))
        self.now = 60.0
        token = self.sessions.open(somebody())
        self.assertEqual(len(self.sessions), 1)
        self.sessions.clear()
        self.assertIsNone(self.sessions.find(token))

    def test_renewed_for_who_is_not_there(self) -> None:
        self.sessions.renew("x", somebody())
        self.assertEqual(len(self.sessions), 0)
