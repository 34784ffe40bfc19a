"""From enqueue to a broker, and from there to results; a real broker, no worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from importlib import import_module
from typing import Any

from django.utils import timezone
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.options import TIMEOUT_HEADER
from taskqueue.client import Report
from taskqueue.client.blocking import BlockingClient
from taskqueue.contrib.django import connections, framework
from taskqueue.contrib.django.backend import RETRIES_HEADER
from taskqueue.contrib.django.framework import InvalidTask, TaskResultDoesNotExist, task_backends
from taskqueue.contrib.django.functions import ANY, PATH_HEADER
from taskqueue.core.task import State
from taskqueue.errors import AnswerTimedOut, BadRequest, QueueFull, Unauthenticated
from tests.client.broker import BrokerCase
from tests.contrib.django import office
from tests.contrib.django.office.elsewhere import hidden
from tests.contrib.django.office.tasks import add, send, wait
from tests.contrib.django.project import listen, use
from tests.process.children import PATIENCE_S, environment

TaskResultMismatch = import_module(f"{framework.PACKAGE}.exceptions").TaskResultMismatch

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def in_thread(test: Callable[[Any], None]) -> Callable[[Any], Deferred[None]]:
    """A test that waits, in a thread, while the reactor runs the broker."""

    @wraps(test)
    def run(self: Any) -> Deferred[None]:
        return deferToThread(test, self)

    return run


class BackendCase(BrokerCase):
    """Has a broker, and settings that name it."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(deferToThread, connections.close_clients)
        self.say()

    def say(self, **options: Any) -> None:
        """Have OPTIONS say so, beside where the broker is."""
        use(self, {"address": self.address(), "timeout": 10, **options})

    @property
    def worker(self) -> BlockingClient:
        """Claims and reports, as a worker does; on the site's own connection."""
        return connections.client_for(task_backends["default"].settings.reach)

    def claim(self, *queues: str) -> Any:
        (delivery,) = self.worker.claim(queues or ["default"], wait_s=5)
        return delivery


class EnqueueTests(BackendCase):
    @in_thread
    def test_what_the_broker_is_told(self) -> None:
        told = listen(self, "task_enqueued")
        result = send.enqueue("a", b="c")
        self.assertEqual(told, [(result, "READY")])
        delivery = self.claim("mail")
        self.assertEqual(delivery.id, result.id)
        self.assertEqual(delivery.type, "tests.contrib.django.office.tasks.send")
        self.assertEqual((delivery.priority, delivery.headers), (143, {}))
        self.assertEqual(delivery.payload, b'{"args":["a"],"kwargs":{"b":"c"}}')

    @in_thread
    def test_the_most_urgent_first(self) -> None:
        given = {add.using(priority=p).enqueue(p).id: p for p in (0, -100, 100, 1, -1)}
        found = [given[self.claim().id] for _ in given]
        self.assertEqual(found, [100, 1, 0, -1, -100])

    @in_thread
    def test_no_retry_is_left_to_the_broker(self) -> None:
        result = add.enqueue(1)
        self.worker.fail(self.claim().holding, "KeyError: 1\n\ntrace")
        result.refresh()
        self.assertEqual((result.status, result.attempts), ("FAILED", 1))

    @in_thread
    def test_what_the_options_say_of_a_queue(self) -> None:
        self.say(queues={"mail": {"max_retries": 2, "retry_delay": 0, "task_timeout": 7.5}})
        result = send.enqueue()
        delivery = self.claim("mail")
        self.assertEqual(delivery.headers, {RETRIES_HEADER: "2", TIMEOUT_HEADER: "7.5"})
        self.worker.fail(delivery.holding, "KeyError: 1\n\ntrace")
        result.refresh()
        self.assertEqual((result.status, len(result.errors)), ("READY", 1))
        self.assertEqual(self.claim("mail").attempt, 2)

    @in_thread
    def test_later(self) -> None:
        soon = timezone.now() + timedelta(hours=1)
        result = add.using(run_after=soon).enqueue(1)
        self.assertEqual(self.worker.claim(["default"], wait_s=0), [])
        self.assertEqual(result.task.run_after, soon)
        found = add.get_result(result.id)
        self.assertEqual((found.status, found.task.run_after), ("READY", soon))

    @in_thread
    def test_one_that_no_worker_looks_for(self) -> None:
        result = hidden.enqueue()
        delivery = self.claim()
        self.assertEqual(delivery.type, ANY)
        self.assertEqual(delivery.headers, {PATH_HEADER: hidden.module_path})
        self.assertEqual(hidden.get_result(result.id).task, hidden)

    @in_thread
    def test_arguments_that_are_none_of_json(self) -> None:
        for wrong in (object(), {1, 2}, timezone.now(), b"\xff"):
            self.assertRaises((TypeError, ValueError), add.enqueue, wrong)
        for wrong in (float("nan"), float("inf"), "\ud800"):
            self.assertRaises(BadRequest, add.enqueue, wrong)
        self.assertEqual(self.worker.claim(["default"], wait_s=0), [])

    @in_thread
    def test_a_queue_that_is_full(self) -> None:
        self.worker.set_queue("default", 1)
        told = listen(self, "task_enqueued")
        add.enqueue(1)
        self.assertRaises(QueueFull, add.enqueue, 2)
        self.assertEqual(len(told), 1)

    def test_what_no_worker_could_run(self) -> None:
        use(self, QUEUES=[])
        for name in ("über", "", "x" * 129):
            self.assertRaises(InvalidTask, add.using, queue_name=name)
        add.using(queue_name="whatever")

        def here() -> None: ...

        here.__qualname__ = "here"
        here.__module__ = "__main__"
        error = self.assertRaises(InvalidTask, office.task, here)
        self.assertIn("no worker can import", str(error))

    def test_what_is_supported(self) -> None:
        backend = task_backends["default"]
        for name in ("defer", "async_task", "get_result", "priority"):
            self.assertIs(getattr(backend, f"supports_{name}"), True)
        self.assertEqual(backend.queue_names, ["default", "mail"])


class ResultTests(BackendCase):
    @in_thread
    def test_from_enqueue_to_the_end(self) -> None:
        result = add.enqueue(1, b=2)
        self.assertEqual((result.status, result.args, result.kwargs), ("READY", [1], {"b": 2}))
        delivery = self.claim()
        result.refresh()
        self.assertEqual((result.status, result.attempts), ("RUNNING", 1))
        self.worker.complete(delivery.holding, b"3")
        found = add.get_result(result.id)
        self.assertEqual((found.status, found.return_value), ("SUCCESSFUL", 3))
        self.assertEqual((found.task, found.args, found.kwargs), (add, [1], {"b": 2}))
        self.assertLess(abs(found.enqueued_at - result.enqueued_at), timedelta(seconds=5))
        result.refresh()
        self.assertEqual(result, found)

    @in_thread
    def test_that_of_another_task(self) -> None:
        other = send.enqueue()
        self.assertRaises(TaskResultMismatch, add.get_result, other.id)
        self.assertEqual(task_backends["default"].get_result(other.id).task.func, send.func)

    @in_thread
    def test_there_is_none(self) -> None:
        nobody = self.worker.submit("send_email", b"\xff").id
        for result_id in (UNKNOWN, "nonsense", "", f"{{{UNKNOWN}}}", "é", nobody, None):
            self.assertRaises(TaskResultDoesNotExist, add.get_result, result_id)
        known = add.enqueue(1).id
        self.assertEqual(add.get_result(known.upper()).args, [1])
        for almost in (f"{{{known}}}", known.replace("-", ""), f"urn:uuid:{known}"):
            self.assertRaises(TaskResultDoesNotExist, add.get_result, almost)

    @in_thread
    def test_coroutines(self) -> None:
        told = listen(self, "task_enqueued")

        async def many() -> list[Any]:
            results = await asyncio.gather(*[add.aenqueue(n) for n in range(50)])
            found = await asyncio.gather(*[add.aget_result(result.id) for result in results])
            try:
                await add.aget_result(UNKNOWN)
            except TaskResultDoesNotExist:
                return found
            raise AssertionError("it found one")

        self.assertEqual([found.args for found in asyncio.run(many())], [[n] for n in range(50)])
        self.assertEqual(len(told), 50)

    @in_thread
    def test_a_coroutine_that_is_given_up(self) -> None:
        """Nothing of it is left behind on the client's event loop, which serves others."""

        async def give_up() -> None:
            asked = asyncio.ensure_future(add.aget_result(UNKNOWN))
            await asyncio.sleep(0)
            asked.cancel()
            try:
                await asked
            except asyncio.CancelledError:
                return
            raise AssertionError("it was not cancelled")

        asyncio.run(give_up())
        self.assertEqual(wait.enqueue().status, "READY")

    @in_thread
    def test_one_that_is_cancelled(self) -> None:
        result = add.enqueue(1)
        self.worker.cancel([result.id])
        result.refresh()
        self.assertEqual((result.status, result.is_finished), ("FAILED", True))

    @in_thread
    def test_one_that_was_given_back(self) -> None:
        result = add.enqueue(1)
        delivery = self.claim()
        self.worker.release([delivery.holding])
        delivery = self.claim()
        self.worker.report([Report(*delivery.holding, State.COMPLETED, b"1")])
        result.refresh()
        self.assertEqual((result.return_value, result.attempts), (1, 2))


class ConnectionTests(BackendCase):
    @in_thread
    def test_all_threads_share_one(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            clients = set(pool.map(lambda _: id(self.worker), range(32)))
            results = list(pool.map(add.enqueue, range(32)))
        self.assertEqual((len(clients), len(results)), (1, 32))
        self.assertEqual(len(connections._clients), 1)

    @in_thread
    def test_closed_ones_are_replaced(self) -> None:
        before = self.worker
        add.enqueue(1)
        connections.close_clients()
        add.enqueue(2)
        self.assertIsNot(self.worker, before)

    @in_thread
    def test_a_key_that_is_mended_while_the_site_runs(self) -> None:
        """The broker refuses it for good; the next request begins anew."""
        reach = task_backends["default"].settings.reach
        before = connections.client_for(reach)

        def refused() -> None:
            with connections.connected(reach):
                raise Unauthenticated

        self.assertRaises(Unauthenticated, refused)
        self.assertIsNot(connections.client_for(reach), before)
        add.enqueue(1)


class WithoutBrokerTests(SynchronousTestCase):
    def test_it_does_not_hang(self) -> None:
        """Whoever waits for a page gets an answer, if not the wanted one."""
        use(self, {"address": "tq://127.0.0.1:1", "timeout": 0.2})
        self.addCleanup(connections.close_clients)
        told = listen(self, "task_enqueued")
        for call in (
            lambda: add.enqueue(1),
            lambda: add.get_result(UNKNOWN),
            lambda: asyncio.run(add.aenqueue(1)),
        ):
            began = time.monotonic()
            error = self.assertRaises(AnswerTimedOut, call)
            self.assertIn("for 0.2 s: cannot connect to tq://127.0.0.1:1", str(error))
            self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(told, [])

    def test_a_key_that_cannot_be_read(self) -> None:
        use(self, {"api_key_file": "/nowhere"})
        self.assertIn("/nowhere, cannot be read", str(self.assertRaises(BadRequest, add.enqueue)))

    def test_to_declare_tasks_needs_none(self) -> None:
        self.assertEqual(office.task(add.func).module_path, add.module_path)


FORKS = """
import os, sys
import tests.contrib.django
from tests.contrib.django.office.tasks import add
from taskqueue.contrib.django import connections
first = add.enqueue(1).id
connections._lock.acquire()  # as another thread might hold it just then
if not (child := os.fork()):
    connections.close_clients()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
connections._lock.release()
for n in range(3):
    child = os.fork()
    if not child:
        print(add.enqueue(n).id, add.get_result(first).args, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print(add.enqueue(9).id, flush=True)
"""


class ForkTests(BackendCase):
    @in_thread
    def test_a_server_that_forks(self) -> None:
        """As gunicorn does, after the application has enqueued already."""
        program = FORKS.replace(
            "from tests.contrib.django.office",
            "from django.test.utils import override_settings\n"
            "tasks = {**tests.contrib.django.TASKS['default'],"
            f" 'OPTIONS': {{'address': {self.address()!r}}}}}\n"
            "override_settings(TASKS={'default': tasks}).enable()\n"
            "from tests.contrib.django.office",
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(set(done.stdout.splitlines())), 4)
        self.assertEqual(len(self.worker.claim(["default"], limit=9, wait_s=5)), 5)
