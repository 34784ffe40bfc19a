"""
The house rules that a machine can check: which room may import which, where the
reactor may be touched, and the habits of modules and tests.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "taskqueue"

#: The rooms of the package, lowest first: a room imports from lower layers only.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "ids"),
    ("core",),
    ("strictjson", "beanstalkd_line"),
    ("framing",),
    ("wire",),
    ("store",),
    ("config", "logs", "transport"),
    ("access",),
    ("service",),
    ("operations",),
    ("frontends",),
    ("client",),
    ("app",),
    ("worker",),
    ("cli", "contrib", "polling", "process", "reloading", "systemd", "web"),
    ("application",),
    ("testing",),
    ("tap", "beanstalkd", "__main__"),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}

BROKER_SIDE = frozenset({"store", "service", "frontends"})

#: What a room must not import although it is lower: the two sides meet on the wire only.
FORBIDDEN: dict[str, frozenset[str]] = {
    "client": BROKER_SIDE | {"operations", "config", "logs", "access"},
    "app": BROKER_SIDE | {"operations", "config", "logs", "access"},
    "worker": BROKER_SIDE | {"access"},
    "cli": BROKER_SIDE,
    "contrib": BROKER_SIDE | {"operations", "config", "access", "cli", "web"},
    "web": frozenset({"client", "worker"}),
}

WITHOUT_TWISTED = ("errors", "ids", "core", "strictjson", "framing", "wire")
WITHOUT_REACTOR_MACHINERY = tuple(room for room, rank in RANK.items() if rank < RANK["service"])

#: What brings no event loop along: interfaces are only words, and a Deferred is a value.
WORDS_OF_TWISTED = {"access": ("twisted.internet.interfaces", "twisted.internet.defer")}

#: The core has no I/O and no clock: whoever calls it says what time it is.
NOT_IN_CORE = frozenset(
    {
        *("asyncio", "select", "socket", "threading"),
        *("io", "os", "pathlib", "shutil", "sqlite3", "subprocess", "tempfile"),
        *("logging", "signal", "time"),
    }
)

#: Where programs start: the broker's, and those that use it without naming a reactor.
REACTOR_ROOMS = ("tap", "client")

LONGEST_MODULE = 400
VAGUE_NAMES = frozenset({"util", "helper", "common", "manager", "misc"})
# Spelt apart so that this module does not find itself.
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
SLEEPS = re.compile(r"\btime\.sleep\(|^\s*from time import .*\bsleep\b", re.MULTILINE)
SYNCHRONOUS_CALLBACKS = frozenset({"dataReceived", "lineReceived", "stringReceived"})


def sources(*folders: str) -> Iterator[Path]:
    """Every Python file under these folders of the checkout."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    line = getattr(node, "lineno", None)
    return str(path.relative_to(ROOT)) + (f":{line}" if line else "")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """
    C{node} and all statements within it: what L{ast.walk} gives, without the expressions,
    which are ten times as many.
    """
    waiting = deque([node])
    while waiting:
        node = waiting.popleft()
        yield node
        for block in ("body", "handlers", "cases", "orelse", "finalbody"):
            within_it = getattr(node, block, ())
            if isinstance(within_it, list):
                waiting.extend(within_it)


def imported(node: ast.AST) -> Iterator[str]:
    """The dotted names that one statement imports: C{from a import b} gives C{a.b}."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every import in C{tree}, wherever it stands, with its statement."""
    for node in statements(tree):
        for name in imported(node):
            yield node, name


def within(name: str, package: str) -> bool:
    """Whether the dotted C{name} is C{package} or lies in it."""
    return name == package or name.startswith(package + ".")


def room_of(path: Path) -> str | None:
    """The room that a module of the package belongs to; C{None} for the package itself."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return None if first == "__init__" else first


def for_type_checkers(tree: ast.Module) -> set[int]:
    """What stands below C{if TYPE_CHECKING}, by identity: it is not imported by running."""
    return {
        id(node)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in statements(block)
    }


def upward(room: str | None, tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """The imports in a module of C{room} that the layers do not allow, and why."""
    # The package itself names what is below it, and imports none of it before it is asked for.
    passed = for_type_checkers(tree) if room is None else set()
    for node, name in imports(tree):
        if id(node) in passed:
            continue
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package != "taskqueue" or other not in RANK or other == room:
            continue
        if room is None or RANK[other] >= RANK.get(room, -1):
            yield node, f"{room or 'the package itself'} must not import {other}, above it"
        elif other in FORBIDDEN.get(room, ()):
            yield node, f"{room} must not import {other}, of the other side"


def reactor_imports(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Every import of the global reactor, and whether it stands inside a function."""
    functions = [
        n for n in statements(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    inside = {id(node) for function in functions for node in statements(function)}
    for node, name in imports(tree):
        if within(name, "twisted.internet.reactor"):
            yield node, id(node) in inside


def is_word(room: str | None, name: str) -> bool:
    """Whether a room without an event loop may import this of C{twisted.internet}."""
    words = WORDS_OF_TWISTED.get(room or "", ("twisted.internet.interfaces",))
    return any(within(name, word) for word in words)


def asynchronous(tree: ast.Module) -> Iterator[ast.AsyncFunctionDef]:
    return (node for node in statements(tree) if isinstance(node, ast.AsyncFunctionDef))


class HouseRules(SynchronousTestCase):
    def assertNothing(self, found: Iterable[str]) -> None:
        listed = list(found)
        self.assertEqual(listed, [], "\n" + "\n".join(listed))

    def package(self, *rooms: str) -> list[tuple[Path, ast.Module]]:
        """The modules of these rooms, or of the whole package."""
        found = [p for p in sources("taskqueue") if not rooms or room_of(p) in rooms]
        self.assertTrue(found)
        return [(path, parsed(path)) for path in found]


class ArchitectureTests(HouseRules):
    def test_every_room_has_a_layer(self) -> None:
        """A room that L{LAYERS} does not name would escape every other rule."""
        rooms = {room_of(path) for path in sources("taskqueue")} - {None}
        self.assertNothing(f"{room} has no place in LAYERS" for room in rooms if room not in RANK)

    def test_imports_point_downward(self) -> None:
        self.assertNothing(
            f"{place(path, node)}: {why}"
            for path, tree in self.package()
            for node, why in upward(room_of(path), tree)
        )

    def test_pure_rooms_know_no_twisted(self) -> None:
        present = [path for path, _ in self.package() if room_of(path) in WITHOUT_TWISTED]
        self.assertNothing(
            f"{place(path, node)}: imports {name}"
            for path in present
            for node, name in imports(parsed(path))
            if within(name, "twisted")
        )

    def test_the_core_has_no_clock_and_no_io(self) -> None:
        self.assertNothing(
            f"{place(path, node)}: imports {name}"
            for path, tree in self.package("core")
            for node, name in imports(tree)
            if name.partition(".")[0] in NOT_IN_CORE
        )

    def test_nothing_below_the_service_knows_the_event_loop(self) -> None:
        self.assertNothing(
            f"{place(path, node)}: imports {name}"
            for path, tree in self.package(*WITHOUT_REACTOR_MACHINERY)
            for node, name in imports(tree)
            if within(name, "twisted.internet") and not is_word(room_of(path), name)
        )

    def test_only_functions_of_few_rooms_import_the_reactor(self) -> None:
        self.assertNothing(
            f"{place(path, node)}: imports the reactor"
            for path, tree in self.package()
            for node, inside in reactor_imports(tree)
            if room_of(path) not in REACTOR_ROOMS or not inside
        )

    def test_importing_everything_installs_no_reactor(self) -> None:
        """Nor does any library that a module imports: the embedder chooses the reactor."""
        names = [
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for path in sources("taskqueue")
            if path.name != "__main__.py"
        ]
        script = (
            "import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "    if 'twisted.internet.reactor' in sys.modules: sys.exit(name)\n"
        )
        child = subprocess.run(
            [sys.executable, "-c", script, *names],
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual(child.returncode, 0, child.stderr)


class HabitTests(HouseRules):
    def test_modules_are_short(self) -> None:
        lengths = [(len(p.read_text().splitlines()), p) for p in sources("taskqueue")]
        self.assertNothing(
            f"{place(path)}: {lines} lines, split it by meaning"
            for lines, path in lengths
            if lines > LONGEST_MODULE
        )

    def test_names_mean_something(self) -> None:
        everything = sources("taskqueue", "tests", "tools", "examples", "benchmarks")
        self.assertNothing(
            f"{place(path)}: {part!r} says nothing"
            for path in everything
            for part in re.split(r"[_/.]", str(path.relative_to(ROOT)))
            if part.removesuffix("s") in VAGUE_NAMES
        )

    def test_nothing_is_left_for_later(self) -> None:
        everything = sources("taskqueue", "tests", "tools", "examples", "benchmarks", "twisted")
        self.assertNothing(
            f"{place(path)}:{number}: {line.strip()}"
            for path in everything
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if UNFINISHED.search(line)
        )

    def test_protocol_callbacks_are_synchronous(self) -> None:
        """Twisted drops the coroutine that an async one returns: its body never runs."""
        self.assertNothing(
            f"{place(path, node)}: async def {node.name}"
            for path, tree in self.package()
            for node in asynchronous(tree)
            if node.name in SYNCHRONOUS_CALLBACKS
        )

    def test_coroutines_not_inline_callbacks(self) -> None:
        self.assertNothing(
            f"{place(path)}: has inlineCallbacks"
            for path in sources("taskqueue")
            if "inlineCallbacks" in path.read_text()
        )

    def test_tests_do_not_sleep(self) -> None:
        self.assertNothing(
            f"{place(path)}: sleeps" for path in sources("tests") if SLEEPS.search(path.read_text())
        )

    def test_test_methods_are_not_coroutines(self) -> None:
        """
        L{SynchronousTestCase} passes an async test without running it.  What
        C{flow} decorates is a method that returns a Deferred.
        """
        self.assertNothing(
            f"{place(path, node)}: async def {node.name}"
            for path in sources("tests")
            for node in asynchronous(parsed(path))
            if node.name.startswith("test") and "flow" not in map(ast.unparse, node.decorator_list)
        )


class RulesCanFailTests(SynchronousTestCase):
    """Each rule sees what it is there for."""

    def whys(self, room: str | None, source: str) -> list[str]:
        return [why for _, why in upward(room, ast.parse(source))]

    def test_an_upward_import_is_seen(self) -> None:
        for room, source in (
            ("core", "from taskqueue.service import x"),
            ("store", "import taskqueue.config"),
            ("config", "from taskqueue import logs"),
            ("wire", "def f():\n    from taskqueue.store.interface import Page"),
            (None, "from taskqueue import errors"),
            (None, "def f():\n    from taskqueue import errors"),
            ("app", "if TYPE_CHECKING:\n    from taskqueue.worker import x"),
        ):
            self.assertEqual(len(self.whys(room, source)), 1, source)

    def test_the_other_side_is_seen(self) -> None:
        for room, source in (
            ("client", "from taskqueue.service import x"),
            ("worker", "from taskqueue.frontends.native.framed import y"),
            ("cli", "import taskqueue.store.sqlite"),
            ("web", "from taskqueue.client import z"),
        ):
            self.assertIn("other side", " ".join(self.whys(room, source)))

    def test_downward_imports_pass(self) -> None:
        for room, source in (
            ("client", "from taskqueue import errors, wire\nfrom taskqueue import __version__"),
            ("core", "from taskqueue.core.task import Task\nimport heapq"),
            ("web", "from taskqueue.operations import x\nfrom taskqueue.service import y"),
            ("tap", "from taskqueue.config import load"),
            (None, "if TYPE_CHECKING:\n    from taskqueue.app.application import App"),
        ):
            self.assertEqual(self.whys(room, source), [], source)

    def test_every_way_to_the_reactor_is_seen(self) -> None:
        for source in (
            "from twisted.internet import reactor",
            "from twisted.internet import defer, reactor as r",
            "import twisted.internet.reactor",
            "from twisted.internet.reactor import callLater",
            "if True:\n    from twisted.internet import reactor",
            "class C:\n    from twisted.internet import reactor",
        ):
            found = [inside for _, inside in reactor_imports(ast.parse(source))]
            self.assertEqual(found, [False], source)
        source = "class C:\n    def f(self):\n        from twisted.internet import reactor"
        self.assertEqual([inside for _, inside in reactor_imports(ast.parse(source))], [True])

    def test_every_statement_is_seen(self) -> None:
        """Wherever one can stand in another."""
        blocks = (
            *("if a:\n {}", "if a: pass\nelse:\n {}", "with a:\n {}", "class A:\n {}"),
            *("for a in b:\n {}", "for a in b: pass\nelse:\n {}", "while a:\n {}"),
            *("try:\n {}\nfinally: pass", "try: pass\nfinally:\n {}", "def a():\n {}"),
            *("try: pass\nexcept A:\n {}", "try: pass\nexcept* A:\n {}", "async def a():\n {}"),
            *("try: pass\nexcept A: pass\nelse:\n {}", "match a:\n case b:\n  {}", "{}"),
            "while a: pass\nelse:\n {}",
        )
        for block in blocks:
            tree = ast.parse(block.format("import found"))
            self.assertEqual([name for _, name in imports(tree)], ["found"], block)

    def test_what_is_left_for_later_is_seen(self) -> None:
        for word in ("TO" + "DO", "FIX" + "ME", "X" * 3):
            self.assertTrue(UNFINISHED.search(f"    # {word}: later"))
        self.assertIsNone(UNFINISHED.search("x" * 3))

    def test_sleeping_is_seen(self) -> None:
        self.assertTrue(SLEEPS.search("    time" + ".sleep(1)"))
        self.assertTrue(SLEEPS.search("import os\nfrom time " + "import monotonic, sleep"))
        self.assertIsNone(SLEEPS.search("from time " + "import monotonic"))
