"""Programs that use the client "greenstalk", against this broker."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import greenstalk

from tests.foreign.beanstalkd_place import PATIENCE_S, BeanstalkdProcessTestCase

JOBS = 300
WORKERS = 6


class GreenstalkTests(BeanstalkdProcessTestCase):
    def client(self, **options: Any) -> greenstalk.Client:
        client = greenstalk.Client(("127.0.0.1", self.port), **options)
        self.addCleanup(client.close)
        client._sock.settimeout(PATIENCE_S)
        return client

    def test_many_at_once(self) -> None:
        """Each job is done once, although every seventh fails at first, and some are buried."""
        producer = self.client(use="mail")
        sent = [f"mail {number} ä\r\n" for number in range(JOBS)]
        ids = {producer.put(text, priority=number % 5) for number, text in enumerate(sent)}
        self.assertEqual(len(ids), JOBS)
        for _ in range(WORKERS):
            producer.put("stop", priority=2**32 - 1)
        failing = {text for number, text in enumerate(sent) if number % 7 == 0}
        done: list[str] = []
        lock = threading.Lock()

        def work(client: greenstalk.Client) -> None:
            while (job := client.reserve()).body != "stop":
                with lock:
                    fails = job.body in failing
                    failing.discard(job.body)
                if fails:
                    client.release(job, priority=0)
                else:
                    client.delete(job)
                    with lock:
                        done.append(job.body)
            client.delete(job)

        clients = [self.client(watch="mail") for _ in range(WORKERS)]
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, clients))
        self.assertEqual(sorted(done), sorted(sent))
        statistics = producer.stats_tube("mail")
        self.assertEqual(statistics["current-jobs-ready"], 0)
        self.assertEqual(statistics["total-jobs"], JOBS + WORKERS)
        self.assertEqual(statistics["cmd-delete"], JOBS + WORKERS)

    def test_each_command(self) -> None:
        client = self.client(encoding=None)
        client.use("t")
        self.assertEqual(client.watch("t"), 2)
        self.assertEqual(client.ignore("default"), 1)
        self.assertRaises(greenstalk.NotIgnoredError, client.ignore, "t")
        self.assertEqual((client.using(), client.watching()), ("t", ["t"]))
        for peek in (client.peek_ready, client.peek_delayed, client.peek_buried):
            self.assertRaises(greenstalk.NotFoundError, peek)
        body = bytes(range(256))
        late, soon = client.put(b"late", priority=10), client.put(body, priority=5, ttr=7)
        delayed = client.put(b"delayed", delay=3600)
        self.assertEqual(client.peek_ready().body, body)
        self.assertEqual(client.peek_delayed().id, delayed)
        self.assertEqual(client.peek(late).body, b"late")
        job = client.reserve()
        self.assertEqual((job.id, job.body), (soon, body))
        client.touch(job)
        told = client.stats_job(job)
        wanted = {"id": soon, "tube": "t", "state": "reserved", "pri": 5, "ttr": 7, "reserves": 1}
        self.assertEqual({key: told[key] for key in wanted}, wanted)
        client.bury(job, priority=7)
        self.assertEqual(client.peek_buried().id, soon)
        client.kick_job(soon)
        self.assertEqual(client.reserve_job(delayed).body, b"delayed")
        client.release(greenstalk.Job(delayed, b""), priority=1, delay=3600)
        self.assertEqual(client.kick(10), 1)
        self.assertEqual(client.reserve(timeout=0).id, delayed)
        client.delete(delayed)
        self.assertRaises(greenstalk.NotFoundError, client.delete, delayed)
        self.assertEqual([client.reserve().id for _ in range(2)], [soon, late])
        self.assertRaises(greenstalk.TimedOutError, client.reserve, timeout=0)
        self.assertEqual(client.stats()["current-jobs-reserved"], 2)
        self.assertIn("t", client.tubes())
        self.assertRaises(greenstalk.NotFoundError, client.stats_tube, "nowhere")

    def test_limits(self) -> None:
        client = self.client()
        self.assertRaises(greenstalk.JobTooBigError, client.put, "x" * 65536)
        client.delete(client.put("x" * 65535))

    #: How much later a machine that does much else may be, seconds.
    machine_s = 0.2

    def test_times(self) -> None:
        """What waits is told when its time has come, and no later than 50 ms after that."""
        client = self.client(watch="t", use="t")

        def took(lowest: float, call: Any, *arguments: Any) -> None:
            began = time.monotonic()
            with contextlib.suppress(greenstalk.TimedOutError, greenstalk.DeadlineSoonError):
                call(*arguments)
            passed = time.monotonic() - began
            self.assertGreaterEqual(passed, lowest)
            self.assertLess(passed, lowest + 0.05 + self.machine_s)

        took(1.0, client.reserve, 1)
        client.put("delayed", delay=1)
        took(0.95, client.reserve)
        client.put("short", ttr=2)
        client.reserve()
        took(0.95, client.reserve)  # DEADLINE_SOON, in the last second
        client.pause_tube("t", 1)
        client.put("after the pause")
        took(0.95, self.client(watch="t").reserve)

    def test_jobs_outlive_a_crash(self) -> None:
        store = str(self.folder / "jobs")
        self.broker.end()
        self.begin("-b", store, "-f0")
        client = self.client()
        kept = client.put("kept", priority=3, ttr=9)
        buried = client.put("buried", priority=1)
        delayed = client.put("delayed", delay=3600)
        client.bury(client.reserve())
        self.broker.end(signal.SIGKILL)
        self.begin("-b", store, "-f0")
        client = self.client()
        self.assertEqual(client.peek_buried().id, buried)
        self.assertEqual(client.peek_delayed().id, delayed)
        job = client.reserve()
        self.assertEqual((job.id, job.body, client.stats_job(job)["pri"]), (kept, "kept", 3))
        self.assertGreater(client.put("new"), delayed)
