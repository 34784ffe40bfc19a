"""
Workers that are killed, or frozen beyond their leases, a broker that is killed,
and connections that are cut in the middle of a frame: every task ends once, and
what ran twice has lost a lease.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from random import Random

import psutil

from taskqueue.core.ledger import TOKEN_BLOCK
from taskqueue.wire import Header
from tests.process.children import PATIENCE_S, ProcessTestCase, environment, until
from tests.process.peer import Gone, Peer
from tests.process.proxy import CuttingProxy

#: Another seed makes other mishaps; more rounds take longer.
SEED = os.environ.get("TASKQUEUE_CHAOS_SEED", "1")
ROUNDS = int(os.environ.get("TASKQUEUE_CHAOS_ROUNDS", "16"))
TASKS = 2000
WORKERS = 3

#: Leases that nobody ends are over soon, so that the test is too.
SETTINGS = (
    "--set=broker.lease_s=2",
    "--set=workers.reconnect_grace_s=1",
    "--set=workers.stale_after_s=3",
    "--set=workers.heartbeat_s=1",
)
LIVE = ["blocked", "scheduled", "pending", "failed", "in_progress"]

#: What ends a delivery without ending the task.
EXPLAINS = ("lost", "failed", "released")

MODULE = """
import os, threading
import taskqueue

app = taskqueue.App()
pause = threading.Event()
runs = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

@app.task
def note(ctx, number):
    os.write(runs, f"{ctx.id} {ctx.lease} {number}\\n".encode())
    pause.wait(0.1 if number % 10 == 0 else 0.01)
    ctx.progress(number)
    return number
"""


class Chaos(ProcessTestCase):
    measured = False

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "chaos_tasks.py").write_text(MODULE)
        self.random = Random(SEED)
        self.port = 0
        self.workers: list[subprocess.Popen[bytes]] = []
        self.frozen: list[psutil.Process] = []
        self.proxy = CuttingProxy(lambda: self.port)
        self.addCleanup(self.proxy.close)
        self.mishaps: Counter[str] = Counter()
        self.pause = threading.Event()

    # --- what there is ----------------------------------------------------------------------

    def start_broker(self) -> None:
        self.broker = self.start(*SETTINGS)
        self.port = self.broker.port()

    def start_worker(self) -> None:
        address = f"tq://127.0.0.1:{self.proxy.port}"
        with open(self.folder / "workers.log", "ab") as log:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "taskqueue.cli", "--broker", address, "worker"),
                    *("chaos_tasks:app", "--concurrency=2", "--prefetch=4"),
                    *("--stop-timeout=2", "--log-level=warn"),
                ],
                cwd=self.folder,
                env=environment(measured=self.measured),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.workers.append(worker)
        self.addCleanup(self.bury, worker)

    def bury(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()

    def runs(self) -> list[tuple[str, int, int]]:
        """Task, lease and number of every run of a handler."""
        path = self.folder / "runs"
        words = (line.split() for line in path.read_text().splitlines()) if path.exists() else ()
        return [(task, int(lease), int(number)) for task, lease, number in words]

    # --- what goes wrong ---------------------------------------------------------------------

    def kill_a_worker(self) -> None:
        worker = self.workers.pop(self.random.randrange(len(self.workers)))
        self.bury(worker)
        self.start_worker()

    def kill_a_child(self) -> None:
        worker = psutil.Process(self.random.choice(self.workers).pid)
        for child in worker.children()[:1]:
            child.kill()

    def freeze_a_worker(self) -> None:
        """With its children: they wake up with leases that others have."""
        worker = psutil.Process(self.random.choice(self.workers).pid)
        frozen = [worker, *worker.children()]
        for process in frozen:
            process.suspend()
        self.frozen += frozen

    def thaw(self) -> None:
        for process in self.frozen:
            if process.is_running():
                process.resume()
        self.frozen.clear()

    def stop_a_worker(self) -> None:
        worker = self.workers.pop(self.random.randrange(len(self.workers)))
        worker.terminate()
        self.assertEqual(worker.wait(PATIENCE_S), 0)
        self.start_worker()

    def kill_the_broker(self) -> None:
        self.port = 0
        self.broker.end(signal.SIGKILL)
        self.start_broker()

    def cut_a_connection(self) -> None:
        self.proxy.cut_next()

    # --- the test ---------------------------------------------------------------------------

    def submit(self, numbers: range) -> list[str]:
        with Peer(self.port) as peer:
            return peer.submit(
                *(
                    {
                        "type": "note",
                        "payload": b'{"args":[%d]}' % number,
                        "max_retries": 50,
                        "max_lost": 50,
                        "retry_delay_s": 0.1,
                        "retry_max_delay_s": 0.5,
                    }
                    for number in numbers
                )
            )

    def do_harm(self) -> None:
        """One of each kind at least, in any order; a freeze outlasts every lease."""
        kinds = [
            *(self.kill_a_worker, self.kill_a_child, self.kill_the_broker),
            *(self.cut_a_connection, self.cut_a_connection, self.stop_a_worker),
        ]
        todo = (kinds * ROUNDS)[:ROUNDS]
        self.random.shuffle(todo)
        freezing_at = {ROUNDS // 4, ROUNDS // 2}
        thawing_at = 0.0
        for number, harm in enumerate(todo):
            if number in freezing_at and not self.frozen:
                self.freeze_a_worker()
                thawing_at = time.monotonic() + 4.0
            if harm not in (self.kill_a_child, self.stop_a_worker) or not self.frozen:
                harm()
                self.mishaps[harm.__name__] += 1
            self.pause.wait(self.random.uniform(0.1, 0.6))
            if self.frozen and time.monotonic() > thawing_at:
                self.thaw()
        self.pause.wait(max(0.0, thawing_at - time.monotonic()))
        self.thaw()

    def test_every_task_ends_once(self) -> None:
        self.start_broker()
        ids = [i for start in range(0, TASKS, 500) for i in self.submit(range(start, start + 500))]
        for _ in range(WORKERS):
            self.start_worker()
        until("the first tasks have run", self.runs)
        self.do_harm()
        until("all tasks have ended", self.all_ended, 40)
        with Peer(self.port) as peer:
            found: list[Header | None] = []
            for start in range(0, TASKS, 500):
                found += peer.status(*ids[start : start + 500], result=True, history=True)
        tasks = {task["id"]: task for task in found if task is not None}
        wrong = list(self.what_is_wrong(ids, tasks))
        self.assertEqual(wrong[:10], [], f"{len(wrong)} things are wrong; seed {SEED}")
        with Peer(self.port) as peer:
            states = Counter(task["state"] for task in peer.every_task())
        self.assertEqual(states, {"completed": TASKS})
        self.assertGreater(self.proxy.cut, 0)
        self.assertGreater(len(self.runs()), TASKS, f"nothing ran twice after {self.mishaps}")

    def all_ended(self) -> bool:
        try:
            with Peer(self.port) as peer:
                return not peer.every_task(states=LIVE)
        except Gone:
            return False

    def what_is_wrong(self, ids: list[str], tasks: dict[str, Header]) -> Iterator[str]:
        """Where a task has not ended once, or has run again without a cause."""
        runs: defaultdict[str, list[int]] = defaultdict(list)
        for task, lease, _ in self.runs():
            runs[task].append(lease)
        for number, name in enumerate(ids):
            task = tasks.get(name)
            if task is None:
                yield f"{name} is lost"
                continue
            events = Counter(event["event"] for event in task["history"])
            if task["state"] != "completed" or task["result"] != b"%d" % number:
                yield f"{name} is {task['state']} with {task.get('result')!r}: {task['history']}"
            if len(set(runs[name])) != len(runs[name]):
                yield f"{name} ran twice under one lease: {runs[name]}"
            causes = sum(events[event] for event in EXPLAINS)
            if task["attempt"] != 1 + causes:
                yield f"{name} was delivered {task['attempt']} times: {task['history']}"
            # A broker that is killed may not have stored its newest claims: they are void.
            causes += len({lease // TOKEN_BLOCK for lease in runs[name]}) - 1
            if not 1 <= len(runs[name]) <= 1 + causes:
                yield f"{name} ran {len(runs[name])} times for {causes} causes: {task['history']}"
