"""Commands on a real broker, in this process and as processes of their own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessOutputAndValue

from taskqueue.cli import operators, queues, tasks, workers
from taskqueue.cli.output import Output, first_line, flat, moment, text_or_base64
from taskqueue.cli.running import Visit, with_client
from taskqueue.cli.watching import show
from taskqueue.client import Submission
from taskqueue.errors import AnswerTimedOut, QueueFull
from tests.cli.visiting import VisitCase
from tests.client.broker import BrokerCase, flow

ROOT = Path(__file__).resolve().parents[2]

HANDLERS = """
def shout(task):
    return task.payload.upper()

def fail(task):
    raise ValueError("no [bold]way[/bold]")

HANDLERS = {"shout": shout, "fail": fail}
"""


class InThisProcess(VisitCase):
    async def submit(self, client: Any, *, wait: bool = False, form: str = "table") -> int:
        task = Submission("t", b"hello", headers={"a": "b"}, max_retries=0)
        return await tasks.submit_one(Visit(client, Output(form), reactor), task, wait, 5.0)

    @flow
    async def test_submit(self) -> None:
        client = await self.connect()
        self.assertEqual(await self.submit(client), 0)
        task = self.printed().strip()
        (delivery,) = await client.claim(wait_s=0)
        self.assertEqual((delivery.id, delivery.payload), (task, b"hello"))
        self.assertEqual(await self.submit(client, form="json"), 0)
        self.assertEqual(list(json.loads(self.printed())), ["id"])

    @flow
    async def test_waiting_for_a_result(self) -> None:
        client = await self.connect()
        waiting = Deferred.fromCoroutine(self.submit(client, wait=True))
        (delivery,) = await client.claim(wait_s=5)
        await client.complete(delivery.holding, b"\xff raw")
        self.assertEqual(await waiting, 0)
        self.out.flush()
        self.assertEqual(self.raw.getvalue(), b"\xff raw")

    @flow
    async def test_waiting_for_a_failure(self) -> None:
        client = await self.connect()
        waiting = Deferred.fromCoroutine(self.submit(client, wait=True, form="json"))
        (delivery,) = await client.claim(wait_s=5)
        await client.fail(delivery.holding, "ValueError: x\n\nTraceback ...")
        self.assertEqual(await waiting, 1)
        self.assertEqual(json.loads(self.printed())["state"], "dead_letter")
        self.assertIn("failed for good: ValueError: x\n", self.err.getvalue())
        self.assertNotIn("Traceback", self.err.getvalue())

    @flow
    async def test_status(self) -> None:
        client = await self.connect()
        task = await client.submit("t")
        (delivery,) = await client.claim()
        await client.fail(delivery.holding, "no [bold]way[/bold]\nmore", permanent=True)
        visit = Visit(client, Output("table"), reactor)
        self.assertEqual(await show(visit, lambda c: tasks.view_status(c, [task], True)), 0)
        shown = self.printed()
        for part in (task, "dead_letter", "no [bold]way[/bold]", f"History of {task}"):
            self.assertIn(part, shown)
        self.assertNotIn("\x1b", shown)
        unknown = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"
        for form in ("json", "yaml"):
            visit = Visit(client, Output(form), reactor)
            wanted = [task, unknown]
            self.assertEqual(
                await show(visit, lambda c, ids=wanted: tasks.view_status(c, ids, False)), 1
            )
            self.assertEqual(yaml.safe_load(self.printed())[1], None)
            self.assertEqual(self.said(), f"taskqueue: there is no task {unknown}\n")

    @flow
    async def test_what_operators_see(self) -> None:
        client = await self.connect()
        await client.submit("t", queue="q")
        await client.register_worker("w1", 1, queues=["q"], types=["t"], capacity=3)
        for view, parts in (
            (operators.view_stats, ("depth", "totals.submitted", "q")),
            (queues.view_queues, ("q", "pending")),
            (workers.view_workers, ("w1", "connected")),
        ):
            self.assertEqual(await show(Visit(client, Output("table"), reactor), view), 0)
            shown = self.printed()
            for part in parts:
                self.assertIn(part, shown)
            for form in ("json", "yaml"):
                self.assertEqual(await show(Visit(client, Output(form), reactor), view), 0)
                self.assertTrue(yaml.safe_load(self.printed()))

    async def status_of(self, command: Any, address: str | None = None) -> int:
        return await with_client(reactor, address or self.address(), 5.0, command)

    @flow
    async def test_exit_statuses(self) -> None:
        async def well(client: Any) -> int:
            return 0

        async def refused(client: Any) -> int:
            raise QueueFull("the queue is full", retry_after_s=2.0)

        async def silent(client: Any) -> int:
            raise AnswerTimedOut("no answer")

        async def broken(client: Any) -> int:
            raise RuntimeError("a defect")

        self.assertEqual(await self.status_of(well), 0)
        self.assertEqual(await self.status_of(refused), 1)
        self.assertIn("taskqueue: the queue is full (again in 2 s)\n", self.err.getvalue())
        self.assertEqual(await self.status_of(silent), 4)
        self.assertEqual(await self.status_of(broken), 1)
        self.assertIn("unexpected RuntimeError: a defect\n", self.err.getvalue())
        self.assertEqual(await self.status_of(well, "nonsense"), 2)
        self.assertEqual(await self.status_of(well, "tq://127.0.0.1:1"), 3)
        self.assertNotIn("Traceback", self.err.getvalue())

    def test_values(self) -> None:
        self.assertEqual(moment(0), "1970-01-01 00:00:00Z")
        self.assertEqual(moment(None), "")
        self.assertEqual(first_line("a\nb"), "a")
        self.assertEqual(first_line(None), "")
        self.assertEqual(text_or_base64(b"\xff"), {"base64": "/w=="})
        self.assertEqual(
            flat({"a": {"b": 1}, "c": [], "d": [{"e": 2, "f": 3}]}),
            [("a.b", 1), ("c", "none"), ("d", "e=2 f=3")],
        )


class Ended(ProcessProtocol):
    """Collects what a process says on standard error, and tells of its end."""

    def __init__(self) -> None:
        self.said = b""
        self.ended: Deferred[int] = Deferred()

    def errReceived(self, data: bytes) -> None:
        self.said += data

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(0 if reason.check(ProcessDone) else reason.value.exitCode)


class Processes(BrokerCase):
    timeout = 60

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        (self.folder / "app.py").write_text(HANDLERS)
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "TASKQUEUE_BROKER": self.address()}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "taskqueue.cli", *arguments]

    async def run_command(self, *arguments: str) -> tuple[str, str, int]:
        executable, *rest = self.command(*arguments)
        out, err, status = await getProcessOutputAndValue(
            executable, rest, env=self.environ, path=str(self.folder)
        )
        self.assertNotIn(b"Traceback", err)
        return out.decode(), err.decode(), status

    def start_worker(self) -> tuple[Ended, Any]:
        protocol = Ended()
        command = self.command("worker", "app:HANDLERS", "--id", "w", "--concurrency", "2")
        process = reactor.spawnProcess(
            protocol, command[0], command, env=self.environ, path=str(self.folder)
        )
        self.addCleanup(lambda: protocol.ended.called or process.signalProcess("KILL"))
        return protocol, process

    @flow
    async def test_a_worker_from_start_to_signal(self) -> None:
        protocol, process = self.start_worker()
        out, err, status = await self.run_command("submit", "shout", "--payload", "hi", "--wait")
        self.assertEqual((out, err, status), ("HI", "", 0))
        out, err, status = await self.run_command("submit", "fail", "--max-retries=0", "--wait")
        self.assertEqual((out, status), ("", 1))
        self.assertIn("no [bold]way[/bold]", err)
        process.signalProcess("TERM")
        self.assertEqual(await protocol.ended, 0)
        self.assertIn(b"worker w is registered", protocol.said)
        self.assertNotIn(b"Traceback", protocol.said)
        self.assertEqual(len(self.broker.broker.ledger.workers), 0)

    @flow
    async def test_no_broker(self) -> None:
        self.environ["TASKQUEUE_BROKER"] = "tq://127.0.0.1:1"
        out, err, status = await self.run_command("stats")
        self.assertEqual((out, status), ("", 3))
        self.assertIn("cannot connect to tq://127.0.0.1:1", err)

    @flow
    async def test_a_key_is_held_once(self) -> None:
        unique = ("submit", "t", "--unique", "k", "--unique-until", "start")
        one, _, _ = await self.run_command(*unique)
        two, _, status = await self.run_command(*unique, "--unique-for", "60")
        self.assertEqual((one, status), (two, 0))
        client = await self.connect()
        await client.claim(wait_s=0)
        three, _, _ = await self.run_command(*unique)
        self.assertNotEqual(one, three)

    @flow
    async def test_payload_from_a_file(self) -> None:
        (self.folder / "data").write_bytes(b"\x00\xff")
        out, _, status = await self.run_command("submit", "t", "--payload", "@data")
        self.assertEqual(status, 0)
        client = await self.connect()
        self.assertEqual(await client.payload(out.strip()), b"\x00\xff")

    @flow
    async def test_an_import_that_is_killed_goes_on(self) -> None:
        count = 20_000
        lines = (f'{{"type": "t", "payload": {n}}}\n' for n in range(count))
        (self.folder / "tasks.jsonl").write_text("".join(lines))
        command = self.command("submit", "--from-file", "tasks.jsonl", "--resume", "journal")
        ended = Ended()
        process = reactor.spawnProcess(
            ended, command[0], command, env=self.environ, path=str(self.folder)
        )
        client = await self.connect()
        while (await client.stats())["depth"] < 2000:
            self.assertFalse(ended.ended.called, ended.said)
        process.signalProcess("KILL")
        await ended.ended
        self.assertLess((await client.stats())["depth"], count)
        out, err, status = await self.run_command(*command[3:])
        self.assertIn(f"{count:,} tasks of {count:,} lines submitted", out)
        self.assertEqual((err, status), ("", 0))
        self.assertEqual((await client.stats())["totals"]["submitted"], count)
