"""
docs/compatibility.md: every row names a test, and there is one of that name.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"

#: The last column of a row: tests by their dotted names, below C{tests}.
NAMED = re.compile(r"`(tests(?:\.\w+)+)`")


def rows() -> list[list[str]]:
    """The cells of every row of the page's tables of four columns, without their heads."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "").strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and not re.match(r"-+$", cells[0]):
            found.append(cells)
    return [cells for cells in found if not cells[3].lower().startswith("test")]


def is_there(name: str) -> bool:
    """Whether C{name} is that of a module, a class or a method of the tests."""
    path, parts = ROOT, name.split(".")
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    if not parts:
        return True
    module = path / f"{parts.pop(0)}.py"
    return module.is_file() and _defines(ast.parse(module.read_text(encoding="utf-8")), parts)


def _defines(node: ast.Module | ast.ClassDef | ast.FunctionDef, parts: list[str]) -> bool:
    if not parts:
        return True
    return any(
        _defines(each, parts[1:])
        for each in node.body
        if isinstance(each, ast.ClassDef | ast.FunctionDef) and each.name == parts[0]
    )


class CompatibilityPageTests(SynchronousTestCase):
    def test_every_row_names_a_test(self) -> None:
        """What nobody tests is not claimed."""
        for cells in rows():
            self.assertRegex(cells[3], NAMED, f"{cells[0]}: its test is not named")

    def test_every_test_that_is_named_is_there(self) -> None:
        named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
        self.assertEqual([name for name in named if not is_there(name)], [])

    def test_looks_for_methods_too(self) -> None:
        here = "tests.test_compatibility_page"
        self.assertTrue(is_there(f"{here}.CompatibilityPageTests.test_looks_for_methods_too"))
        self.assertFalse(is_there(f"{here}.CompatibilityPageTests.test_of_nothing"))
        self.assertFalse(is_there("tests.test_of_nothing"))
