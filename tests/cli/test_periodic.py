"""Commands on periodic tasks."""

from __future__ import annotations

import sys

from taskqueue.cli import periodic
from taskqueue.cli.watching import show
from tests.cli.visiting import VisitCase
from tests.client.broker import flow


class Periodic(VisitCase):
    @flow
    async def test_a_life(self) -> None:
        visit = await self.visit()
        client = visit.client
        await client.put_periodic("nightly", "report", cron="0 3 * * *", tz="Europe/Paris")
        await client.put_periodic("often", "poll", every_s=90)
        self.assertEqual(await show(visit, periodic.view_periodics), 0)
        shown = self.printed()
        for part in ("0 3 * * * (Europe/Paris)", "every 90 s", "active", "nightly"):
            self.assertIn(part, shown)
        self.assertEqual(
            await periodic.each(visit, ["often", "none"], "paused", client.pause_periodic), 1
        )
        self.assertEqual(self.printed(), "Periodic task often is paused.\n")
        self.assertIn("none", self.said())
        self.assertEqual([each["paused"] for each in await client.periodics()], [False, True])
        self.assertEqual(await periodic.trigger_these(visit, ["nightly"]), 0)
        task = self.printed().strip()
        (view,) = await client.status([task])
        assert view is not None
        self.assertEqual((view["type"], view["state"]), ("report", "pending"))

    @flow
    async def test_deleting(self) -> None:
        visit = await self.visit("json")
        client = visit.client
        for name in ("a", "b"):
            await client.put_periodic(name, "t", every_s=3600)
        self.patch(sys, "stdin", self.out)  # no terminal
        self.assertEqual(await periodic.delete_these(visit, ["a"], yes=False), 2)
        self.assertIn("--yes", self.said())
        self.assertEqual(len(await client.periodics()), 2)
        self.assertEqual(await periodic.delete_these(visit, ["a", "c"], yes=True), 1)
        self.assertEqual(self.printed_json(), {"deleted": ["a"]})
        self.assertEqual([each["name"] for each in await client.periodics()], ["b"])
