"""
faktory-worker, the package of npm, unchanged, doing real work: its client and its worker.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.foreign.faktory_place import FaktoryProcessTestCase
from tests.process.children import until
from tests.process.programs import Program
from tools import foreign

HERE = Path(__file__).parent


class NodeTests(FaktoryProcessTestCase):
    password = "s3cret: with / all @ kinds"
    skip = foreign.missing()

    @property
    def url(self) -> str:
        return f"tcp://:s3cret%3A%20with%20%2F%20all%20%40%20kinds@127.0.0.1:{self.port}"

    def node(self, script: str, *arguments: str) -> Program:
        node = shutil.which("node")
        assert node is not None
        modules = str(foreign.folder() / "node_modules")
        return self.program(node, str(HERE / script), *arguments, NODE_PATH=modules)

    def ask(self, what: str, *given: Any) -> Any:
        """Have the client do something; what came of it."""
        program = self.node("faktory_producer.js", what, *map(json.dumps, given))
        self.assertEqual(program.wait(), 0, program.log)
        return json.loads(program.log.splitlines()[-1])

    def worker(self, wid: str = "node-worker-1") -> Program:
        worker = self.node("faktory_worker.js", wid)
        self.wait_for("ready", 1, worker)
        return worker

    def test_a_few_hundred_jobs(self) -> None:
        native = self.native()
        jobs = [{"jobtype": "work", "args": [n]} for n in range(400)]
        jobs += [{"jobtype": "flaky", "args": [n], "retry": 3} for n in range(5)]
        jobs += [{"jobtype": "boom", "args": [n], "retry": -1, "queue": "high"} for n in range(4)]
        jobs += [{"jobtype": "boom", "args": [n], "retry": 0, "queue": "high"} for n in (4, 5)]
        bad = {"jobtype": "no good", "args": [], "jid": "bad-job-1"}
        rejected = self.ask("bulk", [*jobs, bad])
        self.assertEqual(list(rejected), ["bad-job-1"])
        self.assertIn("jobtype cannot be 'no good'", rejected["bad-job-1"]["reason"])
        worker = self.worker()
        self.wait_for("work", 400, worker)
        self.assertEqual(sorted(map(int, self.did("work"))), list(range(400)))
        self.assertEqual(sorted(self.did("boom")), ["0", "1", "2", "3", "4", "5"])
        self.wait_for_states(native, failed=5, dead_letter=4, pending=0, in_progress=0)
        self.ask("requeue", "retries")
        self.wait_for("flaky", 5, worker)
        self.wait_for_states(native, failed=0, completed=405, in_progress=0)
        info = self.ask("info")
        self.assertEqual(info["faktory"]["sets"]["dead"], 4)
        self.assertEqual(info["faktory"]["total_failures"], 11)
        self.assertEqual(self.ask("flush"), "OK")
        self.wait_for_states(native, dead_letter=0)

    def test_a_worker_is_seen_and_told(self) -> None:
        native, worker = self.native(), self.worker()
        [seen] = native.workers()
        self.assertEqual((seen["id"], seen["incarnation"]), ("node-worker-1", 0))
        self.assertEqual(seen["pid"], worker.process.pid)
        self.ask("push", "slow", [1, 1500], {})
        self.wait_for("slow-begun", 1, worker)
        native.order_worker("node-worker-1", "quiet")
        until("it has no claim", lambda: native.stats()["waiting_claims"] == 0)
        self.ask("push", "work", [1], {})
        self.wait_for("slow", 1, worker)
        native.order_worker("node-worker-1", "terminate")
        self.assertEqual(worker.wait(), 0, worker.log)
        self.assertEqual(self.did("work"), [])
        self.wait_for_states(native, pending=1, completed=1, in_progress=0)

    def test_a_broker_that_is_killed_loses_nothing(self) -> None:
        jobs = [{"jobtype": "work", "args": [n]} for n in range(300)]
        self.ask("bulk", jobs)
        self.ask("push", "slow", [1, 4000], {})
        self.ask("push", "work", [300], {"at": "2100-01-01T00:00:00Z"})
        worker = self.worker()
        self.wait_for("work", 20, worker)
        self.begin_again()
        native = self.native()

        def is_over() -> bool:
            """What a lost answer was about stays reserved, and comes again in half an hour."""
            states = native.stats()["states"]
            self.assertEqual(states["completed"] + states["pending"] + states["in_progress"], 301)
            return (
                states["pending"] == 0 and len({*self.did("work")}) >= 300 - states["in_progress"]
            )

        until("everything is done, or reserved", is_over)
        self.wait_for("slow", 1, worker)
        states = native.stats()["states"]
        self.assertLessEqual(states["in_progress"], 12)
        self.assertEqual((states["scheduled"], states["failed"], states["dead_letter"]), (1, 0, 0))
