"""Commands on values under keys."""

from __future__ import annotations

import sys

from taskqueue import errors
from taskqueue.cli import values
from taskqueue.cli.values import Putting
from taskqueue.cli.watching import show
from tests.cli.visiting import VisitCase
from tests.client.broker import flow


class Values(VisitCase):
    @flow
    async def test_a_life(self) -> None:
        visit = await self.visit()
        client = visit.client
        self.assertEqual(await values.put(visit, Putting("n", "k", b"\x00\xff", 3600.0)), 0)
        value = await client.get_value("n", "k")
        assert value is not None and value.expires_at is not None
        self.assertEqual(self.printed(), f"Value k of n has version {value.version}.\n")
        self.assertEqual(await values.print_value(visit, "n", "k"), 0)
        self.out.flush()
        self.assertEqual(self.raw.getvalue(), b"\x00\xff")
        self.raw.truncate(0)
        self.raw.seek(0)
        self.assertEqual(await values.print_value(visit, "n", "none"), 1)
        self.assertIn("no value 'none' in 'n'", self.said())
        await client.put_value("n", "l", b"text")
        await client.put_value("m", "k", b"")
        self.assertEqual(await show(visit, values.view_namespaces), 0)
        shown = self.printed()
        self.assertLess(shown.index("m "), shown.index("n "))
        listed = await values.view_values(client, "n", "", 1000)
        visit.out.show(listed)
        shown = self.printed()
        for part in ("Values of n", "k", "l", str(value.version), "4"):
            self.assertIn(part, shown)
        keys = [each["key"] for each in (await values.view_values(client, "n", "l", 5)).value]
        self.assertEqual(keys, ["l"])
        self.assertEqual(len((await values.view_values(client, "n", "", 1)).value), 1)

    @flow
    async def test_conditions(self) -> None:
        visit = await self.visit("json")
        absent = Putting("n", "k", b"1", only_if="absent")
        self.assertEqual(await values.put(visit, absent), 0)
        version = self.printed_json()["version"]
        self.assertEqual(await values.put(visit, absent), 1)
        self.assertIn("unchanged", self.said())
        self.assertEqual(await values.put(visit, Putting("n", "k", b"2", version=version)), 0)
        self.assertEqual(self.printed_json()["key"], "k")
        both = Putting("n", "k", b"3", only_if="absent", version=1)
        with self.assertRaises(errors.BadRequest):
            await values.put(visit, both)
        self.assertEqual(await values.print_value(visit, "n", "k"), 0)
        self.assertEqual(self.printed_json()["value"], "2")

    @flow
    async def test_deleting(self) -> None:
        visit = await self.visit("json")
        client = visit.client
        await client.put_values("n", {"a": b"", "b": b""})
        self.patch(sys, "stdin", self.out)  # no terminal
        self.assertEqual(await values.delete_these(visit, "n", ["a"], yes=False), 2)
        self.assertIn("--yes", self.said())
        self.assertEqual(await client.value_namespaces(), {"n": 2})
        self.assertEqual(await values.delete_these(visit, "n", ["a", "c"], yes=True), 1)
        self.assertEqual(self.printed_json(), {"deleted": 1})
        self.assertEqual(await values.delete_these(visit, "n", ["b"], yes=True), 0)
