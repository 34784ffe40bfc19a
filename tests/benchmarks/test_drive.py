import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.brokers import BrokerProcess

ROOT = Path(__file__).resolve().parent.parent.parent


def drive(broker, load, **options):
    told = {"peer": "taskqueue", "load": load, "port": broker.port, "pid": broker.usage.pid}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.drive", json.dumps({**told, **options})],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class DriveTests(SynchronousTestCase):
    """The load generator against a broker."""

    def measured(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        numbers = json.loads(done.stdout)
        self.assertGreater(numbers["server_us"], 0)
        self.assertGreater(numbers["generator_cores"], 0)
        return numbers

    def test_every_load(self):
        with BrokerProcess("none") as broker:
            how = {"seconds": 0.3, "warm_up_s": 0.1}
            numbers = self.measured(drive(broker, "closed", batch=20, window=2, backlog=500, **how))
            self.assertGreater(numbers["tasks_per_s"], 0)
            numbers = self.measured(drive(broker, "one", **how))
            self.assertGreater(numbers["cycle_p99_us"], numbers["cycle_p50_us"])
            numbers = self.measured(drive(broker, "open", rate=200, seconds=0.3))
            self.assertGreater(numbers["claimed_p50_ms"], 0)
            self.assertGreaterEqual(numbers["ack_p999_ms"], numbers["ack_p50_ms"])

    def test_what_the_broker_refuses_ends_the_race(self):
        with BrokerProcess("none", "broker.queue_depth_threshold=10") as broker:
            done = drive(
                broker, "closed", batch=20, window=2, backlog=500, seconds=0.3, warm_up_s=0.1
            )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("QUEUE_FULL", done.stderr)
