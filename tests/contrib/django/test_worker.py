"""The worker that C{manage.py} runs: what it may be told, and what befalls it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.django.management.commands import taskqueue_worker
from taskqueue.contrib.django.worker import Order
from tests.contrib.django.project import framework, use
from tests.contrib.django.site import SiteCase
from tests.process.children import PATIENCE_S, ROOT, until

#: An app that gives workers trouble, and settings that have it.
SETTINGS = """
from settings import *
INSTALLED_APPS += ["trouble"]
OPTIONS = TASKS["default"]["OPTIONS"]
OPTIONS["queues"] = {"brief": {"task_timeout": 0.5}}
TASKS["default"]["QUEUES"] += ["brief"]
"""

TASKS = """
import os, signal, threading
from pathlib import Path
from shop.tasks import task

@task
def kill(which):
    os.kill(os.getpid() if which == "itself" else os.getppid(), signal.SIGKILL)

@task(queue_name="brief")
def last_for_ever():
    pause = threading.Event()
    while True:
        pause.wait(0.01)

@task
def wait_for(mark):
    pause = threading.Event()
    Path(mark + ".begun").write_text("")
    while not Path(mark).exists():
        pause.wait(0.01)
    return "done"
"""

ELSEWHERE = """
from shop.tasks import task

@task
def anywhere():
    return __name__
"""


class TroubleTests(SiteCase):
    def begin(self, *arguments: str) -> None:
        app = self.folder / "trouble"
        app.mkdir()
        (self.folder / "troubled.py").write_text(SETTINGS)
        (app / "__init__.py").write_text("")
        (app / "tasks.py").write_text(TASKS)
        (app / "elsewhere.py").write_text(ELSEWHERE)
        self.mark = str(self.folder / "mark")
        self.begin_site(*arguments, PYTHONPATH=f"{ROOT}:{self.folder}", MARK=self.mark)

    def begin_broker(self, **variables: str) -> None:
        super().begin_broker(**{**variables, "DJANGO_SETTINGS_MODULE": "troubled"})

    def test_one_that_kills_its_process(self) -> None:
        """That is its own fault, and nobody else's loss."""
        self.begin()
        answer = self.program_of_the_site("""
            from shop.tasks import count_orders
            from trouble.tasks import kill
            result = ended(kill.enqueue("itself"))
            (error,) = result.errors
            after = ended(count_orders.enqueue()).return_value
            print(json.dumps([result.status, error.traceback, after]))
        """)
        self.assertEqual(answer, ["FAILED", "the worker's child process died (signal 9)", 0])

    def test_one_whose_worker_is_killed(self) -> None:
        """It is delivered again, and no retry is spent: it need not have done anything wrong."""
        self.begin("--id", "one")
        self.program_of_the_site("""
            import os
            from trouble.tasks import wait_for
            print(json.dumps(wait_for.enqueue(os.environ["MARK"]).id))
        """)
        until("it has begun", Path(f"{self.mark}.begun").exists)
        self.workers[0].kill()
        Path(self.mark).write_text("")
        self.begin_site_worker("--id", "one")
        answer = self.program_of_the_site("""
            from django.conf import settings
            from taskqueue import connect
            from trouble.tasks import wait_for
            with connect(settings.OPTIONS["address"]) as client:
                (view,) = client.search()
            result = ended(wait_for.get_result(view["id"]))
            print(json.dumps([result.return_value, result.worker_ids, result.errors]))
        """)
        self.assertEqual(answer, ["done", ["one", "one"], []])

    def test_one_that_lasts_for_ever(self) -> None:
        self.begin()
        answer = self.program_of_the_site("""
            from trouble.tasks import last_for_ever
            result = ended(last_for_ever.enqueue())
            (error,) = result.errors
            print(json.dumps([result.status, error.exception_class_path, error.traceback]))
        """)
        self.assertEqual(answer[:2], ["FAILED", "taskqueue.worker.stopping.TaskTimedOut"])
        self.assertIn("last_for_ever", answer[2])

    def test_one_that_nobody_looked_for(self) -> None:
        self.begin()
        answer = self.program_of_the_site("""
            from trouble.elsewhere import anywhere
            print(json.dumps(ended(anywhere.enqueue()).return_value))
        """)
        self.assertEqual(answer, "trouble.elsewhere")

    def test_one_that_is_under_way_when_the_worker_stops(self) -> None:
        """What runs may end; what waits is left to others."""
        self.begin("--id", "first")
        worker = self.workers[0]
        self.program_of_the_site("""
            import os
            from trouble.tasks import wait_for
            mark = os.environ["MARK"]
            print(json.dumps([wait_for.enqueue(mark).id, wait_for.enqueue(mark).id]))
        """)
        begun = Path(f"{self.mark}.begun")
        until("it has begun", begun.exists)
        worker.send_signal(signal.SIGTERM)
        until("it claims no more", lambda: "claims no more" in self.worker_said())
        Path(self.mark).write_text("")
        self.assertEqual(worker.wait(PATIENCE_S), 0, self.worker_said())
        self.begin_site_worker("--id", "second")
        answer = self.program_of_the_site("""
            from django.conf import settings
            from taskqueue import connect
            from trouble.tasks import wait_for
            with connect(settings.OPTIONS["address"]) as client:
                ids = [view["id"] for view in client.search()]
            results = ended(*[wait_for.get_result(id) for id in sorted(ids)])
            print(json.dumps([[result.return_value, result.worker_ids[-1]] for result in results]))
        """)
        self.assertEqual(answer, [["done", "first"], ["done", "second"]])

    def test_code_that_changes(self) -> None:
        """For development: the worker starts anew, but not with half of a file."""
        self.begin("--reload", "--id", "watched")
        tasks = self.folder / "trouble" / "tasks.py"
        until("it is registered", lambda: "watched is registered" in self.worker_said())
        self.change(tasks, TASKS + "\ndef\n")
        until("it waits", lambda: "is no Python yet" in self.worker_said())
        self.change(tasks, TASKS + '\n@task\ndef added():\n    return "added"\n')
        answer = self.program_of_the_site("""
            from trouble.tasks import added
            print(json.dumps(ended(added.enqueue()).return_value))
        """)
        self.assertEqual(answer, "added")
        self.assertIn("has changed: the worker starts anew", self.worker_said())

    def change(self, path: Path, text: str) -> None:
        """Write a file so that it is another, however coarse the file system's clock."""
        before = path.stat().st_mtime
        path.write_text(text)
        os.utime(path, (before + 2, before + 2))

    def test_a_module_that_is_broken(self) -> None:
        self.begin()
        (self.folder / "trouble" / "tasks.py").write_text("1 / 0\n")
        done = self.managed("taskqueue_worker")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot import trouble.tasks, where tasks are looked for", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


class RefusedTests(SiteCase):
    def test_there_is_a_newer_worker_of_that_name(self) -> None:
        self.begin_site("--id", "one")
        until("it is registered", lambda: "one is registered" in self.worker_said())
        self.begin_site_worker("--id", "one")
        self.assertEqual(self.workers[0].wait(PATIENCE_S), 1, self.worker_said())
        self.assertRegex(self.worker_said(), r"CommandError: .*'one' is registered, .* newer")
        self.assertNotIn("Traceback", self.worker_said())


class CommandTests(SynchronousTestCase):
    def order(self, *arguments: str) -> Order:
        """What the command would have served."""
        served: list[Order] = []
        self.patch(taskqueue_worker, "serve", served.append)
        self.patch(taskqueue_worker, "log_to_django", lambda verbosity: None)
        call_command("taskqueue_worker", *arguments)
        return served[0]

    def wrong(self, words: str, *arguments: str) -> None:
        error = self.assertRaises(CommandError, self.order, *arguments)
        self.assertIn(words, str(error))

    def setUp(self) -> None:
        use(self)

    def test_nothing_needs_to_be_said(self) -> None:
        order = self.order()
        self.assertEqual(
            (order.backend.alias, order.worker_id, order.reload), ("default", None, False)
        )
        self.assertEqual(order.queues, ["default", "mail"])
        self.assertEqual(order.how["executor"], "processes")
        self.assertEqual(order.how["concurrency"], 1)

    def test_all_that_may_be_said(self) -> None:
        order = self.order(
            *("--queues", "mail, default", "--processes", "4", "--prefetch", "0", "--id", "a"),
            *("--recycle-after", "9", "--recycle-mb", "1.5", "--stop-timeout", "0", "--reload"),
        )
        self.assertEqual(
            (order.queues, order.worker_id, order.reload), (["mail", "default"], "a", True)
        )
        self.assertEqual(
            order.how,
            {
                "concurrency": 4,
                "executor": "processes",
                "prefetch": 0,
                "recycle_after": 9,
                "recycle_mb": 1.5,
                "stop_timeout_s": 0.0,
            },
        )
        self.assertEqual(self.order("--threads").how["executor"], "threads")

    def test_queues(self) -> None:
        self.wrong("--queues has 'post', which is not in the backend's QUEUES", "--queues", "post")
        self.wrong("--queues has ''", "--queues", "mail,")
        self.wrong("--queues has 'a b'", "--queues", "a b")
        use(self, QUEUES=[])
        self.wrong("the backend's QUEUES names none")
        self.assertEqual(self.order("--queues", "any,thing").queues, ["any", "thing"])

    def test_numbers(self) -> None:
        for option, value, words in (
            ("--processes", "0", "1 to 10000"),
            ("--processes", "x", "1 to 10000"),
            ("--recycle-after", "0", "1 to 1e+09"),
            ("--recycle-mb", "nan", "1 to 1e+06"),
            ("--stop-timeout", "-1", "0 to 86400"),
            ("--stop-timeout", "inf", "0 to 86400"),
        ):
            self.wrong(f"expected a number, {words}, not {value!r}", f"{option}={value}")

    def test_what_does_not_go_together(self) -> None:
        self.wrong("threads are not recycled", "--threads", "--recycle-after", "5")

    def test_backends(self) -> None:
        self.wrong("TASKS has no backend 'mail'", "--backend", "mail")
        use(self, {"nonsense": 1})
        self.wrong("OPTIONS has 'nonsense'", "--skip-checks")
        use(self, BACKEND=f"{framework.PACKAGE}.backends.dummy.DummyBackend")
        self.wrong("whose tasks this worker cannot run")

    def test_checks_come_first(self) -> None:
        use(self, {"nonsense": 1})
        self.wrong("OPTIONS has 'nonsense'")

    def test_help_says_all(self) -> None:
        """Each option of the worker is explained."""
        parser: Any = taskqueue_worker.Command().create_parser("manage.py", "taskqueue_worker")
        text = re.sub(r"\s+", " ", parser.format_help())
        for action in parser._actions:
            self.assertTrue(action.help, action.dest)
        self.assertIn("A second signal hurries", text)
