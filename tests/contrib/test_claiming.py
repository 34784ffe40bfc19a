"""
Workers of other frameworks, as the broker sees them.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from taskqueue.client.blocking import BlockingClient
from taskqueue.client.messages import Delivery, Report, Search
from taskqueue.contrib.claiming import BlockingWorker
from taskqueue.contrib.connecting import Connecting
from taskqueue.core.task import State
from taskqueue.errors import StoreUnavailable, TaskQueueError
from tests.contrib.programs import FrameworkTestCase, begin_broker
from tests.process.children import ProcessTestCase, until


def completed(delivery: Delivery, result: bytes = b"") -> Report:
    return Report(delivery.id, delivery.lease, State.COMPLETED, result)


class WorkerTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.begin()

    def begin(self) -> BlockingWorker:
        connecting = Connecting(self.address)
        self.addCleanup(connecting.close)
        worker = BlockingWorker(connecting, "test")
        self.addCleanup(worker.end)
        return worker

    def claim(self, wait_s: float = 5.0) -> Delivery:
        (delivery,) = self.worker.claim([self.name], 1, wait_s)
        return delivery

    def registered(self) -> list[dict[str, Any]]:
        return [w for w in self.client.workers() if self.name in w["queues"]]

    def test_registers_when_it_first_claims(self) -> None:
        self.assertEqual(self.registered(), [])
        self.worker.claim([self.name], 1, 0)
        (registered,) = self.registered()
        self.assertTrue(registered["id"].startswith("test-"))
        self.assertEqual(registered["pid"], os.getpid())

    def test_names_all_queues_that_it_claims_from(self) -> None:
        """So that it counts for the tasks that wait there."""
        for queue in (self.name, f"{self.name}-2", self.name):
            self.worker.claim([queue], 1, 0)
        self.assertEqual(
            [worker["queues"] for worker in self.registered()], [[self.name, f"{self.name}-2"]]
        )

    def test_ends(self) -> None:
        """Others get at once what it held, and no loss is counted."""
        self.client.submit("t", queue=self.name)
        self.claim()
        self.worker.end()
        self.assertEqual(self.registered(), [])
        self.assertEqual([(t["state"], t["losses"]) for t in self.tasks()], [("pending", 0)])

    def test_settled_twice_counts_once(self) -> None:
        self.client.submit("t", queue=self.name)
        delivery = self.claim()
        self.assertTrue(self.worker.settle(completed(delivery)))
        self.assertTrue(self.worker.settle(completed(delivery)))
        self.assertEqual(self.states(), {"completed": 1})

    def test_what_will_never_be_taken_is_raised(self) -> None:
        self.client.submit("t", queue=self.name)
        delivery = self.claim()
        huge = completed(delivery, bytes(11 * 1024 * 1024))
        self.assertRaises(TaskQueueError, self.worker.settle, huge)
        self.worker.settle(completed(delivery))

    def test_struck_out_worker_comes_back(self) -> None:
        """As one that was silent for too long."""
        self.worker.claim([self.name], 1, 0)
        self.client.deregister_worker(self.registered()[0]["id"])
        self.client.submit("t", queue=self.name)
        until("it claims again", lambda: self.worker.claim([self.name], 1, 0.1), 5)
        self.assertEqual(len(self.registered()), 1)

    def test_quiet_worker_claims_no_more(self) -> None:
        self.client.submit("t", queue=self.name, lease=1)
        delivery = self.claim()
        self.client.order_worker(self.registered()[0]["id"], "quiet")
        inner = self.worker._worker
        assert inner is not None
        with self.assertLogs("taskqueue.contrib", "WARNING") as logged:
            until("it has heard of it", lambda: inner.order)
        self.assertIn("ordered to be quiet", logged.output[0])
        self.client.submit("t", queue=self.name)
        self.assertEqual(self.worker.claim([self.name], 1, 0.05), [])
        self.worker.settle(completed(delivery))
        self.assertEqual(self.states(), {"completed": 1, "pending": 1})

    def test_short_leases_are_renewed_in_time(self) -> None:
        """One of a second, while the broker asks for a heartbeat every 15."""
        self.client.submit("t", queue=self.name, lease=1)
        delivery = self.claim()
        threading.Event().wait(2.5)
        self.assertTrue(self.worker.settle(completed(delivery)))
        self.assertEqual([task["losses"] for task in self.tasks()], [0])

    def test_taken_lease_is_told_of(self) -> None:
        self.client.submit("t", queue=self.name)
        delivery = self.claim()
        inner = self.worker._worker
        assert inner is not None
        with self.assertLogs("taskqueue.contrib", "WARNING") as logged:
            self.client.deregister_worker(inner.name)
            until("it is told", lambda: not inner.held)
        self.assertIn(f"task {delivery.id} (t) was taken from it", logged.output[0])

    def cut(self) -> None:
        """Have the connection fail."""
        client = self.worker._connecting._client
        assert client is not None and client._inner is not None
        thread, inner = client._inner

        async def abort() -> None:
            assert inner.connection is not None
            inner.connection.abort()

        thread.run(abort())

    def test_new_connection_keeps_what_it_holds(self) -> None:
        self.client.submit("t", queue=self.name)
        delivery = self.claim()
        self.cut()
        until("it is back", lambda: self.registered()[0]["connected"])
        self.assertTrue(self.worker.settle(completed(delivery)))

    def test_claimed_but_never_heard_of(self) -> None:
        """The answer to a claim went down with the connection: nobody works on those tasks."""
        self.client.submit("t", queue=self.name)
        self.claim()
        inner = self.worker._worker
        assert inner is not None
        inner.held.clear()  # as if it had not come
        self.cut()
        self.until_states(pending=1)
        self.assertEqual([task["losses"] for task in self.tasks()], [0])

    def test_said_again_where_it_cannot_be_stored_now(self) -> None:
        self.client.submit("t", queue=self.name)
        delivery = self.claim()
        inner = self.worker._worker
        assert inner is not None
        told = iter([StoreUnavailable(retry_after_s=0.01), [StoreUnavailable(retry_after_s=0.01)]])
        report = inner.calls.report

        async def refuse_twice(reports: Any) -> Any:
            answer = next(told, None)
            if isinstance(answer, Exception):
                raise answer
            return answer or await report(reports)

        self.patch(inner.calls, "report", refuse_twice)
        with self.assertLogs("taskqueue.contrib", "WARNING"):
            self.assertTrue(self.worker.settle(completed(delivery)))
        self.assertEqual(self.states(), {"completed": 1})

    def test_forked_process_is_another_worker(self) -> None:
        """It claims for itself, and its end takes nothing from its parent."""
        self.client.submit("t", queue=self.name)
        self.client.submit("t", queue=self.name)
        self.finished(
            "-c",
            "import os\n"
            "from taskqueue.client.messages import Report\n"
            "from taskqueue.contrib.claiming import BlockingWorker\n"
            "from taskqueue.contrib.connecting import Connecting\n"
            "from taskqueue.core.task import State\n"
            "queues = [os.environ['NAME']]\n"
            "worker = BlockingWorker(Connecting(os.environ['TASKQUEUE_BROKER']), 'test')\n"
            "def settle(delivery):\n"
            "    assert worker.settle(Report(delivery.id, delivery.lease, State.COMPLETED))\n"
            "(held,) = worker.claim(queues, 1, 5)\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    (own,) = worker.claim(queues, 1, 5)\n"
            "    settle(own)\n"
            "    worker.end()\n"
            "    os._exit(0)\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "settle(held)\n",
        )
        self.assertEqual(self.states(), {"completed": 2})
        self.assertEqual([task["losses"] for task in self.tasks()], [0, 0])

    def test_several_threads_share_it(self) -> None:
        for n in range(40):
            self.client.submit(f"t{n}", queue=self.name)

        def work() -> None:
            while got := self.worker.claim([self.name], 1, 0):
                self.worker.settle(completed(got[0]))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.states(), {"completed": 40})
        self.assertEqual(len(self.registered()), 1)

    def test_process_that_ends_gives_back_what_it_held(self) -> None:
        """Without having been told to."""
        self.client.submit("t", queue=self.name)
        self.finished(
            "-c",
            "import os\n"
            "from taskqueue.contrib.claiming import BlockingWorker\n"
            "from taskqueue.contrib.connecting import Connecting\n"
            "worker = BlockingWorker(Connecting(os.environ['TASKQUEUE_BROKER']), 'test')\n"
            "assert worker.claim([os.environ['NAME']], 1, 5)\n",
        )
        self.assertEqual(self.registered(), [])
        self.assertEqual([(t["state"], t["losses"]) for t in self.tasks()], [("pending", 0)])


class RestartTests(ProcessTestCase):
    """A broker that is killed, and comes back at the same place."""

    def setUp(self) -> None:
        super().setUp()
        self.broker = self.begin_broker("tcp:0:interface=127.0.0.1")
        self.port = self.broker.port()
        self.address = f"tq://127.0.0.1:{self.port}"
        self.client = BlockingClient(self.address)
        self.addCleanup(self.client.close)
        connecting = Connecting(self.address, timeout_s=1.0)
        self.addCleanup(connecting.close)
        self.worker = BlockingWorker(connecting, "test")
        self.addCleanup(self.worker.end)

    def begin_broker(self, listen: str) -> Any:
        broker = begin_broker(Path(self.folder), listen, "--set", "workers.reconnect_grace_s=20")
        self.addCleanup(broker.reap)
        return broker

    def restart(self) -> None:
        self.broker = self.begin_broker(f"tcp:{self.port}:interface=127.0.0.1")
        self.broker.port()

    def test_lease_outlives_the_broker(self) -> None:
        """What is said meanwhile is said again, until it was heard."""
        self.client.submit("t", queue="q")
        (delivery,) = self.worker.claim(["q"], 1, 5)
        self.client.submit("t", queue="other")  # with which the claim is on disk
        self.broker.end(signal.SIGKILL)
        said: list[bool] = []
        saying = threading.Thread(
            target=lambda: said.append(self.worker.settle(completed(delivery)))
        )
        with self.assertLogs("taskqueue.contrib", "WARNING"):
            saying.start()
            saying.join(1.5)  # longer than an answer may take
        self.assertEqual(said, [])
        self.restart()
        saying.join(30)
        self.assertEqual(said, [True])
        (task,) = self.client.search(Search(queue="q"))
        self.assertEqual((task["state"], task["losses"]), ("completed", 0))

    def test_given_back_when_the_broker_is_back(self) -> None:
        """A heartbeat would renew it for ever."""
        self.client.submit("t", queue="q", lease=1)
        (delivery,) = self.worker.claim(["q"], 1, 5)
        self.client.submit("t", queue="other")  # with which the claim is on disk
        self.broker.end(signal.SIGKILL)
        with self.assertLogs("taskqueue.contrib", "WARNING") as logged:
            self.worker.release([delivery.holding])
        self.assertIn("1 tasks cannot be given back yet", logged.output[-1])
        self.restart()
        search = Search(queue="q")
        until("it is given back", lambda: next(self.client.search(search))["state"] == "pending")
        self.assertEqual(next(self.client.search(search))["losses"], 0)
