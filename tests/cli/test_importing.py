"""Submitting a task for each line of a file."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import importing, lines
from taskqueue.cli.importing import Import, import_tasks
from taskqueue.cli.lines import Line, lines_from, space_of, submission_from
from taskqueue.cli.progress import Place, head_of, read_place, write_place
from taskqueue.errors import BadRequest
from tests.cli.visiting import VisitCase
from tests.client.broker import flow

SPACE = space_of("print", "")


def made(text: str, number: int = 1, **defaults: Any) -> Any:
    return submission_from(Line(number, 0, text.encode()), defaults, SPACE)


class Lines(SynchronousTestCase):
    def test_places(self) -> None:
        found = list(lines_from(BytesIO(b"a\n\n b \r\nc"), 3, 100))
        self.assertEqual(
            found, [Line(4, 102, b"a"), Line(5, 103, b""), Line(6, 108, b"b"), Line(7, 109, b"c")]
        )

    def test_a_line_without_end(self) -> None:
        self.patch(lines, "LONGEST_LINE", 4)
        found = list(lines_from(BytesIO(b"abc\nabcdefghijk\nabc\nabcdefgh"), 0, 0))
        self.assertEqual(
            found,
            [Line(1, 4, b"abc"), Line(2, 16, None), Line(3, 20, b"abc"), Line(4, 28, None)],
        )
        with self.assertRaises(BadRequest):
            submission_from(found[1], {}, SPACE)

    def test_payloads(self) -> None:
        for text, payload in (
            ('{"type":"t"}', b""),
            ('{"type":"t","payload":"\u00d6l"}', "\u00d6l".encode()),
            ('{"type":"t","payload":{"a":[1,null]}}', b'{"a":[1,null]}'),
            ('{"type":"t","payload":null}', b"null"),
            ('{"type":"t","payload_base64":"AP8="}', b"\x00\xff"),
            ('{"type":"t","args":[1]}', b'{"args":[1],"kwargs":{}}'),
            ('{"type":"t","args":[1],"kwargs":{"b":2}}', b'{"args":[1],"kwargs":{"b":2}}'),
        ):
            self.assertEqual(made(text).payload, payload, text)

    def test_bad_lines(self) -> None:
        for text in (
            *("nonsense", "[1]", '"t"', "{}", '{"type":3}', '{"type":"t","nonsense":1}', "NaN"),
            '{"type":"t","payload":1,"args":[]}',
            '{"type":"t","payload_base64":"*"}',
            '{"type":"t","payload_base64":3}',
            '{"type":"t","args":3}',
            '{"type":"t","kwargs":[]}',
            '{"type":"t","headers":3}',
            '{"type":"t","depends_on":3}',
            '{"type":"t","payload":NaN}',
        ):
            with self.assertRaises(BadRequest, msg=text):
                made(text)

    def test_defaults(self) -> None:
        self.assertEqual(made("{}", type="d").type, "d")
        self.assertEqual(made('{"type":null}', type="d").type, "d")
        task = made('{"type":"t","queue":"mine"}', type="d", queue="q", priority=3)
        self.assertEqual((task.type, task.queue, task.priority), ("t", "mine", 3))

    def test_ids(self) -> None:
        one = made('{"type":"t"}')
        self.assertEqual(UUID(one.id).version, 5)
        self.assertEqual(one.id, made('{"type":"t"}').id)
        others = {
            made('{"type":"t"}', number=2).id,
            made('{"type":"u"}').id,
            submission_from(Line(1, 0, b'{"type":"t"}'), {}, space_of("print", "again")).id,
            submission_from(Line(1, 0, b'{"type":"t"}'), {}, space_of("other", "")).id,
        }
        self.assertEqual(len(others - {one.id}), 4)
        own = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"
        self.assertEqual(made(json.dumps({"type": "t", "id": own})).id, own)


class Journals(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.source, self.journal = str(folder / "tasks"), str(folder / "journal")
        Path(self.source).write_bytes(b"0123456789")

    def place(self) -> Place:
        return Place("print", *head_of(self.source), offset=10, line=1)

    def test_round_trip(self) -> None:
        self.assertIsNone(read_place(self.journal, self.source, ""))
        write_place(self.journal, self.place())
        self.assertEqual(read_place(self.journal, self.source, ""), self.place())
        self.assertEqual(os.listdir(os.path.dirname(self.journal)).count("journal.new"), 0)

    def test_a_file_that_grew_is_the_same(self) -> None:
        place = self.place()
        write_place(self.journal, place)
        Path(self.source).write_bytes(b"0123456789 and more")
        self.assertEqual(read_place(self.journal, self.source, ""), place)

    def test_refusals(self) -> None:
        write_place(self.journal, self.place())
        with self.assertRaises(BadRequest):
            read_place(self.journal, self.source, "another run")
        for content in (b"0123456788", b"012345678", b""):
            Path(self.source).write_bytes(content)
            with self.assertRaises(BadRequest, msg=repr(content)):
                read_place(self.journal, self.source, "")
        Path(self.source).write_bytes(b"0123456789")
        place = Place("print", *head_of(self.source, 4), offset=10, line=1)
        write_place(self.journal, place)
        self.assertEqual(read_place(self.journal, self.source, ""), place)
        Path(self.source).write_bytes(b"012345678")  # begins alike, and is too short
        with self.assertRaises(BadRequest):
            read_place(self.journal, self.source, "")
        for text in ("", "[]", "{}", '{"print": "p", "more": 1}', "nonsense"):
            Path(self.journal).write_text(text)
            with self.assertRaises(BadRequest, msg=text):
                read_place(self.journal, self.source, "")


class Importing(VisitCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.patch(importing, "CHUNK_LINES", 3)
        self.patch(importing, "_AGAIN_S", 0.01)

    def plan(self, content: str | None, **how: Any) -> Import:
        path = self.folder / "tasks.jsonl"
        if content is not None:
            path.write_text(content)
        named = {
            name: str(self.folder / how[name]) for name in ("journal", "rejects") if name in how
        }
        return Import(
            how.get("source", str(path)),
            named.get("journal"),
            named.get("rejects"),
            how.get("run_name", ""),
            {"type": how.get("type")},
        )

    def numbered(self, *numbers: int) -> str:
        return "".join(json.dumps({"type": "t", "payload": n}) + "\n" for n in numbers)

    async def payloads(self) -> list[int]:
        client = await self.connect()
        claimed: list[Any] = []
        while more := await client.claim(limit=100, wait_s=0):
            claimed += more
        return sorted(int(delivery.payload) for delivery in claimed)

    @flow
    async def test_a_file(self) -> None:
        visit = await self.visit()
        self.assertEqual(await import_tasks(visit, self.plan(self.numbered(*range(10)))), 0)
        self.assertEqual(self.printed(), "10 tasks of 10 lines submitted.\n")
        # Once more: the same tasks.
        self.assertEqual(await import_tasks(visit, self.plan(None)), 0)
        self.assertEqual(await self.payloads(), list(range(10)))
        self.assertEqual(await import_tasks(visit, self.plan(None, run_name="again")), 0)
        self.assertEqual(await self.payloads(), list(range(10)))
        self.assertEqual(self.said(), "")

    @flow
    async def test_bad_lines_by_number(self) -> None:
        content = "nonsense\n\n" + self.numbered(1, 2) + '{"type":"t","priority":999}\n[]\n'
        visit = await self.visit("json")
        plan = self.plan(content, rejects="bad")
        self.assertEqual(await import_tasks(visit, plan), 1)
        told = self.printed_json()
        self.assertEqual([told["lines"], told["submitted"], told["rejected"]], [6, 2, 3])
        self.assertEqual([bad["line"] for bad in told["first_rejected"]], [1, 5, 6])
        self.assertRegex(self.said(), r"(?s)line 1: .*line 5: .*999.*line 6: ")
        bad = [json.loads(line) for line in (self.folder / "bad").read_text().splitlines()]
        self.assertEqual([each["line"] for each in bad], [1, 5, 6])
        self.assertEqual(bad[0]["text"], "nonsense")
        self.assertEqual(await self.payloads(), [1, 2])

    @flow
    async def test_many_bad_lines_are_counted(self) -> None:
        self.assertEqual(await import_tasks(await self.visit(), self.plan("x\n" * 25)), 1)
        self.assertIn("line 20: ", self.err.getvalue())
        self.assertNotIn("line 21: ", self.err.getvalue())
        self.assertIn("and 5 more bad lines", self.err.getvalue())

    @flow
    async def test_it_goes_on_after_an_interruption(self) -> None:
        """Stopped at any chunk; what was noted is not read again, and nothing is there twice."""
        content = "x\n" + self.numbered(*range(30))
        plan = self.plan(content, journal="j", rejects="bad")
        settled = importing._Run._settled
        count = 0

        def interrupted(run: Any, chunk: Any) -> None:
            nonlocal count
            count += 1
            if count == 4:
                raise CancelledError
            settled(run, chunk)

        patched = self.patch(importing._Run, "_settled", interrupted)
        visit = await self.visit()
        running = Deferred.fromCoroutine(import_tasks(visit, plan))
        await self.assertFailure(running, CancelledError)
        self.assertIn("stopped after line 9, with 8 tasks", self.said())
        self.assertEqual(json.loads((self.folder / "j").read_text())["line"], 9)
        patched.restore()
        # Something was written after the note; it is written anew.
        with (self.folder / "bad").open("a") as file:
            file.write("left behind\n")
        self.assertEqual(await import_tasks(visit, plan), 1)
        self.assertIn("30 tasks of 31 lines submitted, from line 10 on.", self.printed())
        self.assertEqual(len((self.folder / "bad").read_text().splitlines()), 1)
        self.assertEqual(await self.payloads(), list(range(30)))
        # There is nothing left, until the file grows.
        (self.folder / "tasks.jsonl").write_text(content + self.numbered(30))
        self.assertEqual(await import_tasks(visit, plan), 1)
        self.assertEqual(await self.payloads(), [30])

    @flow
    async def test_a_full_queue_is_waited_for(self) -> None:
        client = await self.connect()
        await client.set_queue("default", 4)
        plan = self.plan(self.numbered(*range(12)))
        running = Deferred.fromCoroutine(import_tasks(await self.visit(), plan))
        await self.until(lambda: "waiting at line" in self.err.getvalue())
        self.assertFalse(running.called)
        await client.set_queue("default", None)
        self.assertEqual(await running, 0)
        self.assertEqual(await self.payloads(), list(range(12)))

    @flow
    async def test_lines_that_depend_on_earlier_ones(self) -> None:
        first = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"
        content = json.dumps({"type": "t", "id": first, "payload": 1}) + "\n"
        content += "".join(
            json.dumps({"type": "t", "payload": n, "depends_on": [first]}) + "\n" for n in range(9)
        )
        self.assertEqual(await import_tasks(await self.visit(), self.plan(content)), 0)
        self.assertEqual(await self.payloads(), [1])

    @flow
    async def test_what_a_line_depends_on_may_come_late(self) -> None:
        """The line before was refused for a while; when it is there, its turn comes."""
        first = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"
        tasks: list[dict[str, Any]] = [
            {"type": "t", "id": first, "payload": 1, "queue": "full"},
            {"type": "t", "payload": 2, "depends_on": [first]},
        ]
        self.patch(importing, "CHUNK_LINES", 1)
        client = await self.connect()
        await client.set_queue("full", 0)
        plan = self.plan("".join(json.dumps(task) + "\n" for task in tasks))
        running = Deferred.fromCoroutine(import_tasks(await self.visit(), plan))
        await self.until(lambda: "waiting at line" in self.err.getvalue())
        await client.set_queue("full", None)
        self.assertEqual(await running, 0)
        self.assertEqual((await client.stats())["states"]["blocked"], 1)

    @flow
    async def test_standard_input(self) -> None:
        class Stdin:
            buffer = BytesIO(self.numbered(1, 2).encode())

        self.patch(importing.sys, "stdin", Stdin)
        visit = await self.visit()
        self.assertEqual(await import_tasks(visit, self.plan(None, source="-", journal="j")), 2)
        self.assertIn("cannot be resumed", self.said())
        self.assertEqual(await import_tasks(visit, self.plan(None, source="-")), 0)
        self.assertEqual(await self.payloads(), [1, 2])

    @flow
    async def test_what_cannot_be_read(self) -> None:
        visit = await self.visit()
        for source, said in (("/no/such/file", "No such file"), ("/dev/null", "--from-file -")):
            self.assertEqual(await import_tasks(visit, self.plan(None, source=source)), 2)
            self.assertIn(said, self.said())
        plan = self.plan(self.numbered(1), rejects="no/such/folder")
        self.assertEqual(await import_tasks(visit, plan), 1)
        self.assertIn("No such file", self.said())
