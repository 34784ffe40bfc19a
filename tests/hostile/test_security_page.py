"""
The tables of C{docs/security.md} say what is so.
"""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import resolve_name

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import Config
from taskqueue.config.spec import Spec
from tests.process.children import ROOT

_PAGE = ROOT / "docs" / "security.md"
_UNITS = {"": 1, "s": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DEFAULT = re.compile(r"([\d,]+)(?: (s|[KMG]iB))?(?: \(no bound\))?$")


def chapter(title: str) -> str:
    """What stands under a heading, down to the next of its rank or a higher one."""
    found = re.search(rf"(?ms)^(#+) {re.escape(title)}$(.*?)(?=^#{{1,3}} |\Z)", _PAGE.read_text())
    assert found is not None, title
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][2:]


def value_of(name: str) -> object:
    """The default of a setting, or the value of a constant."""
    section, _, key = name.partition(".")
    if section == "taskqueue":
        return resolve_name(name)
    return getattr(getattr(Config(), section), key)


class CapsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rows = rows(chapter("Caps"))

    def test_defaults(self) -> None:
        for what, bound, default, beyond in self.rows:
            found = _DEFAULT.match(default)
            self.assertIsNotNone(found, f"{what}: {default}")
            number = int(found[1].replace(",", "")) * _UNITS[found[2] or ""]
            self.assertEqual(value_of(bound.strip("`")), number, bound)
            self.assertTrue(beyond, bound)

    def test_every_limit(self) -> None:
        """No setting of a limit is left out."""
        named = {bound.strip("`") for _, bound, _, _ in self.rows}
        limits = {f"limits.{key}" for key in Spec().keys("limits")}
        batches = {f"broker.{key}" for key in Spec().keys("broker") if key.startswith("max_batch")}
        self.assertEqual((limits | batches) - named, set())


class ProofTests(SynchronousTestCase):
    def test_every_test_that_is_named_exists(self) -> None:
        named = re.findall(r"`(…|tests\.)([\w.]+)`", _PAGE.read_text())
        self.assertGreater(len(named), 10)
        module = ""
        for prefix, rest in named:
            if prefix == "…":
                rest = f"{module}.{rest}"
            path, defined = self.split(rest)
            module = ".".join(path)
            self.assertIn(".".join(defined), self.definitions(path), rest)

    def split(self, name: str) -> tuple[list[str], list[str]]:
        """The module, and what is named in it."""
        parts = name.split(".")
        length = next(i for i, part in enumerate(parts) if part.startswith("test_")) + 1
        return parts[:length], parts[length:]

    def definitions(self, path: list[str]) -> set[str]:
        """The classes of a module of tests, and the tests in them, inherited ones too."""
        module = import_module(".".join(["tests", *path]))
        found = set()
        for name, cls in vars(module).items():
            if isinstance(cls, type):
                found |= {name, *(f"{name}.{each}" for each in dir(cls))}
        return found
