"""What is done to many tasks, and which they are."""

from __future__ import annotations

import re
import signal
import sys
from typing import Any

import click
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import bulk, selection
from taskqueue.cli.bulk import How, Tally, to_selected, to_these
from taskqueue.cli.changing import DELETE, RUN_NOW, canceller, retrier
from taskqueue.cli.parameters import NUMBER_OR_NONE, SPAN
from taskqueue.cli.selection import Selection, pages
from taskqueue.cli.tasks import view_tasks
from taskqueue.errors import Conflict, UnknownTask
from tests.cli.visiting import VisitCase
from tests.client.broker import flow

DO = How(dry_run=False, yes=True)
LOOK = How(dry_run=True, yes=False)
ASK = How(dry_run=False, yes=False)
UNKNOWN = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"


class Terminal:
    """A standard input on which somebody answers."""

    def isatty(self) -> bool:
        return True


class Arguments(SynchronousTestCase):
    def test_spans(self) -> None:
        for text, seconds in (
            ("90", 90),
            ("1.5s", 1.5),
            ("2M", 120),
            ("3h", 10800),
            ("1w", 604800),
        ):
            self.assertEqual(SPAN(text), seconds)
        for text in ("", "s", "-1", "1 y", "1e3", "m1"):
            self.assertRaises(click.BadParameter, SPAN, text)

    def test_numbers_or_none(self) -> None:
        self.assertEqual([NUMBER_OR_NONE(text) for text in ("0", "12", "none")], [0, 12, -1])
        for text in ("-1", "1.5", "", "\u0661"):
            self.assertRaises(click.BadParameter, NUMBER_OR_NONE, text)

    def test_the_text_that_every_match_contains(self) -> None:
        for pattern, text in (
            ("time out", "time out"),
            ("a.b", None),
            ("", None),
            ("x" * 1001, None),
        ):
            wanted = Selection(error_matches=re.compile(pattern))
            self.assertEqual(wanted.search(1.0, "oldest")["error_contains"], text)

    def test_ages(self) -> None:
        self.assertEqual(Selection(older_than_s=10.0).search(100.0, "oldest")["submitted_to"], 90.0)
        ended = Selection(older_than_s=10.0, by_end=True).search(100.0, "oldest")
        self.assertEqual(ended["ended_to"], 90.0)
        self.assertNotIn("submitted_to", ended)

    def test_tally(self) -> None:
        tally = Tally()
        answers = [None, Conflict("c"), UnknownTask("u")]
        tally.count("abc", answers, may_move=True)
        self.assertEqual((tally.done, tally.moved, tally.refusals), (1, 2, 0))
        tally.count("abc", answers, may_move=False)
        self.assertEqual((tally.done, tally.moved, tally.refusals), (2, 2, 2))
        self.assertEqual(tally.refused[0], {"id": "b", "code": "CONFLICT", "message": "c"})

    def test_ctrl_c_is_a_no(self) -> None:
        def interrupted(question: str, err: bool) -> bool:
            signal.raise_signal(signal.SIGINT)
            return True

        def mute(*_: Any) -> None:
            self.fail("the handler that goes on was called")

        before = signal.signal(signal.SIGINT, mute)
        self.addCleanup(signal.signal, signal.SIGINT, before)

        def confirm(question: str, err: bool) -> bool:
            try:
                return interrupted(question, err)
            except KeyboardInterrupt:
                raise bulk.click.Abort from None

        self.patch(bulk.click, "confirm", confirm)
        self.assertFalse(bulk.confirmed("Really?"))
        self.assertIs(signal.getsignal(signal.SIGINT), mute)


class Bulk(VisitCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(selection, "PAGE", 2)
        self.patch(bulk, "BATCH", 2)

    async def states(self, ids: list[str]) -> list[str]:
        client = await self.connect()
        return [view["state"] for view in await client.status(ids) if view]

    @flow
    async def test_cancelling_what_matches(self) -> None:
        visit = await self.visit("json")
        mine = [str(await visit.client.submit("t", queue="q")) for _ in range(5)]
        other = [
            str(await visit.client.submit("t", queue="r")),
            str(await visit.client.submit("u", queue="q")),
        ]
        wanted = Selection(queue="q", type="t", states=("pending",))
        self.assertEqual(await to_selected(visit, wanted, canceller(), LOOK), 0)
        plan = self.printed_json()
        self.assertEqual((plan["count"], plan["dry_run"]), (5, True))
        self.assertEqual([view["id"] for view in plan["sample"]], mine)
        self.assertEqual(await self.states(mine + other), ["pending"] * 7)
        self.assertEqual(await to_selected(visit, wanted, canceller(), DO), 0)
        self.assertEqual(self.printed_json()["done"], 5)
        self.assertEqual(await self.states(mine + other), ["cancelled"] * 5 + ["pending"] * 2)

    @flow
    async def test_running_now_what_waits_for_its_time(self) -> None:
        visit = await self.visit("json")
        late = [str(await visit.client.submit("t", run_in_s=3600.0)) for _ in range(3)]
        ready = str(await visit.client.submit("t"))
        wanted = Selection(type="t", states=("scheduled", "failed"))
        self.assertEqual(await to_selected(visit, wanted, RUN_NOW, DO), 0)
        self.assertEqual(self.printed_json()["done"], 3)
        self.assertEqual(await self.states([*late, ready]), ["pending"] * 4)

    @flow
    async def test_dead_letters(self) -> None:
        visit = await self.visit("json")
        slow = await self.dead_letter(visit.client, "Timeout: after 3 s\nmore")
        bad = await self.dead_letter(visit.client, "ValueError: no")
        dead = Selection(
            states=("dead_letter",), by_end=True, error_matches=re.compile(r"^Timeout.* \d+ s")
        )
        self.assertEqual(await to_selected(visit, dead, retrier(), DO), 0)
        self.assertEqual(self.printed_json()["done"], 1)
        self.assertEqual(await self.states([slow, bad]), ["pending", "dead_letter"])
        old = Selection(states=("dead_letter",), by_end=True, older_than_s=3600.0)
        self.assertEqual(await to_selected(visit, old, DELETE, DO), 0)
        self.assertEqual(self.printed_json()["done"], 0)
        young = Selection(states=("dead_letter",), by_end=True, older_than_s=0.0)
        self.assertEqual(await to_selected(visit, young, DELETE, DO), 0)
        self.assertEqual(self.printed_json()["done"], 1)
        self.assertEqual(await self.states([slow, bad]), ["pending"])

    @flow
    async def test_named_tasks(self) -> None:
        visit = await self.visit()
        tasks = [str(await visit.client.submit("t")) for _ in range(3)]
        self.assertEqual(await to_these(visit, tasks, canceller(), LOOK), 0)
        self.assertIn("This would cancel 3 tasks.", self.printed())
        self.assertEqual(await to_these(visit, [*tasks, UNKNOWN], canceller(), DO), 1)
        self.assertIn("3 tasks cancelled.", self.printed())
        self.assertIn(f"there is no task {UNKNOWN}", self.said())

    @flow
    async def test_running_tasks_are_asked(self) -> None:
        visit = await self.visit("json")
        task = str(await visit.client.submit("t"))
        await visit.client.claim(wait_s=5)
        self.assertEqual(await to_these(visit, [task], canceller(), DO), 1)
        self.assertEqual(self.printed_json()["refused"][0]["code"], "CONFLICT")
        self.assertEqual(await to_these(visit, [task], canceller(running=True), DO), 0)

    @flow
    async def test_somebody_is_asked(self) -> None:
        visit = await self.visit()
        task = str(await visit.client.submit("t"))
        wanted = Selection(states=("pending",), queue="default")
        asked: list[str] = []

        def no(question: str) -> bool:
            asked.append(question)
            return False

        self.patch(bulk, "confirmed", no)
        # Where nobody can answer, nothing is done.
        self.patch(sys, "stdin", self.out)
        self.assertEqual(await to_selected(visit, wanted, canceller(), ASK), 2)
        self.assertIn("--yes", self.said())
        self.patch(sys, "stdin", Terminal())
        self.assertEqual(await to_selected(visit, wanted, canceller(), ASK), 1)
        self.assertEqual(asked, ["Cancel 1 task?"])
        self.assertEqual(await self.states([task]), ["pending"])
        # What is submitted while the question stands there is not touched.
        later: list[Any] = []

        def yes(question: str) -> bool:
            later.append(visit.client.submit("t"))
            return True

        self.patch(bulk, "confirmed", yes)
        self.assertEqual(await to_selected(visit, wanted, canceller(), ASK), 0)
        late = str(await later[0])
        self.assertEqual(await self.states([task, late]), ["cancelled", "pending"])

    @flow
    async def test_pages_shrink_where_errors_are_long(self) -> None:
        visit = await self.visit()
        tasks = [str(await visit.client.submit("t")) for _ in range(9)]
        whole = visit.client.list_tasks
        sizes: list[int] = []

        async def narrow(search: Any) -> Any:
            sizes.append(search.limit)
            if search.limit > 2:
                raise selection.BadRequest("ask for fewer")
            return await whole(search)

        self.patch(visit.client, "list_tasks", narrow)
        found: list[str] = []
        async for page in pages(visit.client, Selection(), size=8):
            found += [view["id"] for view in page]
        self.assertEqual(found, tasks)
        self.assertEqual(sizes[:4], [8, 4, 2, 2])

    @flow
    async def test_listing(self) -> None:
        visit = await self.visit()
        tasks = [str(await visit.client.submit("t", queue=f"q{n % 2}")) for n in range(6)]
        for wanted, limit, order, expected in (
            (Selection(), 0, "oldest", tasks),
            (Selection(), 2, "newest", tasks[:3:-1]),
            (Selection(queue="q1"), 2, "oldest", [tasks[1], tasks[3]]),
            (Selection(states=("completed",)), 0, "oldest", []),
        ):
            shown = await view_tasks(visit.client, wanted, limit, order)
            self.assertEqual([view["id"] for view in shown.value], expected)
