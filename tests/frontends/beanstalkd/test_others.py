"""
Jobs are tasks: what a restart leaves of them, who else sees and takes them, and who may do what.
"""

from __future__ import annotations

from dataclasses import replace

from taskqueue.access.keyring import Keyring
from taskqueue.config import QueueConfig
from taskqueue.config.sections import BeanstalkdConfig
from taskqueue.core.task import State
from taskqueue.frontends.admission import Admission
from taskqueue.ids import numbered_id
from taskqueue.store import make_store
from tests.access.entries import a_key
from tests.frontends.beanstalkd.talking import BeanstalkdTestCase
from tests.service.running import ObedientStore


class RestartTests(BeanstalkdTestCase):
    def test_everything_is_as_it_was(self) -> None:
        """Numbers, priorities, delays, bodies, and the order in which jobs were buried."""
        client = self.connect(b"use a", b"watch a")
        for body, pri, delay in ((b"one", 5, 0), (b"two", 2000, 0), (b"three", 0, 500)):
            self.put(client, body, pri=pri, delay=delay, ttr=77)
        for body in (b"four", b"five", b"six"):
            self.put(client, body)
        for number in (6, 4, 5):
            self.ask(client, b"reserve-job %d" % number, b"bury %d 9" % number)
        self.ask(client, b"reserve-job 1", b"release 1 3000 0")
        self.restart()
        client = self.connect(b"use a", b"watch a")
        self.assertSays(client, b"peek-ready", b"FOUND 2 3\r\ntwo")
        self.assertSays(client, b"peek-delayed", b"FOUND 3 5\r\nthree")
        self.assertSays(client, b"peek-buried", b"FOUND 6 3\r\nsix")
        heard = self.ask(client, b"stats-job 1")
        self.assertIn(b"\nstate: ready\npri: 3000\n", heard)
        self.assertIn(b"\nttr: 77\n", heard)
        self.assertIn(b"\nreserves: 1\ntimeouts: 0\nreleases: 1\n", heard)
        self.assertIn(b"\nburies: 1\n", self.ask(client, b"stats-job 4"))
        self.assertSays(client, b"kick 2", b"KICKED 2")
        self.assertSays(client, b"peek-buried", b"FOUND 5 4\r\nfive")
        said = [b"reserve-with-timeout 0"] * 5
        self.assertEqual(
            self.ask(client, *said),
            b"RESERVED 4 4\r\nfour\r\nRESERVED 6 3\r\nsix\r\nRESERVED 2 3\r\ntwo\r\n"
            b"RESERVED 1 3\r\none\r\nTIMED_OUT\r\n",
        )
        self.assertEqual(self.put(client), 7)

    def test_what_was_reserved_is_ready_again(self) -> None:
        """Whoever had reserved it is gone with its connection, however the broker ended."""
        client = self.connect()
        self.put(client, ttr=1000)
        self.submit("native", queue="native")
        self.take(queues=("native",), lease_s=1000.0)
        self.ask(client, b"reserve")
        self.crash()
        client.connection.session.open = False
        self.clients.clear()
        self.admission = Admission()
        self.open_door()
        client = self.connect(b"watch native")
        said = [b"reserve-with-timeout 0"] * 2
        self.assertEqual(self.ask(client, *said), b"RESERVED 1 1\r\nx\r\nTIMED_OUT\r\n")
        heard = self.ask(client, b"stats-job 1")
        self.assertIn(b"\nreserves: 2\ntimeouts: 0\n", heard)
        self.service.holders_gone("claimer")

    def test_while_it_stops(self) -> None:
        """Whoever waits is told that there is nothing; what was said is stored first."""
        waiting, client = self.connect(b"reserve"), self.connect()
        self.writer.holding = True
        client.say(b"use a\r\nput 0 0 60 1\r\nx\r\n")
        stopped = self.service.stopService()
        self.turns()
        self.assertEqual(waiting.hear(), b"TIMED_OUT\r\n")
        self.assertSays(waiting, b"reserve", b"TIMED_OUT")
        self.assertSays(waiting, b"put 0 0 60 1\r\ny", b"DRAINING")
        self.assertEqual(client.hear(), b"")
        self.writer.let_go()
        self.turns()
        self.assertEqual(client.hear(), b"USING a\r\nINSERTED 1\r\n")
        self.let_all_go()
        self.turns()
        self.successResultOf(stopped)

    def test_nobody_keeps_it_from_stopping(self) -> None:
        """Whoever waits or is silent hears the end at once; it need not be answered."""
        silent, waiting = self.connect(b"list-tube-used"), self.connect(b"reserve")
        stopped = self.service.stopService()
        self.turns()
        self.assertEqual(waiting.hear(), b"TIMED_OUT\r\n")
        for client in (silent, waiting):
            self.assertTrue(client.wire.disconnecting)
            self.assertFalse(client.wire.half_closed)
        self.let_all_go()
        self.turns()
        self.successResultOf(stopped)


class OnDiskTests(RestartTests):
    """The same with a store on the disk."""

    def make_store(self) -> ObedientStore:
        return ObedientStore(make_store("sqlite", self.mktemp(), "fsync", "none"))


class TaskTests(BeanstalkdTestCase):
    def test_a_job_for_a_native_worker(self) -> None:
        client = self.connect()
        number = self.put(client, b"hello", pri=3)
        delivery = self.take(types=("beanstalkd",))
        self.assertEqual(
            (delivery.id, delivery.payload, delivery.priority), (numbered_id(number), b"hello", 252)
        )
        self.assertSays(client, b"delete %d" % number, b"NOT_FOUND")
        self.assertEqual(self.report(delivery, result=b"done"), State.COMPLETED)
        self.assertSays(client, b"peek %d" % number, b"NOT_FOUND")

    def test_a_native_worker_may_fail_as_often_as_it_does(self) -> None:
        client = self.connect()
        self.put(client)
        for failure in range(1, 8):
            delivery = self.take(types=("beanstalkd",))
            self.assertEqual(delivery.failures, failure - 1)
            self.assertIs(self.report(delivery, State.FAILED, error="no"), State.FAILED)
            self.assertIn(b"\nstate: delayed\n", self.ask(client, b"stats-job 1"))
            self.assertSays(client, b"kick-job 1", b"KICKED")

    def test_a_task_for_a_client(self) -> None:
        """It has a number here; what becomes of it is its result there."""
        client, other = self.connect(), self.connect()
        first = self.submit(payload=b"abc", priority=200)
        second = self.submit(payload=b"de", priority=100)
        self.assertSays(client, b"reserve", b"RESERVED 1 3\r\nabc")
        for said in (b"delete 1", b"release 1 0 0", b"touch 1"):
            self.assertSays(other, said, b"NOT_FOUND")
        self.assertIn(b"\npri: 55\n", self.ask(other, b"stats-job 1"))
        self.assertSays(client, b"touch 1", b"TOUCHED")
        self.assertSays(client, b"delete 1", b"DELETED")
        self.assertIs(self.state(first), State.COMPLETED)
        self.assertSays(other, b"peek 2", b"FOUND 2 2\r\nde")
        self.assertSays(other, b"reserve-job 2", b"RESERVED 2 2\r\nde")
        self.assertSays(other, b"bury 2 7", b"BURIED")
        self.assertIs(self.state(second), State.DEAD_LETTER)
        self.assertSays(other, b"kick-job 2", b"KICKED")
        self.assertSays(other, b"delete 2", b"DELETED")
        self.assertIs(self.state(second), State.CANCELLED)

    def test_a_buried_job_that_is_kicked_has_no_error(self) -> None:
        client = self.connect()
        number = self.put(client)
        self.ask(client, b"reserve", b"bury 1 0")
        [ended] = self.service.broker.ledger.ended.values()
        self.assertEqual(ended.error, "buried by its holder")
        self.assertSays(client, b"kick-job %d" % number, b"KICKED")
        [task] = self.service.broker.ledger.tasks.values()
        self.assertIs(task.error, None)

    def test_a_task_that_waits_for_another_is_delayed(self) -> None:
        client = self.connect()
        self.submit("a")
        self.submit("b", depends_on=("a",))
        self.assertIn(b"\nstate: delayed\n", self.ask(client, b"stats-job 2"))
        for said in (b"kick-job 2", b"reserve-job 2"):
            self.assertSays(client, said, b"NOT_FOUND")

    def test_a_tube_with_limits_of_its_own(self) -> None:
        """Where the configuration of its queue sets one, a job is lost so often at most."""
        queues = {"frail": QueueConfig(max_lost=1)}
        self.restart(replace(self.config, queues=queues))
        client = self.connect(b"use frail", b"watch frail")
        self.put(client, ttr=1)
        for _ in range(2):
            self.assertSays(client, b"reserve-with-timeout 0", b"RESERVED 1 1\r\nx")
            self.pass_time(1.25)
        self.assertSays(client, b"reserve-with-timeout 0", b"TIMED_OUT")
        self.assertIn(b"\nstate: buried\n", self.ask(client, b"stats-job 1"))


class PermissionTests(BeanstalkdTestCase):
    """Whoever comes in here may do what the key of the door may do."""

    config = replace(BeanstalkdTestCase.config, beanstalkd=BeanstalkdConfig(key="door"))

    def allow(self, *permissions: str) -> None:
        self.service.gate.adopt(Keyring(keys=(a_key("door", *permissions)[0],)))

    def test_nobody_comes_in_without_a_key(self) -> None:
        self.service.gate.adopt(Keyring(keys=(a_key("other", "admin")[0],)))
        client = self.connect(b"stats")
        self.assertEqual(client.hear(), b"")
        self.assertTrue(client.wire.half_closed)

    def test_who_may_put_only(self) -> None:
        self.allow("submit:mail")
        client = self.connect(b"use mail")
        self.assertEqual(self.put(client), 1)
        self.assertSays(client, b"delete 1", b"NOT_FOUND")
        self.assertSays(client, b"peek 1", b"NOT_FOUND")
        self.assertSays(client, b"stats-job 1", b"NOT_FOUND")
        self.assertSays(client, b"peek-ready", b"NOT_FOUND")
        self.assertSays(client, b"stats-tube mail", b"NOT_FOUND")
        self.assertSays(client, b"reserve-job 1", b"NOT_FOUND")
        for said in (b"stats", b"kick 1", b"reserve-with-timeout 0"):
            self.assertSays(client, said, b"INTERNAL_ERROR")
        self.assertEqual(
            self.ask(client, b"use other", b"put 0 0 1 1", b"x"),
            b"USING other\r\nINTERNAL_ERROR\r\n",
        )

    def test_who_may_work_in_one_tube(self) -> None:
        """Of tubes that are not allowed there is nothing to be had, and nothing to be seen."""
        self.submit("1", queue="secret")
        self.submit("2", queue="mail")
        self.allow("claim:mail", "read:mail")
        client = self.connect(b"watch mail", b"watch secret")
        said = (b"reserve-with-timeout 0",) * 2
        self.assertEqual(self.ask(client, *said), b"RESERVED 2 0\r\n\r\nTIMED_OUT\r\n")
        self.assertSays(client, b"peek 1", b"NOT_FOUND")
        self.assertSays(client, b"pause-tube mail 5", b"INTERNAL_ERROR")
        self.assertSays(client, b"delete 2", b"DELETED")
        self.assertSays(client, b"ignore secret", b"WATCHING 2")
        self.assertEqual(self.ask(client, b"list-tubes"), b"OK 21\r\n---\n- default\n- mail\n\r\n")

    def test_a_permission_that_is_taken_away(self) -> None:
        """Whoever waits for a job is told that there is none, and gets none from there."""
        self.allow("claim:mail")
        client = self.connect(b"watch mail", b"reserve")
        self.allow("claim:default")
        self.turns()
        self.assertEqual(client.hear(), b"TIMED_OUT\r\n")
        self.submit(queue="mail")
        self.assertSays(client, b"reserve-with-timeout 0", b"TIMED_OUT")

    def test_what_is_done_by_hand_is_audited(self) -> None:
        told: list[str] = []
        record = self.service.gate.audit.record
        self.service.gate.audit.record = lambda who, operation, **more: (
            told.append(f"{operation}: {more['what']} ({more['count']})"),
            record(who, operation, **more),
        )
        client = self.connect()
        self.put(client)
        self.put(client)
        self.ask(client, b"reserve", b"delete 1", b"delete 2", b"kick 3", b"pause-tube default 9")
        self.assertEqual(
            told,
            [
                f"cancel_task: tasks {numbered_id(2)} (1)",
                "retry_task: queue default; limit 3 (0)",
                "pause_queue: queue default; for_s 9 (None)",
            ],
        )

    def test_what_is_not_allowed_is_audited(self) -> None:
        told: list[str] = []
        self.allow("read:*")
        self.service.gate.audit.record = lambda who, operation, **more: told.append(
            f"{operation}: {more['what']}: {more['outcome']}"
        )
        client = self.connect()
        self.ask(client, b"kick 3", b"pause-tube default 9")
        self.assertEqual(
            told,
            ["retry_task: queue default: FORBIDDEN", "pause_queue: queue default: FORBIDDEN"],
        )
