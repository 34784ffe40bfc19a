"""
Periodic tasks and unique keys of brokers that are killed again and again: each
tick fires once, and a key stays with the task that has it.
"""

from __future__ import annotations

import signal
import threading
from random import Random

from taskqueue.core.periodic import Tick
from taskqueue.wire import Header, MessageType
from tests.process.children import ProcessTestCase, until
from tests.process.peer import Peer

KILLS = 6
NAMES = ("a", "b", "c")


class TicksThroughCrashes(ProcessTestCase):
    measured = False

    def listed(self, peer: Peer) -> dict[str, Header]:
        rows = peer.ask(MessageType.LIST_PERIODIC)["periodics"]
        return {row["name"]: row for row in rows}

    def put(self, peer: Peer) -> None:
        """As workers do whenever they start."""
        periodics = [
            {"name": n, "type": n, "every_s": 1, "catch_up": "all", "payload": n.encode()}
            for n in NAMES
        ]
        answer = peer.ask(MessageType.PUT_PERIODIC, periodics=periodics)
        self.assertNotIn("errors", answer)

    def test_each_tick_fires_once(self) -> None:
        random, pause = Random(1), threading.Event()
        first: dict[str, float] = {}
        holder = ""
        for _ in range(KILLS):
            broker = self.start("--set=store.durability=fsync")
            with Peer(broker.port()) as peer:
                self.put(peer)
                for name, row in self.listed(peer).items():
                    first.setdefault(name, row["next_at"])
                keyed = {"type": "keyed", "unique": "k", "run_in_s": 1000}
                answer = peer.ask(MessageType.SUBMIT_TASK, tasks=[keyed])
                holder = holder or answer["tasks"][0]
                self.assertEqual(answer["tasks"], [holder])
                pause.wait(random.uniform(0.2, 1.2))
            broker.end(signal.SIGKILL)
        with Peer(self.start().port()) as peer:
            until(
                "all have fired",
                lambda: all(row["fired"] >= KILLS for row in self.listed(peer).values()),
            )
            for name in NAMES:
                peer.ask(MessageType.PAUSE_PERIODIC, name=name, paused=True)
            for name, row in self.listed(peer).items():
                tasks = peer.ask(MessageType.LIST_TASKS, type=name, limit=1000)["tasks"]
                found = {task["id"] for task in tasks}
                ticks = [Tick(name, first[name] + n).task_id for n in range(row["fired"])]
                self.assertEqual(found, set(ticks))
                self.assertEqual(len(tasks), row["fired"])
                self.assertEqual((row["skipped"], row["last_task"]), (0, ticks[-1]))
