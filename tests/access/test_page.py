"""What the page on security says in numbers and tables is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access import keyring, passwords, sessions, throttle
from taskqueue.access.editing import KEPT
from taskqueue.access.gate import MAX_CHECKS
from taskqueue.access.permissions import MEANINGS, ROLES
from taskqueue.access.throttle import FailedAttempts
from taskqueue.service.gatekeeping import HASHING_THREADS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def rows_under(heading: str) -> list[tuple[str, str]]:
    """The rows of two columns below a heading, their heads left out."""
    part = PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[\w:]+`) \| (.*) \|$", part, re.MULTILINE)
    return [(name.strip("`"), text) for name, text in rows]


class PageTests(SynchronousTestCase):
    def test_actions_and_roles(self) -> None:
        rows = dict(rows_under("## What they may do"))
        expected = {action.value: meaning for action, meaning in MEANINGS.items()}
        roles = {name: ", ".join(f"`{word}`" for word in words) for name, words in ROLES.items()}
        self.assertEqual(rows, {**expected, **roles})

    def test_numbers(self) -> None:
        failed = FailedAttempts()
        for words in (
            f"and {keyring._SECRET_LENGTH} more characters",
            f"at least {passwords.SHORTEST} characters",
            f"({passwords.MEMORY_KIB // 1024} MiB, {passwords.PASSES} passes",
            f"and {MAX_CHECKS} waiting at most",
            f"{sessions.MAX_SESSIONS:,} sessions at most, {sessions.MAX_SESSIONS_OF_ONE} of one",
            f"{throttle.CAPACITY:,} addresses are remembered",
            f"kept in the file for {KEPT.days} days",
        ):
            self.assertIn(words, PAGE)
        self.assertEqual(HASHING_THREADS, 2)
        self.assertIn("two at a time", PAGE)
        self.assertEqual((failed._free, failed._first_s, failed._longest_s), (5, 1.0, 300.0))
        self.assertIn(
            "Five failures cost nothing. After each further one an address has to wait", PAGE
        )
        self.assertIn("a second, then twice as long each time, up to five minutes", PAGE)
        self.assertEqual(failed._forgiven_s, 15 * 60)
