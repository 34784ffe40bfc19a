"""
The self-audit finds what is wrong in books, leases and store, whatever goes on
meanwhile, in small steps.
"""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from taskqueue.core.changes import Batch
from taskqueue.core.task import State
from taskqueue.core.value_desk import Put
from taskqueue.errors import InternalError, ShuttingDown, StoreUnavailable
from taskqueue.service import auditing
from taskqueue.service.auditing import LOOK_S, Auditor, Findings
from tests.service.running import QUIET, ServiceTestCase

#: How often a broker audits itself, seconds.
AUDIT_S = QUIET.broker.audit_interval_s


class AuditCase(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.auditor: Auditor = self.service.auditor
        self.patch(self.auditor, "seconds", self.seconds)
        self.ticking_s = 0.0
        self.read_s = 0.0

    def seconds(self) -> float:
        """A clock that goes on by C{ticking_s} whenever it is looked at."""
        self.read_s += self.ticking_s
        return self.read_s

    def ledger(self):
        return self.service.broker.ledger

    def audit(self) -> Findings:
        """The findings of an audit, which takes as many turns as it takes."""
        answer = self.service.auditor.audit()
        for _ in range(100):
            if answer.called:
                break
            self.turn()
        return self.successResultOf(answer)

    def one_of_each(self) -> None:
        """Tasks in all live states, and one that has ended."""
        self.complete("done")
        self.submit("running")
        self.take(holder=self.register())
        self.submit("retrying")
        self.report(self.take(), State.FAILED, error="oh")
        self.submit("ready", payload=b"123")
        self.submit("later", run_at=2e9)
        self.submit("blocked", depends_on=("later",))


class FindingTests(AuditCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[LogEvent] = []

        def observe(event: LogEvent) -> None:
            if event["log_level"] is LogLevel.error:
                self.lines.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_all_is_well(self) -> None:
        self.one_of_each()
        found = self.audit()
        self.assertEqual(found[2:], (5, 1, 1, 5, 0, []))
        self.assertEqual(found.at, self.moments().wall)
        self.assertIs(self.auditor.newest, found)
        self.assertEqual(self.auditor.audits, 1)

    def test_values(self) -> None:
        """Also where there are too many for one slice, and while they change."""
        self.service.put_values([Put("n", f"k{number}", b"12") for number in range(10)])
        self.assertEqual(self.audit().found, 0)
        self.patch(auditing, "_WHOLE", 0)
        self.patch(auditing, "STRIDE", 3)
        self.ticking_s = 1.0
        answer = self.auditor.audit()
        for number in range(20):
            self.service.put_values([Put("n", f"new{number}", b"3")])
            self.service.delete_values("n", [f"k{number}"])
            self.turn()
        self.assertEqual(self.successResultOf(answer).found, 0)
        values = self.ledger().values
        for name in ("count", "size_bytes"):
            setattr(values, name, getattr(values, name) + 1)
            [sentence] = self.audit().differences
            self.assertIn("are counted, recounted", sentence)
            setattr(values, name, getattr(values, name) - 1)

    def test_nothing_there(self) -> None:
        self.assertEqual(self.audit()[2:], (0, 0, 0, 0, 0, []))

    def test_books(self) -> None:
        self.one_of_each()
        self.ledger().depth += 1
        found = self.audit()
        self.assertIn("depth", found.differences[0])
        self.assertEqual(found.found, len(found.differences))
        [line] = self.lines
        self.assertEqual(line["found"], found.found)
        self.assertIn(found.differences[0], line["differences"])
        self.ledger().depth -= 1
        self.assertEqual(self.audit().found, 0)
        self.assertEqual(len(self.lines), 1)

    def test_leases(self) -> None:
        self.one_of_each()
        worker = self.ledger().workers.get("w")
        [(token, lease)] = worker.leases.items()
        del worker.leases[token]
        self.assertIn("unknown to its holder w", self.audit().differences[0])
        worker.leases[token] = lease
        worker.leases[77] = lease
        self.assertIn("worker w counts on token 77", self.audit().differences[0])
        del worker.leases[77]

    def test_the_store_lacks_a_task(self) -> None:
        self.one_of_each()
        ready = self.ledger().tasks["ready"]
        self.store.inner._kept.remove([ready.seq])
        [why] = self.audit().differences
        self.assertEqual(why, "<Task ready default/job pending> is not live in the store")

    def test_the_store_has_a_task_too_many(self) -> None:
        self.one_of_each()
        [row] = self.store.inner.records(["done"])
        self.store.inner._kept.insert([row._replace(state=int(State.PENDING))])
        [why] = self.audit().differences
        self.assertEqual(why, "task done is pending in the store, and not live in memory")

    def test_the_store_says_something_else(self) -> None:
        self.one_of_each()
        [row] = self.store.inner.records(["running"])
        self.store.inner._kept.insert([row._replace(state=int(State.PENDING))])
        [why] = self.audit().differences
        self.assertEqual(why, "task running: state is pending in the store, in_progress in memory")

    def test_small_books_are_looked_at_whole(self) -> None:
        self.one_of_each()
        queue = self.ledger().queues["default"]
        heads, queue._heads = queue._heads, []
        self.assertIn("not among the lanes", self.audit().differences[0])
        queue._heads = heads

    def test_many_differences(self) -> None:
        for number in range(150):
            self.submit(f"t{number}")
        for task in self.ledger().tasks.values():
            self.store.inner._kept.remove([task.seq])
        found = self.audit()
        self.assertEqual((found.found, len(found.differences)), (150, auditing.MOST_NAMED))


class MeanwhileTests(AuditCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(auditing, "STRIDE", 1)
        self.patch(auditing, "PAGE", 2)
        self.patch(auditing, "_WHOLE", -1)
        self.ticking_s = auditing.SLICE_S

    def test_a_rest_after_each_slice(self) -> None:
        for number in range(20):
            self.submit(f"t{number}")
        answer = self.auditor.audit()
        turns = 0
        while not answer.called:
            turns += 1
            self.turn(auditing.SHORT_REST_S)
        self.assertGreater(turns, 20 + 20 // 2)
        self.assertEqual(self.successResultOf(answer).found, 0)

    def test_longer_rests_where_nobody_waits(self) -> None:
        self.submit()
        answer = self.auditor.audit(hurried=False)
        self.turn(auditing.SHORT_REST_S)
        self.assertFalse(answer.called)
        while not answer.called:
            self.turn(auditing.REST_S)

    def test_work_goes_on(self) -> None:
        """Each kind of command, in the middle; what the audit saw before is old then."""
        for number in range(30):
            self.submit(f"t{number}")
        answer = self.auditor.audit()
        number = 0
        while not answer.called:
            number += 1
            self.turn(auditing.SHORT_REST_S)
            self.submitting(f"new{number}", payload=b"x" * number)
            if number % 2:
                delivery = self.take()
                self.reporting(delivery, State.COMPLETED if number % 4 == 1 else State.FAILED)
            if number % 5 == 0:
                self.service.cancel([f"new{number}"])
        found = self.successResultOf(answer)
        self.assertEqual(found.differences, [])
        self.assertGreater(number, 30)

    def test_what_waits_to_be_stored_is_waited_for(self) -> None:
        self.submit("a")
        self.submitting("b")
        answer = self.auditor.audit()
        self.assertTrue(self.ledger().changes)
        for _ in range(50):
            self.turn(auditing.SHORT_REST_S)
        self.assertEqual(self.successResultOf(answer).differences, [])

    def test_whoever_asks_meanwhile_gets_the_same(self) -> None:
        self.submit("a")
        first, second = self.auditor.audit(), self.auditor.audit()
        for _ in range(50):
            self.turn(auditing.SHORT_REST_S)
        self.assertIs(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(self.auditor.audits, 1)

    def test_the_broker_stops(self) -> None:
        self.submit("a")
        answer = self.auditor.audit()
        self.stop()
        self.failureResultOf(answer, ShuttingDown)
        self.assertIsNone(self.service.journal.drained)
        self.failureResultOf(self.auditor.audit(), ShuttingDown)

    def test_a_bug_in_the_audit_costs_no_commit(self) -> None:
        self.submit("a")
        answer = self.auditor.audit()

        def drained(self, batch: Batch) -> None:
            raise ZeroDivisionError("a bug")

        self.patch(auditing._Audit, "drained", drained)
        self.submit("b")
        for _ in range(50):
            self.turn(auditing.SHORT_REST_S)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.failureResultOf(answer, InternalError)
        self.assertEqual(self.state("b"), State.PENDING)
        self.assertIsNone(self.service.journal.drained)


class DueTests(AuditCase):
    def test_again_and_again(self) -> None:
        self.submit("a")
        self.clock.advance(AUDIT_S)
        self.turn()
        self.assertEqual((self.auditor.audits, self.auditor.newest.tasks), (1, 1))
        self.clock.advance(AUDIT_S)
        self.turn()
        self.assertEqual(self.auditor.audits, 2)

    def test_as_often_as_configured(self) -> None:
        self.service.reconfigure(self.adapt("broker", audit_interval_s=60.0))
        self.clock.pump([LOOK_S] * 36)
        self.assertEqual(self.auditor.audits, 3)
        self.service.reconfigure(self.adapt("broker", audit_interval_s=0.0))
        self.clock.pump([LOOK_S] * 36)
        self.assertEqual(self.auditor.audits, 3)

    def test_one_that_was_asked_for_counts(self) -> None:
        self.clock.pump([LOOK_S] * 100)
        self.audit()
        self.clock.pump([LOOK_S] * 100)
        self.assertEqual(self.auditor.audits, 1)
        self.clock.pump([LOOK_S] * 81)
        self.assertEqual(self.auditor.audits, 2)

    def test_not_while_the_store_fails(self) -> None:
        self.store.fail("commit")
        self.submitting("a").addErrback(lambda failure: None)
        self.turn()
        self.clock.advance(AUDIT_S)
        self.turn()
        self.assertEqual((self.auditor.audits, self.auditor.failures), (0, 0))
        self.failureResultOf(self.auditor.audit(), StoreUnavailable)
        self.store.work()
        self.turn(10)

    def test_a_bug_is_a_failure_of_the_timer(self) -> None:
        def run(self):
            raise ZeroDivisionError("a bug")

        self.patch(auditing._Audit, "run", run)
        self.clock.advance(AUDIT_S)
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.auditor.failing)

    def test_stopped_in_the_middle(self) -> None:
        """The timer was told to: that is no failure of it."""
        self.ticking_s = auditing.SLICE_S
        self.submit("a")
        self.clock.advance(AUDIT_S)
        self.assertEqual(self.auditor.audits, 0)
        self.stop()
        self.assertEqual(self.auditor.failures, 0)


class RelaxedTests(AuditCase):
    config = AuditCase.config

    def setUp(self) -> None:
        self.config = self.adapt("store", durability="interval")
        super().setUp()

    def test_what_is_not_stored_yet_is_stored_first(self) -> None:
        self.submit("a")
        self.assertEqual(self.audit()[5:], (1, 0, []))
