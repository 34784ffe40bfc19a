"""
The programs in the documents run, as a reader would run them.

In the pages of L{PAGES}, a block of Python that begins with C{# tasks.py} is
that file; the other blocks, one after the other, are a program beside it, run
while a worker has the tasks.  In all pages, Python must at least compile.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.examples.running import ExampleTestCase

DOCS = Path(__file__).resolve().parent.parent / "docs"

#: Whose Python is run.
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\w+\.py)\n")
_QUEUE = re.compile(r"queue=\"(\w+)\"")

ADDRESS = "tq://127.0.0.1:7780"


def blocks(page: Path) -> list[str]:
    """The Python in a page."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def programs(page: Path) -> tuple[dict[str, str], str]:
    """The files in a page by their names, and the program beside them."""
    files: dict[str, str] = {}
    rest: list[str] = []
    for block in blocks(page):
        named = _NAMED.match(block)
        if named:
            files[named[1]] = block
        else:
            rest.append(block)
    return files, "\n".join(rest)


class CompileTests(SynchronousTestCase):
    def test_all_python_is_python(self) -> None:
        for page in DOCS.rglob("*.md"):
            for block in blocks(page):
                compile(block, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    def test_there_is_something_to_run(self) -> None:
        self.assertGreater(sum(bool(programs(page)[0]) for page in PAGES), 7)


class RunTests(ExampleTestCase):
    """A test for each page."""

    def run_page(self, page: Path) -> None:
        """Run what stands in C{page}."""
        files, program = programs(page)
        self.begin_broker()
        for name, text in {**files, "main.py": program}.items():
            (self.folder / name).write_text(text.replace(ADDRESS, self.address))
        if files:
            queues = {"default", *_QUEUE.findall("".join(files.values()))}
            self.begin_worker("tasks:app", ",".join(sorted(queues)))
        self.succeeded("main")


def _test_of(page: Path) -> Callable[[RunTests], None]:
    return lambda case: case.run_page(page)


for _page in PAGES:
    if programs(_page)[1]:
        setattr(RunTests, f"test_{_page.stem}", _test_of(_page))
