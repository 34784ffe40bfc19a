"""
Results of taskiq's tasks at the broker.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Coroutine
from typing import Any

from taskiq import TaskiqResult
from taskiq.depends.progress_tracker import TaskProgress
from taskiq.serializers import PickleSerializer

from taskqueue.contrib.taskiq import ResultIsMissing, TaskqueueResultBackend
from taskqueue.errors import BadRequest, CannotConnect
from tests.contrib.programs import FrameworkTestCase


def result_of(value: Any, **more: Any) -> TaskiqResult[Any]:
    return TaskiqResult(is_err=False, return_value=value, execution_time=0.5, **more)


class ResultTests(FrameworkTestCase):
    def run_with(
        self, test: Callable[[TaskqueueResultBackend], Coroutine[Any, Any, Any]], **options: Any
    ) -> Any:
        """Run a test with a result backend that is started, and ended after it."""

        async def main() -> Any:
            async with asyncio.timeout(20):
                backend = TaskqueueResultBackend(self.address, namespace=self.name, **options)
                await backend.startup()
                try:
                    return await test(backend)
                finally:
                    await backend.shutdown()

        return asyncio.run(main())

    def test_result(self) -> None:
        """It is there for a day, as often as one likes."""

        async def act(backend: TaskqueueResultBackend) -> None:
            self.assertFalse(await backend.is_result_ready("a"))
            result = result_of({"b": [1, None]}, log="said", labels={"c": 2})
            await backend.set_result("a", result)
            self.assertTrue(await backend.is_result_ready("a"))
            for _ in range(2):
                self.assertEqual(await backend.get_result("a", with_logs=True), result)
            self.assertIsNone((await backend.get_result("a")).log)

        self.run_with(act)
        value = self.client.get_value(self.name, "a")
        assert value is not None and value.expires_at is not None
        self.assertTrue(86_000 < value.expires_at - time.time() <= 86_400)

    def test_failure(self) -> None:
        async def act(backend: TaskqueueResultBackend) -> None:
            failed = TaskiqResult(
                is_err=True, return_value=None, execution_time=0.5, error=ValueError("no good")
            )
            await backend.set_result("a", failed)
            error = (await backend.get_result("a")).error
            self.assertEqual(repr(error), "ValueError('no good')")

        self.run_with(act)

    def test_missing(self) -> None:
        async def act(backend: TaskqueueResultBackend) -> None:
            await backend.get_result("nothing")

        error = self.assertRaises(ResultIsMissing, self.run_with, act)
        self.assertIn("There is no result of task nothing", str(error))

    def test_read_once(self) -> None:
        async def act(backend: TaskqueueResultBackend) -> None:
            await backend.set_result("a", result_of(1))
            self.assertEqual((await backend.get_result("a")).return_value, 1)
            self.assertFalse(await backend.is_result_ready("a"))

        self.run_with(act, keep_results=False)

    def test_kept_for_ever(self) -> None:
        async def act(backend: TaskqueueResultBackend) -> None:
            await backend.set_result("a", result_of(1))

        self.run_with(act, expires_s=None)
        value = self.client.get_value(self.name, "a")
        self.assertIsNone(value and value.expires_at)

    def test_values_that_json_has_no_form_for(self) -> None:
        """Have one all the same; with another serializer they come back as they were."""
        moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)

        async def act(backend: TaskqueueResultBackend) -> Any:
            await backend.set_result("a", result_of(moment))
            return (await backend.get_result("a")).return_value

        self.assertEqual(self.run_with(act), "2026-01-02T00:00:00Z")
        self.assertEqual(self.run_with(act, serializer=PickleSerializer()), moment)

    def test_progress(self) -> None:
        async def act(backend: TaskqueueResultBackend) -> None:
            self.assertIsNone(await backend.get_progress("a"))
            await backend.set_progress("a", TaskProgress(state="half", meta={"of": 2}))
            progress = await backend.get_progress("a")
            assert progress is not None
            self.assertEqual((progress.state, progress.meta), ("half", {"of": 2}))
            self.assertFalse(await backend.is_result_ready("a"))

        self.run_with(act)

    def test_what_cannot_be(self) -> None:
        self.assertRaises(BadRequest, TaskqueueResultBackend, namespace="no spaces")
        self.assertRaises(BadRequest, TaskqueueResultBackend, expires_s=0)
        away = TaskqueueResultBackend("tq://127.0.0.1:1")
        self.assertRaises(CannotConnect, asyncio.run, away.startup())
        error = self.assertRaises(BadRequest, asyncio.run, away.is_result_ready("a"))
        self.assertIn("this result backend is not started", str(error))
