"""The reference of the command is the one that the command makes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import exits

ROOT = Path(__file__).resolve().parents[2]

_HEADING = re.compile(r"^### taskqueue (.+)$", re.MULTILINE)

#: A command in a sentence, or at a prompt, as far as it is words.
_SHOWN = re.compile(
    r"(?:`|^\$ )taskqueue ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?(?![\w.:=/-])", re.MULTILINE
)


def shown_in(text: str, there_are: set[str]) -> set[str]:
    """The commands that a page names and that there are not."""
    groups = {command.split()[0] for command in there_are if " " in command}
    commands = {
        f"{first} {second}" if second and first in groups else first
        for first, second in _SHOWN.findall(text)
    }
    return commands - there_are


class Reference(SynchronousTestCase):
    def test_it_is_not_stale(self) -> None:
        found = subprocess.run(
            [sys.executable, "tools/cli_reference.py", "--check"],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual((found.returncode, found.stderr), (0, ""))

    def test_every_exit_status_is_explained(self) -> None:
        named = {
            (value, name)
            for name, value in vars(exits).items()
            if name.isupper() and isinstance(value, int)
        }
        self.assertEqual({(number, name) for number, name, _ in exits.MEANINGS}, named)
        page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        for number, name, _ in exits.MEANINGS:
            self.assertIn(f"| {number} | `{name}` |", page)

    def test_commands_in_the_documents_are_there(self) -> None:
        there_are = set(_HEADING.findall((ROOT / "docs" / "cli.md").read_text(encoding="utf-8")))
        pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for page in pages:
            self.assertEqual(shown_in(page.read_text(encoding="utf-8"), there_are), set(), page)
        text = "`taskqueue tasks list`, `taskqueue list x`, `taskqueue keys make`"
        self.assertEqual(shown_in(text, there_are), {"tasks", "keys make"})
