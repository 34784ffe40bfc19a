"""
What a user installs: the wheel's contents, the plugin that twistd finds in it,
and the requirements, declared and pinned.
"""

from __future__ import annotations

import ast
import atexit
import functools
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import __version__

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "twisted/plugins/taskqueue_plugin.py"

#: What a build reads, of the files beside the packages.
BUILD_FILES = ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md")

BUILD_WHEEL = """
import sys
from setuptools import build_meta
build_meta.build_wheel(sys.argv[1])
"""

#: Ask Twisted for the plugin of the wheel in argv[1], as twistd does, with the checkout out of
#: sight; then load what it names.
FIND_PLUGIN = """
import os, sys
wheel, checkout = sys.argv[1:]
sys.path[:] = [wheel, *(p for p in sys.path if os.path.realpath(p or ".") != checkout)]
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
found = [p for p in getPlugins(IServiceMaker) if p.tapname == "taskqueue"]
print(len(found), "taskqueue" in sys.modules, found[0].description != "")
found[0].options, found[0].makeService
print(os.path.relpath(sys.modules[found[0].module].__file__, wheel))
"""


def settings() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(section: str, option: str) -> list[str]:
    """The entries of a list in setup.cfg."""
    return settings()[section][option].split("\n")[1:]


def shipped_files() -> set[str]:
    """Every file of the packages in the checkout that is not made by running it."""
    found = (path for path in (ROOT / "taskqueue").rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix() for path in found if path.parent.name != "__pycache__"
    }


@functools.cache
def wheel() -> Path:
    """The wheel, built once from a copy of the checkout, without the network."""
    work = Path(tempfile.mkdtemp(prefix="taskqueue-wheel-"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    source, built = work / "source", work / "built"
    made = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for package in ("taskqueue", "twisted"):
        shutil.copytree(ROOT / package, source / package, ignore=made)
    for name in BUILD_FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    build = [sys.executable, "-c", BUILD_WHEEL, str(built)]
    subprocess.run(build, cwd=source, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (found,) = built.glob("*.whl")
    return found


def wheel_names() -> set[str]:
    with zipfile.ZipFile(wheel()) as archive:
        return set(archive.namelist())


def wheel_text(name: str) -> str:
    """One file of the wheel's own description, such as METADATA."""
    with zipfile.ZipFile(wheel()) as archive:
        return archive.read(f"taskqueue-{__version__}.dist-info/{name}").decode()


def wheel_metadata() -> Message:
    return Parser().parsestr(wheel_text("METADATA"))


class PackageListTests(SynchronousTestCase):
    def test_every_room_is_listed(self) -> None:
        """A room missing from setup.cfg works in the checkout and nowhere else."""
        rooms = [init.parent for init in (ROOT / "taskqueue").rglob("__init__.py")]
        there = sorted(room.relative_to(ROOT).as_posix().replace("/", ".") for room in rooms)
        self.assertEqual(lines("options", "packages"), [*there, "twisted.plugins"])

    def test_twisted_stays_a_namespace(self) -> None:
        """Twisted's plugin search skips a directory that is a package itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class WheelTests(SynchronousTestCase):
    def test_holds_the_package_and_the_plugin_only(self) -> None:
        code = {name for name in wheel_names() if ".dist-info/" not in name}
        self.assertEqual(code, shipped_files() | {PLUGIN})

    def test_describes_itself(self) -> None:
        described = wheel_metadata()
        self.assertEqual(described["Version"], __version__)
        self.assertEqual(described["License"] or described["License-Expression"], "MIT")
        self.assertEqual(described["Requires-Python"], ">=3.11")
        self.assertIn("The taskqueue developers", wheel_text("licenses/LICENSE"))

    def test_the_command_is_there(self) -> None:
        """An entry point may name a module that nobody wrote: the build does not look."""
        self.assertIn("taskqueue = taskqueue.cli.main:main", wheel_text("entry_points.txt"))
        self.assertTrue(callable(importlib.import_module("taskqueue.cli.main").main))

    def test_twistd_finds_the_plugin(self) -> None:
        """Listing the plugin imports nothing of the package; using it finds the wheel's tap."""
        place = os.path.realpath(self.mktemp())
        with zipfile.ZipFile(wheel()) as archive:
            archive.extractall(place)
        child = subprocess.run(
            [sys.executable, "-c", FIND_PLUGIN, place, str(ROOT)],
            cwd=place,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual(child.stdout, "1 False True\ntaskqueue/tap.py\n", child.stderr)


def pins(*names: str) -> dict[str, str]:
    """The versions that these files under requirements/ pin for this interpreter."""
    found: dict[str, str] = {}
    for name in names:
        for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
            pin, _, marker = line.partition("; ")
            wanted = not marker or Marker(marker).evaluate()
            if pin and wanted and not pin.startswith(("#", "-r ")):
                package, _, version = pin.partition("==")
                found[canonicalize_name(package)] = version
    return found


def needed(requirement: Requirement) -> Iterator[Requirement]:
    """C{requirement} and all that it needs in turn, as installed here."""
    seen: set[str] = set()
    waiting = [requirement]
    while waiting:
        current = waiting.pop()
        if str(current) in seen:
            continue
        seen.add(str(current))
        yield current
        extras = ["", *current.extras]
        for line in metadata.requires(current.name) or ():
            other = Requirement(line)
            marker = other.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(other)


class RequirementsTests(SynchronousTestCase):
    def assertPinned(self, declared: list[str], pinned: dict[str, str]) -> None:
        for line in declared:
            for requirement in needed(Requirement(line)):
                name = canonicalize_name(requirement.name)
                self.assertIn(name, pinned, f"{line} needs {requirement}, which is not pinned")
                self.assertTrue(
                    requirement.specifier.contains(pinned[name], prereleases=True),
                    f"{line} needs {requirement}, but {pinned[name]} is pinned",
                )

    def test_everything_a_broker_needs_is_pinned(self) -> None:
        self.assertPinned(lines("options", "install_requires"), pins("runtime"))

    def test_everything_the_checks_need_is_pinned(self) -> None:
        declared = lines("options.extras_require", "dev")
        self.assertPinned(declared, pins("build", "runtime", "dev"))

    def test_pins_are_exact_and_single(self) -> None:
        files = [pins(name) for name in ("build", "runtime", "dev")]
        for pinned in files:
            for package, version in pinned.items():
                self.assertEqual(str(Version(version)), version, package)
        names = [package for pinned in files for package in pinned]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_every_import_is_declared(self) -> None:
        """What the package imports itself, it asks for itself."""
        extras = ("celery", "django", "dramatiq", "huey", "otel", "taskiq")
        asked = [
            *lines("options", "install_requires"),
            *(line for extra in extras for line in lines("options.extras_require", extra)),
        ]
        declared = {canonicalize_name(Requirement(line).name) for line in asked}
        providers = metadata.packages_distributions()
        known = {*sys.stdlib_module_names, "taskqueue"}
        for path in (ROOT / "taskqueue").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for name in outside(node):
                    if name not in known:
                        found = {canonicalize_name(p) for p in providers.get(name, ())}
                        self.assertTrue(found & declared, f"{path}: {name} is not declared")


def outside(node: ast.AST) -> list[str]:
    """The top-level packages that a statement imports from."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module.partition(".")[0]]
    return []


class ContinuousIntegrationTests(SynchronousTestCase):
    def test_runs_what_developers_run(self) -> None:
        script = ROOT / ".ci" / "run"
        self.assertTrue(os.access(script, os.X_OK), "it must be executable")
        self.assertIn("\nmake test\n", script.read_text())
