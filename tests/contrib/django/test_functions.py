"""Where tasks are found, and what the broker calls them."""

from __future__ import annotations

import sys
from pathlib import Path

from django.apps import apps
from django.test.utils import override_settings
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.django import functions
from taskqueue.contrib.django.functions import (
    ANY,
    UnknownFunction,
    discover,
    path_of,
    resolve,
    type_and_headers,
)
from taskqueue.errors import BadRequest
from tests.contrib.django.project import use

TASKS = "tests.contrib.django.office.tasks"
ELSEWHERE = "tests.contrib.django.office.elsewhere"


class NameTests(SynchronousTestCase):
    def test_where_workers_look(self) -> None:
        for path in (f"{TASKS}.add", f"{TASKS}.inner.deep"):
            self.assertEqual(type_and_headers(path, ()), (path, {}))
            self.assertEqual(path_of(path, {}), path)

    def test_anywhere_else(self) -> None:
        for path in (f"{ELSEWHERE}.hidden", f"{TASKS}_of_another.add", f"{ELSEWHERE}.größe"):
            type_, headers = type_and_headers(path, ())
            self.assertEqual((type_, path_of(type_, headers)), (ANY, path))

    def test_what_the_options_name(self) -> None:
        path = f"{ELSEWHERE}.hidden"
        self.assertEqual(type_and_headers(path, [ELSEWHERE]), (path, {}))

    def test_what_is_no_name_for_the_broker(self) -> None:
        for name in ("größe", "x" * 128):
            self.assertEqual(type_and_headers(f"{ELSEWHERE}.{name}", [ELSEWHERE])[0], ANY)

    def test_headers_that_are_not_there(self) -> None:
        self.assertRaises(UnknownFunction, resolve, path_of(ANY, {}))


class ResolveTests(SynchronousTestCase):
    def test_a_task(self) -> None:
        for path in (f"{TASKS}.add", f"{TASKS}.inner.deep", f"{ELSEWHERE}.größe"):
            self.assertEqual(resolve(path).module_path, path)

    def test_of_a_function_that_has_its_own_name(self) -> None:
        self.assertEqual(resolve(f"{TASKS}.inner.plain").call(), "plain")

    def test_what_is_none(self) -> None:
        for path, why in (
            ("os.system", "module os has none of that name"),
            ("add", "no path of a task"),
            ("", "no path of a task"),
            (f"{TASKS}.nothing", "none of that name"),
            (f"{TASKS}.done", "none of that name"),
            (f"{TASKS}.inner.renamed", "none of that name"),
            ("tests.contrib.django.office.no.f", "office.no failed with ModuleNotFoundError"),
            ("tests.contrib.django.office.a\x00b.f", "failed with"),
            ("no.such.module.f", "module no.such.module is in no app"),
            ("..f", "module . is in no app"),
        ):
            self.assertIn(why, str(self.assertRaises(UnknownFunction, resolve, path)))

    def test_whoever_may_submit_has_nothing_else_imported(self) -> None:
        """To import a module runs it, whether or not there is a task in it."""
        for name in ("taskqueue.cli.__main__", "antigravity"):
            self.assertNotIn(name, sys.modules)
            error = self.assertRaises(UnknownFunction, resolve, f"{name}.main")
            self.assertIn("name it in the option 'modules' of TASKS", str(error))
            self.assertNotIn(name, sys.modules)

    def test_what_is_of_the_project(self) -> None:
        folder = Path(self.mktemp()).absolute()
        (folder / "lent").mkdir(parents=True)
        text = "from tests.contrib.django.office import task\n@task\ndef f(): ...\n"
        for name in ("own", "its"):
            (folder / "lent" / f"{name}.py").write_text(text)
            self.addCleanup(sys.modules.pop, f"lent.{name}", None)
        sys.path.insert(0, str(folder))
        self.addCleanup(sys.path.remove, str(folder))
        self.addCleanup(sys.modules.pop, "lent", None)
        self.assertRaises(UnknownFunction, resolve, "lent.own.f")
        self.assertEqual(resolve("lent.own.f", ["lent.own"]).name, "f")
        self.assertRaises(UnknownFunction, resolve, "lent.its.f", ["lent.own"])
        with override_settings(ROOT_URLCONF="lent.urls"):
            self.assertEqual(resolve("lent.its.f").name, "f")


class DiscoverTests(SynchronousTestCase):
    def setUp(self) -> None:
        use(self)

    def app(self, name: str, text: str) -> None:
        """An app with this C{tasks} module, until the test ends."""
        folder = Path(self.mktemp()).absolute()
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "tasks.py").write_text(text)
        sys.path.insert(0, str(folder))
        self.addCleanup(sys.path.remove, str(folder))
        before = {config.name for config in apps.get_app_configs()}
        apps.set_installed_apps([*before, name])
        self.addCleanup(apps.unset_installed_apps)
        for module in (name, f"{name}.tasks"):
            self.addCleanup(sys.modules.pop, module, None)

    def test_all_within_the_tasks_of_apps(self) -> None:
        found = discover(())
        self.assertIn(f"{TASKS}.add", found)
        self.assertIn(f"{TASKS}.inner.deep", found)
        self.assertIn(f"{TASKS}.inner.plain", found)
        self.assertFalse([path for path in found if path.startswith(ELSEWHERE)])

    def test_what_the_options_name(self) -> None:
        found = discover([ELSEWHERE])
        self.assertIn(f"{ELSEWHERE}.hidden", found)
        self.assertNotIn(f"{ELSEWHERE}.größe", found)

    def test_an_app_for_another_framework(self) -> None:
        self.app("borrowed", "import celery_that_nobody_has\n")
        with self.assertLogs("taskqueue", "WARNING") as logs:
            self.assertIn(f"{TASKS}.add", discover(()))
        self.assertIn("it needs celery_that_nobody_has", logs.output[0])

    def test_an_app_that_is_broken(self) -> None:
        """Its tasks would wait for ever, and nobody would know why."""
        for name, text, why in (
            ("broken_a", "1 / 0\n", "ZeroDivisionError"),
            ("broken_b", "import broken_b.nothing\n", "ModuleNotFoundError"),
            ("broken_c", "from broken_c import nothing\n", "ImportError"),
            ("broken_d", "def\n", "SyntaxError"),
        ):
            self.app(name, text)
            error = self.assertRaises(BadRequest, discover, ())
            self.assertIn(f"cannot import {name}.tasks", str(error))
            self.assertIn(why, str(error))
            self.doCleanups()

    def test_a_module_that_is_not_there(self) -> None:
        error = self.assertRaises(BadRequest, discover, ["tests.contrib.django.office.nothing"])
        self.assertIn("nothing", str(error))
        for name in ("no_such_module", "no_such_module.within"):
            error = self.assertRaises(BadRequest, discover, [name])
            self.assertIn(f"cannot import {name}", str(error))

    def test_any_is_no_path(self) -> None:
        self.assertNotIn(functions.ANY, discover(()))
