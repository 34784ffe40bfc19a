"""Views that go on, outcomes as they come, and commands on queues and workers."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from rich.console import Console
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import operators, queues, tail, watching, workers
from taskqueue.cli import top as top_module
from taskqueue.cli.dashboard import Sight, dashboard
from taskqueue.cli.main import cli
from taskqueue.cli.output import Rows, Shown
from taskqueue.cli.running import with_client
from taskqueue.cli.views import worker_state
from taskqueue.errors import CannotConnect
from tests.cli.visiting import VisitCase
from tests.client.broker import flow


class Tables(SynchronousTestCase):
    def drawn(self, width: int) -> str:
        console = Console(width=width, color_system=None)
        rows = Rows("T", ("name", "one", "two", "three"), [("x" * 20, 1, 2, 3)], ("two", "one"))
        with console.capture() as capture:
            console.print(rows)
        return capture.get()

    def test_what_matters_less_is_left_out_of_a_narrow_table(self) -> None:
        for width, columns in (
            (80, ["name", "one", "two", "three"]),
            (46, ["name", "one", "two", "three"]),
            (42, ["name", "one", "three"]),
            (36, ["name", "three"]),
        ):
            shown = self.drawn(width)
            heads = [word for word in ("name", "one", "two", "three") if f" {word} " in shown]
            self.assertEqual(heads, columns, shown)
            self.assertLessEqual(max(map(len, shown.splitlines())), width)
            self.assertEqual("wider" in shown, width < 46, shown)


class WorkerStates(SynchronousTestCase):
    def test_in_a_word(self) -> None:
        for worker, word in (
            ({"connected": True}, "connected"),
            ({"connected": False}, "not connected"),
            ({"connected": True, "stalled": True}, "stalled"),
            ({"connected": True, "stalled": True, "order": "quiet"}, "quiet"),
        ):
            self.assertEqual(worker_state(worker), word)


class Watching(VisitCase):
    @flow
    async def test_again_and_again(self) -> None:
        seen = 0

        async def view(client: Any) -> Shown:
            nonlocal seen
            seen += 1
            return Shown({"seen": seen}, [f"seen {seen}"], 1, ["oh"])

        def enough() -> bool:
            return seen >= 3

        for form, read in (
            ("json", lambda text: [json.loads(line) for line in text.splitlines()]),
            ("yaml", lambda text: list(yaml.safe_load_all(text))),
            ("table", str.splitlines),
        ):
            seen = 0
            visit = await self.visit(form)
            watched = Deferred.fromCoroutine(watching.show(visit, view, 0.001))
            await self.until(enough)
            watched.addErrback(lambda failure: None)
            watched.cancel()
            found = read(self.printed())[:2]
            expected = ["seen 1", "seen 2"] if form == "table" else [{"seen": 1}, {"seen": 2}]
            self.assertEqual(found, expected)
            self.assertIn("taskqueue: oh\n", self.said())

    @flow
    async def test_on_a_terminal_a_broker_that_is_away_is_looked_for_again(self) -> None:
        seen = 0

        async def view(client: Any) -> Shown:
            nonlocal seen
            seen += 1
            if seen == 1:
                raise CannotConnect("the broker is away")
            return Shown({}, ["it is back"])

        visit = await self.visit()
        visit.out.console = Console(file=self.out, force_terminal=True, width=80, height=10)
        watched = Deferred.fromCoroutine(watching.show(visit, view, 0.001))
        await self.until(lambda: seen >= 2)
        watched.addErrback(lambda failure: None)
        watched.cancel()
        shown = self.printed()
        self.assertLess(shown.index("the broker is away"), shown.index("it is back"))
        self.assertIn("\x1b[?1049l", shown)  # the screen is as it was before

    @flow
    async def test_stopping_the_reactor_cancels_the_command(self) -> None:
        triggers: list[Any] = []

        class Reactor:
            def __getattr__(self, name: str) -> Any:
                return getattr(reactor, name)

            def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> Any:
                triggers.append(call)

        async def endless(client: Any) -> int:
            await Deferred()
            return 0

        running = Deferred.fromCoroutine(with_client(Reactor(), self.address(), 5.0, endless))
        await self.until(lambda: triggers)
        ended = triggers[0]()
        self.assertEqual(await running, 130)
        await ended


class Tailing(VisitCase):
    @flow
    async def test_outcomes_as_they_come(self) -> None:
        visit = await self.visit("json")
        self.patch(tail, "_LOOK_S", 0.01)
        await visit.client.set_queue("default", None)
        tailing = Deferred.fromCoroutine(tail.Tail(visit, ("dead_letter",), ("t",), 2).run(()))
        client = await self.connect()
        one = await self.dead_letter(client, type="t", queue="default")
        await self.dead_letter(client, type="u", queue="default")
        done = await client.submit("t")
        (delivery,) = await client.claim(wait_s=5)
        await client.complete(delivery.holding, b"x")
        await client.result(str(done))
        # A queue that did not exist when it began.
        await client.set_queue("new", None)
        two = None
        while not tailing.called:
            two = await self.dead_letter(client, "ValueError: no\nmore", type="t", queue="new")
        self.assertEqual(await tailing, 0)
        told = [json.loads(line) for line in self.printed().splitlines()]
        self.assertEqual(told[0]["task"], one)
        self.assertIsNotNone(two)
        self.assertEqual([each["queue"] for each in told], ["default", "new"])
        self.assertEqual({each["state"] for each in told}, {"dead_letter"})

    @flow
    async def test_a_line_for_people(self) -> None:
        visit = await self.visit()
        tailing = Deferred.fromCoroutine(tail.Tail(visit, (), (), 1).run(("q",)))
        task = await self.dead_letter(visit.client, "[bold]no\nmore", queue="q")
        self.assertEqual(await tailing, 0)
        line = self.printed()
        self.assertRegex(
            line, rf"^\d{{4}}-\S+ \S+Z  dead_letter  q  t  {task}  attempt 1  \[bold]no\n$"
        )


class Operators(VisitCase):
    @flow
    async def test_audit(self) -> None:
        client = await self.connect()
        await client.submit("t")
        self.assertEqual(await self.run_command("audit"), 0)
        self.assertRegex(self.printed(), r"tasks +│ +1 *│\n│ leases +│ +0 *│")
        self.broker.broker.ledger.depth += 1
        self.assertEqual(await self.run_command("audit"), 6)
        self.assertIn("waiting tasks (depth): the books say 2, recounted 1", self.printed())
        self.broker.broker.ledger.depth -= 1

    @flow
    async def test_queues(self) -> None:
        client = await self.connect()

        async def queue() -> dict[str, Any]:
            (found,) = await client.queues()
            return found

        self.assertEqual(await self.run_command("queues", "pause", "q", "--for", "1h"), 0)
        paused = await queue()
        self.assertTrue(paused["paused"])
        self.assertLess(abs(paused["resume_at"] - await client.ping() - 3600), 60)
        self.assertEqual(await self.run_command("queues", "resume", "q"), 0)
        self.assertFalse((await queue())["paused"])
        self.assertEqual(await self.run_command("queues", "bound", "q", "7"), 0)
        self.assertEqual((await queue())["max_depth"], 7)
        self.assertEqual(await self.run_command("queues", "bound", "q", "none"), 0)
        self.assertEqual((await queue())["max_depth"], None)
        self.assertIn("Queue q has no bound of its own.", self.printed())

    @flow
    async def test_draining(self) -> None:
        client = await self.connect()
        self.patch(queues, "_LOOK_S", 0.001)
        await client.submit("t", queue="q")
        draining = self.run_command("queues", "drain", "q", "--wait")
        await self.until(lambda: "1 to go" in self.err.getvalue())
        self.assertFalse(draining.called)
        (delivery,) = await client.claim(["q"], wait_s=5)
        looks = 0
        pause_for = queues.pause_for

        def counted(*given: Any) -> Any:
            nonlocal looks
            looks += 1
            return pause_for(*given)

        self.patch(queues, "pause_for", counted)
        # What is in progress is still to go.
        await self.until(lambda: looks >= 3 or draining.called)
        self.assertFalse(draining.called)
        await client.complete(delivery.holding, b"")
        self.assertEqual(await draining, 0)
        self.assertIn("bound q none", self.printed())
        (found,) = await client.queues()
        self.assertEqual(found["max_depth"], 0)

    @flow
    async def test_depths(self) -> None:
        client = await self.connect()
        for queue in ("a", "a", "b"):
            await client.submit("t", queue=queue)
        for names, above, value, status in (
            ((), None, {"a": 2, "b": 1}, 0),
            (("b",), 1, {"b": 1}, 0),
            ((), 1, {"a": 2, "b": 1}, 5),
            (("b", "c"), 0, {"b": 1}, 1),
        ):
            shown = await queues.view_depths(client, names, above)
            self.assertEqual((shown.value, shown.status), (value, status))
        self.assertEqual(await self.run_command("queue-depth", "--above", "1"), 5)

    @flow
    async def test_orders(self) -> None:
        visit = await self.visit()
        await visit.client.register_worker("w1", 1, queues=["q"], types=["t"], capacity=3)
        self.assertEqual(await workers.order(visit, ["w1", "w2"], "quiet"), 1)
        self.assertIn("w1 is told to claim no more", self.printed())
        self.assertIn("'w2'", self.said())
        (found,) = await visit.client.workers()
        self.assertEqual(found["order"], "quiet")
        self.assertEqual(await self.run_command("workers", "terminate", "w1"), 0)

    @flow
    async def test_pinging(self) -> None:
        visit = await self.visit("json")
        self.assertEqual(await operators.measure(visit, 20, 3), 0)
        found = self.printed_json()
        self.assertEqual((found["pings"], found["concurrency"]), (20, 3))
        times = [found[name] for name in ("min_ms", "median_ms", "p90_ms", "p99_ms", "max_ms")]
        self.assertEqual(times, sorted(times))
        await visit.client.close()
        self.assertIsInstance(
            (
                await Deferred.fromCoroutine(operators.measure(visit, 5, 2)).addErrback(
                    lambda f: f.value
                )
            ),
            Exception,
        )


class Offline(SynchronousTestCase):
    def invoke(self, *arguments: str, status: int = 0) -> str:
        found = CliRunner().invoke(cli, arguments)
        self.assertEqual(found.exit_code, status, found.output)
        return found.output

    def test_configurations(self) -> None:
        good, bad = self.mktemp(), self.mktemp()
        Path(good).write_text("[broker]\nname = mine\n")
        Path(bad).write_text("[broker]\nnam = mine\n[nonsense]\n")
        self.assertEqual(self.invoke("config-check", good), "configuration ok\n")
        self.assertIn("name = mine", self.invoke("config-check", good, "--show"))
        self.assertTrue(json.loads(self.invoke("config-check", good, "--format", "json"))["usable"])
        self.assertIn("unknown key 'nam'", self.invoke("config-check", bad, status=1))
        told = yaml.safe_load(self.invoke("config-check", bad, "--format", "yaml", status=1))
        self.assertEqual((told["usable"], len(told["problems"])), (False, 2))
        self.assertIn("cannot be read", self.invoke("config-check", "/no/such", status=1))

    def test_completion(self) -> None:
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_TASKQUEUE_COMPLETE", self.invoke("completion", shell))

    def test_versions(self) -> None:
        self.assertIn("taskqueue", json.loads(self.invoke("version", "--format", "json")))


class Dashboard(VisitCase):
    def drawn(self, now: Sight, before: Sight | None, height: int) -> list[str]:
        console = Console(width=80, height=height, color_system=None, file=self.out)
        console.print(dashboard(now, before, height - 1))
        return self.printed().splitlines()

    @flow
    async def test_on_80_columns(self) -> None:
        visit = await self.visit()
        client = visit.client
        empty = await top_module.look(client, 0.0)
        self.assertIn("no queue yet", "\n".join(self.drawn(empty, None, 24)))
        for n in range(30):
            await client.submit("t", queue=f"queue-{n:02}")
        for n in range(12):
            other = await self.connect()
            await other.register_worker(f"w{n}", 1, queues=["q"], types=None, capacity=3)
        before = await top_module.look(client, 10.0)
        for _ in range(20):
            await client.submit("t", queue="busy")
        for n in range(7):
            await self.dead_letter(client, f"[bold]error {n}" + "x" * 200, queue="bad")
        await client.pause("busy")
        lines = self.drawn(await top_module.look(client, 20.0), before, 24)
        self.assertLessEqual(len(lines), 23)
        self.assertLessEqual(max(map(len, lines)), 80)
        text = "\n".join(lines)
        for part in ("busy paused", "waiting 50", "dead letters 7", "[bold]error", "more"):
            self.assertIn(part, text)
        # A queue that was not there before has no rate yet.
        self.assertRegex(text, r"busy paused +20 .* - ")
        self.assertRegex(text, r"queue-00 +1 .* 0\.0 ")

    @flow
    async def test_keys(self) -> None:
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        pressed: list[bytes] = []
        with top_module.keys(reactor, follower, pressed.append):
            os.write(leader, b"aq")
            await self.until(lambda: len(pressed) == 2)
        os.close(follower)
        self.assertEqual(pressed, [b"a", b"q"])

    @flow
    async def test_until_q(self) -> None:
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        self.addCleanup(os.close, follower)
        terminal = os.fdopen(os.dup(follower))
        self.addCleanup(terminal.close)
        self.patch(top_module.sys, "stdin", terminal)
        visit = await self.visit()
        visit.out.console = Console(file=self.out, force_terminal=True, width=80, height=24)
        showing = Deferred.fromCoroutine(top_module.show_top(visit, 60.0))
        await self.until(lambda: b"q quits" in self.flushed())
        self.assertFalse(showing.called)
        os.write(leader, b"q")
        self.assertEqual(await showing, 0)

    def flushed(self) -> bytes:
        self.out.flush()
        return self.raw.getvalue()

    def test_it_needs_a_terminal(self) -> None:
        found = CliRunner().invoke(cli, ["top"])
        self.assertEqual(found.exit_code, 2)
