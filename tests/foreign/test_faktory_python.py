"""
pyfaktory, unchanged, doing real work: its producer and its consumer.
"""

from __future__ import annotations

import sys

from pyfaktory import Client, Job, Producer
from pyfaktory.models import Cmd, MutateOperation, Target

from taskqueue.client.messages import Search
from tests.foreign.faktory_place import FaktoryProcessTestCase
from tests.process.children import until
from tests.process.programs import Program

#: A consumer: what it does it writes down.
CONSUMER = """
import logging, os
from pyfaktory import Client, Consumer

logging.basicConfig(level=logging.INFO)
DONE = os.environ["DONE"]

def note(word, what):
    with open(DONE, "a") as file:
        file.write(f"{word} {what}\\n")

def work(number):
    note("work", number)

def flaky(number):
    tried = f"{DONE}-{number}"
    if not os.path.exists(tried):
        open(tried, "w").close()
        raise ValueError(f"number {number}\\nis not ready")
    note("flaky", number)

def boom(number):
    note("boom", number)
    raise RuntimeError("always")

if __name__ == "__main__":
    client = Client(role="both", worker_id="python-worker-1", beat_period=1)
    with client:
        consumer = Consumer(client=client, queues=["high", "default"], priority="strict",
                            concurrency=3, grace_period=5)
        for handler in (work, flaky, boom):
            consumer.register(handler.__name__, handler)
        consumer.run()
"""


class PythonTests(FaktoryProcessTestCase):
    password = "s3cret-of-the-door"

    def producer(self) -> Producer:
        client = Client(faktory_url=self.url, role="producer")
        client.connect()
        self.addCleanup(client.disconnect)
        return Producer(client)

    def consumer(self) -> Program:
        (self.folder / "consumer.py").write_text(CONSUMER)
        return self.program(sys.executable, "consumer.py")

    def test_a_few_hundred_jobs(self) -> None:
        producer, native = self.producer(), self.native()
        jobs = [Job(jobtype="work", args=[n]) for n in range(300)]
        jobs += [Job(jobtype="flaky", args=[n], retry=3) for n in range(5)]
        jobs += [Job(jobtype="boom", args=[n], retry=-1, queue="high") for n in range(4)]
        jobs += [Job(jobtype="boom", args=[n], retry=0, queue="high") for n in range(4, 6)]
        self.assertEqual(producer.push_bulk(jobs), {})
        self.assertTrue(producer.push(Job(jobtype="work", args=[300])))
        consumer = self.consumer()
        self.wait_for("work", 301, consumer)
        self.assertEqual(sorted(map(int, self.did("work"))), list(range(301)))
        self.assertEqual(sorted(self.did("boom")), ["0", "1", "2", "3", "4", "5"])
        self.wait_for_states(native, failed=5, dead_letter=4, pending=0, in_progress=0)
        requeue = MutateOperation(cmd=Cmd.requeue, target=Target.retries)
        self.assertTrue(producer.client.mutate(requeue))
        self.wait_for("flaky", 5, consumer)
        self.wait_for_states(native, failed=0, completed=306, in_progress=0)
        info = producer.client.info()
        self.assertEqual(info["faktory"]["sets"]["dead"], 4)
        self.assertEqual(info["faktory"]["total_failures"], 11)
        dead = native.list_tasks(Search(states=["dead_letter"])).tasks
        self.assertEqual({task["error"].splitlines()[0] for task in dead}, {"RuntimeError: always"})
        self.assertIn("in task_done", dead[0]["error"])

    def test_it_is_told_to_be_quiet_and_to_end(self) -> None:
        producer, native, consumer = self.producer(), self.native(), self.consumer()

        def there() -> bool:
            return [worker["id"] for worker in native.workers()] == ["python-worker-1"]

        until("the worker is registered", there)
        native.order_worker("python-worker-1", "quiet")
        until("it is quiet", lambda: "State.QUIET" in consumer.log)
        producer.push(Job(jobtype="work", args=[1]))
        native.order_worker("python-worker-1", "terminate")
        consumer.wait()
        self.assertEqual(self.did("work"), [])
        self.wait_for_states(native, pending=1)
