"""
taskiq, dramatiq and huey with a broker that wants TLS and keys, and keys that may do no more
than the how-tos say.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.errors import ConnectionFailed
from taskiq import TaskiqResult
from taskiq.exceptions import SendTaskError

from taskqueue.client import TLS
from taskqueue.client.credentials import ApiKey
from taskqueue.contrib.dramatiq import TaskqueueBroker as DramatiqBroker
from taskqueue.contrib.dramatiq import TaskqueueResultBackend as DramatiqResults
from taskqueue.contrib.huey import TaskqueueHuey
from taskqueue.contrib.taskiq import TaskqueueBroker as TaskiqBroker
from taskqueue.contrib.taskiq import TaskqueueResultBackend as TaskiqResults
from taskqueue.errors import CannotConnect, Forbidden, Unauthenticated
from tests.contrib.programs import begin_broker
from tests.process.children import PATIENCE_S, ProcessTestCase, environment
from tests.transport.authority import LOOPBACK, Files


class SecuredTests(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        files = Files(str(self.folder / "tls"))
        self.keys = {
            "sends": self.key("sends", "submit:q", "values:write:q.*", "values:read:*-results"),
            "works": self.key("works", "claim:q", "submit:q", "values:write:*"),
        }
        broker = begin_broker(
            Path(self.folder), f"tls:port=0:interface={LOOPBACK}:certificate={files.issue()}"
        )
        self.addCleanup(broker.reap)
        self.how: Any = {"address": f"tqs://{LOOPBACK}:{broker.port()}", "tls": TLS(ca=files.ca)}

    def key(self, name: str, *allowed: str) -> str:
        """Make a key; the broker's file of keys is beside its data."""
        allow = [f"--allow={permission}" for permission in allowed]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "taskqueue.cli", "keys", "create", f"--name={name}"),
                *(*allow, "--data-dir=data"),
            ],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        return done.stdout.strip()

    def as_(self, who: str) -> dict[str, Any]:
        """How somebody connects."""
        return {**self.how, "api_key": self.keys.get(who, who)}

    # --- dramatiq -------------------------------------------------------------------------

    def dramatiq_as(self, who: str) -> DramatiqBroker:
        broker = DramatiqBroker(**self.as_(who), middleware=[])
        self.addCleanup(broker.close)
        broker.declare_queue("q")
        return broker

    def test_dramatiq(self) -> None:
        sends, works = self.dramatiq_as("sends"), self.dramatiq_as("works")
        message: Any = sends.enqueue(dramatiq.Message("q", "work", (), {}, {}))
        consumer = works.consume("q", timeout=5000)
        got = next(consumer)
        assert got is not None
        DramatiqResults(connecting=works.connecting).store_result(message, 5, 60_000)
        consumer.ack(got)
        results = DramatiqResults(connecting=sends.connecting)
        self.assertEqual(results.get_result(message, block=True), 5)
        self.assertRaises(Forbidden, next, sends.consume("q", timeout=10))
        self.assertRaises(Forbidden, sends.flush, "q")

    def test_dramatiq_refused(self) -> None:
        """In its own words; and not for ever, since its key may be replaced by a valid one."""
        path = self.folder / "key"
        path.write_text("tq_nonsense")
        path.chmod(0o600)
        broker = DramatiqBroker(**self.how, middleware=[], api_key=ApiKey(path=str(path)))
        self.addCleanup(broker.close)
        message: Any = dramatiq.Message("q", "work", (), {}, {})
        error = self.assertRaises(ConnectionFailed, broker.enqueue, message)
        self.assertIsInstance(error.__cause__, Unauthenticated)
        path.write_text(self.keys["sends"])
        broker.enqueue(message)

    # --- taskiq ---------------------------------------------------------------------------

    def test_taskiq(self) -> None:
        async def sending(works: TaskiqBroker) -> None:
            sends = TaskiqBroker(**self.as_("sends"), queue="q").with_result_backend(
                TaskiqResults(**self.as_("sends"))
            )
            task = sends.register_task(lambda: None, task_name="work")
            works.register_task(lambda: None, task_name="work")
            async with sends, works:
                sent = await task.kiq()
                message = await anext(works.listen())
                result: Any = TaskiqResult(is_err=False, return_value=5, execution_time=0)
                await works.result_backend.set_result(sent.task_id, result)
                await message.ack()
                self.assertEqual((await sent.wait_result(timeout=10)).return_value, 5)
                with self.assertRaises(SendTaskError) as caught:
                    await task.kicker().with_labels(queue_name="other").kiq()
                self.assertIsInstance(caught.exception.__cause__, Forbidden)

        works = TaskiqBroker(**self.as_("works"), queue="q").with_result_backend(
            TaskiqResults(**self.as_("works"))
        )
        asyncio.run(sending(works))

    def test_taskiq_refused(self) -> None:
        for broker in (TaskiqBroker(**self.as_("tq_nonsense")), TaskiqResults(**self.as_("tq_no"))):
            self.assertRaises(Unauthenticated, asyncio.run, broker.startup())

    # --- huey -----------------------------------------------------------------------------

    def huey_as(self, who: str) -> TaskqueueHuey:
        made = TaskqueueHuey("q", **self.as_(who))
        self.addCleanup(made.storage.close)
        return made

    def test_huey(self) -> None:
        sends, works = self.huey_as("sends"), self.huey_as("works")
        add = sends.task(name="sum")(lambda a, b: a + b)
        works.task(name="sum")(lambda a, b: a + b)
        result = add(1, 2)
        task = works.dequeue()
        works.execute(task)
        self.assertEqual(result.get(blocking=True, timeout=10), 3)
        self.assertRaises(Forbidden, sends.dequeue)
        self.assertRaises(Forbidden, sends.storage.flush_queue)

    def test_huey_refused(self) -> None:
        huey = self.huey_as("tq_nonsense")
        self.assertRaises(Unauthenticated, huey.storage.enqueue, b"a")

    # --- TLS ------------------------------------------------------------------------------

    def test_a_broker_that_nobody_vouches_for(self) -> None:
        broker = DramatiqBroker(self.how["address"], middleware=[], tls=True)
        self.addCleanup(broker.close)
        broker.declare_queue("q")
        error = self.assertRaises(
            ConnectionFailed, broker.enqueue, dramatiq.Message("q", "work", (), {}, {})
        )
        self.assertIn("the broker's certificate is refused", str(error))
        other = TaskiqBroker(self.how["address"], tls=True)
        self.assertRaises(CannotConnect, asyncio.run, other.startup())
