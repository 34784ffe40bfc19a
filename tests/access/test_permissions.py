"""What somebody may do, and the words for it."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.permissions import (
    IMPLIED,
    MAX_WORDS,
    MEANINGS,
    REMEMBERED_QUEUES,
    ROLES,
    WITHOUT_QUEUE,
    Action,
    Permissions,
    fits,
)
from taskqueue.errors import BadRequest

#: Few letters, so that patterns fit.
_NAMES = st.text("ab-", min_size=1, max_size=8)
_PATTERNS = st.text("ab-*", min_size=1, max_size=8)
_PER_QUEUE = [action for action in Action if action not in WITHOUT_QUEUE]
_WORDS = st.one_of(
    st.sampled_from(["metrics", "submit", "read"]),
    st.builds("{}:{}".format, st.sampled_from(_PER_QUEUE), _PATTERNS),
)
given_always = settings(derandomize=True, deadline=None)


def allow(*words: str) -> Permissions:
    return Permissions.parse(words)


class MeaningTests(SynchronousTestCase):
    def test_every_action_has_a_meaning(self) -> None:
        self.assertEqual(set(MEANINGS), set(Action))

    def test_a_queue_and_no_other(self) -> None:
        found = allow("submit:mail", "claim:mail")
        self.assertTrue(found.allows(Action.SUBMIT, "mail"))
        self.assertFalse(found.allows(Action.SUBMIT, "mails"))
        self.assertFalse(found.allows(Action.READ, "mail"))
        self.assertFalse(found.allows(Action.SUBMIT))
        self.assertFalse(found.everywhere(Action.SUBMIT))
        self.assertTrue(found.anywhere(Action.SUBMIT))
        self.assertFalse(found.anywhere(Action.READ))
        self.assertFalse(found.unrestricted)

    def test_patterns(self) -> None:
        found = allow("read:mail-*", "read:eu/*/in")
        for queue, may in (
            ("mail-", True),
            ("mail-x", True),
            ("mail", False),
            ("eu//in", True),
            ("eu/a/b/in", True),
            ("eu/in", False),
        ):
            self.assertEqual(found.allows(Action.READ, queue), may, queue)

    def test_an_action_alone_is_for_every_queue(self) -> None:
        for word in ("read", "read:*", "read:**", " read : * "):
            found = allow(word)
            self.assertTrue(found.everywhere(Action.READ), word)
            self.assertTrue(found.allows(Action.READ), word)
            self.assertTrue(found.allows(Action.READ, "mail"), word)
            self.assertEqual(found.words(), ["read:*"])

    def test_admin_is_everything(self) -> None:
        found = allow("admin")
        self.assertTrue(found.unrestricted)
        for action in Action:
            self.assertTrue(found.allows(action))
            self.assertTrue(found.allows(action, "mail"))
            self.assertTrue(found.everywhere(action))
            self.assertTrue(found.anywhere(action))
            self.assertEqual(found.patterns(action), ("*",))

    def test_what_concerns_the_broker_has_no_queue(self) -> None:
        found = allow("metrics")
        self.assertTrue(found.allows(Action.METRICS, "mail"))
        self.assertTrue(found.allows(Action.METRICS))
        self.assertFalse(found.allows(Action.ADMIN, "mail"))

    def test_nothing(self) -> None:
        found = allow()
        self.assertEqual(found.words(), [])
        self.assertFalse(any(found.anywhere(action) for action in Action))

    def test_roles(self) -> None:
        self.assertEqual(set(ROLES), {"viewer", "operator", "admin"})
        operator = Permissions.of_role("operator", ["submit:mail"])
        self.assertTrue(operator.allows(Action.CANCEL, "x"))
        self.assertTrue(operator.allows(Action.SUBMIT, "mail"))
        self.assertFalse(operator.allows(Action.SUBMIT, "x"))
        self.assertFalse(operator.allows(Action.ADMIN))
        self.assertFalse(Permissions.of_role("viewer").anywhere(Action.CANCEL))
        self.assertTrue(Permissions.of_role("admin").unrestricted)

    def test_answers_are_not_remembered_without_end(self) -> None:
        found = allow("read:mail-*")
        for number in range(3 * REMEMBERED_QUEUES):
            self.assertTrue(found.allows(Action.READ, f"mail-{number}"))
            self.assertFalse(found.allows(Action.READ, f"{number}"))
        self.assertLessEqual(len(found._answers[Action.READ]), REMEMBERED_QUEUES)

    def test_equal_where_they_allow_the_same(self) -> None:
        self.assertEqual(allow("read:b", "read:a"), allow("read:a", "read:b", "read:a"))
        self.assertEqual(hash(allow("read:*", "read:a")), hash(allow("read")))
        self.assertNotEqual(allow("read:a"), allow("submit:a"))
        self.assertNotEqual(allow("read:a"), "read:a")
        self.assertEqual(repr(allow("read:a", "metrics")), "<Permissions read:a, metrics>")


class WrongWordTests(SynchronousTestCase):
    def why(self, *words: str) -> str:
        return str(self.assertRaises(BadRequest, Permissions.parse, words))

    def test_what_is_wrong_is_said(self) -> None:
        for word, *parts in (
            ("sumbit:mail", "no action 'sumbit'", "Did you mean submit?"),
            ("READ:x", "no action 'READ'", "Did you mean read?"),
            ("fly", "no action 'fly'.", "submit, claim, read, cancel, admin, metrics"),
            ("", "no action ''", "such as submit:mail"),
            ("read:", "'read:': after the colon", "For every queue write read:*"),
            ("read:a b", "'read:a b'", "letters, digits and _ - . : / *"),
            ("read:" + "x" * 129, "1 to 128 characters", "..."),
            ("admin:mail", "takes no queue", "write admin."),
            ("metrics:*", "takes no queue", "write metrics."),
        ):
            for part in parts:
                self.assertIn(part, self.why(word))

    def test_too_many(self) -> None:
        Permissions.parse(f"read:{number}" for number in range(MAX_WORDS))
        self.assertIn("100", self.why(*(f"read:{number}" for number in range(MAX_WORDS + 1))))

    def test_no_such_role(self) -> None:
        error = self.assertRaises(BadRequest, Permissions.of_role, "Operater")
        self.assertIn("Did you mean operator?", str(error))
        error = self.assertRaises(BadRequest, Permissions.of_role, "x")
        self.assertIn("The roles are viewer, operator, admin.", str(error))


class PatternProperties(SynchronousTestCase):
    @given_always
    @given(_PATTERNS, _NAMES)
    def test_an_asterisk_stands_for_any_run(self, pattern: str, queue: str) -> None:
        expression = ".*".join(re.escape(part) for part in pattern.split("*"))
        self.assertEqual(fits(pattern, queue), re.fullmatch(expression, queue) is not None)

    @given_always
    @given(st.lists(_WORDS, max_size=6), st.sampled_from(list(Action)), _NAMES)
    def test_allowed_is_what_some_word_allows(
        self, words: list[str], action: Action, queue: str
    ) -> None:
        """Leaving out words that others include changes nothing."""
        found = Permissions.parse(words)
        names = sorted(map(str, Action), key=len, reverse=True)
        parts = [
            (name, word.removeprefix(name).removeprefix(":"))
            for word in words
            for name in names
            if word == name or word.startswith(f"{name}:")
        ]
        expected = any(
            (name == action or name in IMPLIED.get(action, ()))
            and (action in WITHOUT_QUEUE or fits(pattern or "*", queue))
            for name, pattern in parts
        )
        for _ in range(2):  # the second answer is remembered
            self.assertEqual(found.allows(action, queue), expected)
        self.assertEqual(any(fits(pattern, queue) for pattern in found.patterns(action)), expected)

    @given_always
    @given(st.lists(_WORDS, max_size=6))
    def test_its_words_say_it_again(self, words: list[str]) -> None:
        found = Permissions.parse(words)
        self.assertEqual(Permissions.parse(found.words()), found)
        self.assertEqual(Permissions.parse(found.words()).words(), found.words())

    @given_always
    @given(st.lists(_WORDS, max_size=6), st.sampled_from(list(Action)), _NAMES)
    def test_everywhere_is_more_than_anywhere(
        self, words: list[str], action: Action, queue: str
    ) -> None:
        found = Permissions.parse(words)
        if found.everywhere(action):
            self.assertTrue(found.allows(action, queue))
        if found.allows(action, queue):
            self.assertTrue(found.anywhere(action))

    @given_always
    @given(st.text(max_size=20))
    def test_any_text_is_a_permission_or_a_sentence(self, word: str) -> None:
        found: Any = None
        try:
            found = Permissions.parse([word])
        except BadRequest as error:
            self.assertTrue(str(error).endswith("."), str(error))
        else:
            self.assertEqual(len(found.words()), 1)

    def test_many_asterisks_take_no_time(self) -> None:
        """A regular expression would try 10^20 divisions here."""
        self.assertFalse(fits("*a" * 60 + "*b", "a" * 127))
