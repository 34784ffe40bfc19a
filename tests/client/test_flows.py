"""Chains and groups of tasks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client import Submission
from taskqueue.client.flows import chain, fan_in, fan_out, group
from taskqueue.errors import BadRequest
from tests.client.broker import BrokerCase, flow


def edges(tasks) -> dict[str, set[str]]:
    """By type, which types each task depends on."""
    types = {task.id: task.type for task in tasks}
    return {task.type: {types[d] for d in task.depends_on or ()} for task in tasks}


def t(*names: str) -> list[dict]:
    return [{"type": name} for name in names]


class Shapes(SynchronousTestCase):
    def test_a_chain(self) -> None:
        found = chain(t("a", "b", "c"))
        self.assertEqual(edges(found), {"a": set(), "b": {"a"}, "c": {"b"}})
        self.assertEqual(found.ids, [task.id for task in found])
        self.assertEqual((found[0].type, len(found[1:])), ("a", 2))

    def test_a_fan(self) -> None:
        self.assertEqual(
            edges(fan_in(t("a", "b"), {"type": "z"})), {"a": set(), "b": set(), "z": {"a", "b"}}
        )
        self.assertEqual(
            edges(fan_out({"type": "z"}, t("a", "b"))), {"a": {"z"}, "b": {"z"}, "z": set()}
        )

    def test_flows_of_flows(self) -> None:
        pairs = group([chain(t("a1", "a2")), chain(t("b1", "b2"))])
        found = chain([{"type": "first"}, pairs, {"type": "last"}])
        self.assertEqual(
            edges(found),
            {
                "first": set(),
                "a1": {"first"},
                "a2": {"a1"},
                "b1": {"first"},
                "b2": {"b1"},
                "last": {"a2", "b2"},
            },
        )
        tasks = list(found)
        for place, task in enumerate(tasks):
            before = {other.id for other in tasks[:place]}
            self.assertEqual(set(task.depends_on or ()) - before, set())

    def test_what_a_task_depended_on_before_stays(self) -> None:
        found = chain([{"type": "a", "id": "A"}, Submission("b", depends_on=["x"])])
        self.assertEqual(found[1].depends_on, ["x", "a"])

    def test_nothing(self) -> None:
        for make in (chain, group):
            self.assertRaises(BadRequest, make, [])

    def test_too_much(self) -> None:
        fan_in(t("a") * 1000, {"type": "z"})
        error = self.assertRaises(BadRequest, fan_in, t("a") * 1001, {"type": "z"})
        self.assertIn("depend on 1000 others, not on 1001", str(error))


class Running(BrokerCase):
    @flow
    async def test_the_last_runs_last(self) -> None:
        client = await self.connect()
        pages = group({"type": "page", "payload": n} for n in range(1, 4))
        handles = await client.submit_many(fan_in(pages, {"type": "report", "payload": pages.ids}))
        self.assertEqual(handles[:3], pages.ids)
        first = await client.claim(limit=10, wait_s=5)
        self.assertEqual({d.type for d in first}, {"page"})
        for delivery in first:
            await client.complete(delivery.holding, delivery.payload)
        (last,) = await client.claim(limit=10, wait_s=5)
        self.assertEqual(last.type, "report")
        total = sum([await handle.result() for handle in handles[:3]])
        await client.complete(last.holding, b"%d" % total)
        self.assertEqual(await handles[3], 6)
