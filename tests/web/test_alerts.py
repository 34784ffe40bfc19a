"""
The alerts of C{etc/prometheus-alerts.yml}: their expressions are about metrics that
there are; a broker in the state that they are about crosses their thresholds, and one
that is well does not; what Prometheus makes of them, promtool tests where it is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taskqueue.config import ListenConfig
from taskqueue.core.counters import BUCKETS_S
from taskqueue.core.delivery import Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.leases import Holder
from taskqueue.core.periodic import Periodic
from taskqueue.core.task import State, TaskOptions
from taskqueue.core.workers import Registration
from taskqueue.errors import StoreFailed, StoreUnavailable
from taskqueue.frontends.doorways import Doorways
from taskqueue.store import Backlog
from taskqueue.web.metrics import BrokerCollector, make_registry
from taskqueue.wire import MessageType
from tests.operations.world import World
from tests.web.expressions import comparisons, holds, known_metrics, unknown
from tests.web.scene import full_scene

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "etc" / "prometheus-alerts.yml"
RULE_TESTS = ROOT / "etc" / "prometheus-alerts-test.yml"

ONCE = TaskOptions(max_retries=0)


def alerts() -> dict[str, dict[str, Any]]:
    """The rules by name."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    found = {rule["alert"]: rule for rule in rules}
    assert len(found) == len(rules)
    return found


class Scraped:
    """The broker's numbers at a moment."""

    def __init__(self, world: World) -> None:
        self.at = world.clock.seconds()
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in BrokerCollector(world.service).collect():
            for sample in family.samples:
                self.values[sample.name, frozenset(sample.labels.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels; 0 without one."""
        wanted = labels.items()
        return sum(
            value
            for (own, found), value in self.values.items()
            if own == f"taskqueue_{name}" and wanted <= set(found)
        )


#: What the comparisons of an expression compare, in order, of what was scraped before
#: and after something happened.
Values = Callable[[Scraped, Scraped], list[float]]


class RuleTests(SynchronousTestCase):
    def test_expressions_are_about_what_there_is(self) -> None:
        world = full_scene()
        # States that only some tasks get into.
        known = known_metrics(make_registry(world.service))
        known["taskqueue_periodic_last_outcome"]["state"] |= known["taskqueue_tasks"]["state"]
        problems = [
            f"{name}: {problem}"
            for name, rule in alerts().items()
            for problem in unknown(rule["expr"], known)
        ]
        self.assertEqual(problems, [])

    def test_an_expression_that_is_not_is_seen(self) -> None:
        known = known_metrics(make_registry(full_scene().service))
        for expression, words in (
            ("taskqueue_nothing > 0", "no metric taskqueue_nothing"),
            ('taskqueue_leases{queue="q"} > 0', "no label queue"),
            ('taskqueue_tasks{state="waiting"} > 0', "no state 'waiting'"),
            ("sum by (tier) (taskqueue_tasks) > 0", "nothing has the label tier"),
        ):
            self.assertIn(words, " ".join(unknown(expression, known)), expression)

    def test_every_alert_says_what_and_how_bad(self) -> None:
        for name, rule in alerts().items():
            self.assertRegex(name, r"^Taskqueue[A-Z]\w+$")
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
            grouped = re.match(r"sum by \(([^)]*)\)", rule["expr"])
            if grouped:
                self.assertLessEqual(labels, {each.strip() for each in grouped[1].split(",")}, name)

    def test_promtool(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed")
        for kind, path in (("check", RULES), ("test", RULE_TESTS)):
            found = subprocess.run(
                [promtool, kind, "rules", str(path)], capture_output=True, check=False, text=True
            )
            self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_every_alert_has_rule_tests(self) -> None:
        """One in which it fires, and one in which all is well."""
        tests = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
        quiet = {
            case["alertname"]
            for test in tests
            if test["name"] == "all is well"
            for case in test["alert_rule_test"]
        }
        firing = {
            case["alertname"]
            for test in tests
            for case in test["alert_rule_test"]
            if case.get("exp_alerts")
        }
        self.assertEqual(quiet, set(alerts()))
        self.assertEqual(firing, set(alerts()))

    def test_sync_time_is_a_bound_of_a_bucket(self) -> None:
        """Otherwise the quantile is a guess between two of them."""
        [(_, bound)] = comparisons(alerts()["TaskqueueSyncSlow"]["expr"])
        self.assertIn(bound, BUCKETS_S)


class StateTests(SynchronousTestCase):
    """A broker is brought into the state that an alert is about."""

    def setUp(self) -> None:
        self.world = World()
        self.service = self.world.service
        self.holder = Holder("someone")

    # --- shorthands -----------------------------------------------------------------

    def submit(self, count: int = 1, kind: str = "job", **fields: Any) -> None:
        answer = self.service.submit([Submission(kind, **fields) for _ in range(count)])
        answer.addErrback(lambda failure: failure.trap(StoreUnavailable))
        self.world.settle()

    def claim(self, count: int = 1, **fields: Any) -> list[Any]:
        answer = self.service.claim(self.holder, ["default"], limit=count, **fields)
        self.world.settle()
        found: list[Any] = self.successResultOf(answer)
        return found

    def report(self, status: State, **fields: Any) -> None:
        for delivery in self.claim(100):
            self.service.report([Outcome(delivery.id, delivery.lease, status, **fields)])
        self.world.settle()

    def set_broker(self, **values: Any) -> None:
        config = self.service.config
        self.service.reconfigure(replace(config, broker=replace(config.broker, **values)))

    def break_store(self) -> None:
        def commit(batch: Any) -> None:
            raise StoreFailed("no space left on device")

        self.service.store.commit = commit

    def beat(self, seconds: int) -> None:
        """A worker lives on and does nothing."""
        self.service.register(Registration("w", 1))
        for _ in range(seconds // 5):
            self.world.pass_time(5)
            self.service.heartbeat(Registration("w", 1))

    def check(self, name: str, values: Values, happen: Callable[[], object]) -> None:
        """Before C{happen}, the alert's expression is false of C{values}; after it, true."""
        expression: str = alerts()[name]["expr"]
        wanted, _, unless = expression.partition(" unless ")
        first = Scraped(self.world)
        self.world.pass_time(5)
        before = Scraped(self.world)
        happen()
        after = Scraped(self.world)
        for old, new, true in ((first, before, False), (before, after, True)):
            found = values(old, new)
            compared = comparisons(wanted)
            self.assertEqual(len(found), len(compared), name)
            held = all(holds(one, value) for one, value in zip(compared, found, strict=True))
            self.assertIs(held, true, f"{name}: {found}")
        if unless:
            self.assertEqual(comparisons(unless), [("==", 1.0)])
            self.assertEqual(after("queue_paused", queue="default"), 0)
            self.service.pause("default")
            self.assertEqual(Scraped(self.world)("queue_paused", queue="default"), 1)

    # --- the broker -----------------------------------------------------------------

    def test_store_fails(self) -> None:
        def happen() -> None:
            self.break_store()
            self.submit()

        self.check("TaskqueueStoreFails", lambda _, new: [new("store_up")], happen)

    def test_sync_slow(self) -> None:
        commit = self.service.store.commit

        def slowly(batch: Any) -> None:
            self.world.clock.rightNow += 0.3
            commit(batch)

        def happen() -> None:
            self.service.store.commit = slowly
            self.submit()

        def values(old: Scraped, new: Scraped) -> list[float]:
            """As the quantile has it: where more than one in a hundred is above, it is."""
            [(_, bound)] = comparisons(alerts()["TaskqueueSyncSlow"]["expr"])
            below = [s("commit_seconds_bucket", le=str(bound)) for s in (old, new)]
            counts = [s("commit_seconds_count") for s in (old, new)]
            slow = counts[1] - counts[0] - (below[1] - below[0])
            return [bound + 1 if slow > 0.01 * (counts[1] - counts[0]) else 0.0]

        self.check("TaskqueueSyncSlow", values, happen)

    def test_store_behind(self) -> None:
        def happen() -> None:
            self.service.store.backlog = lambda: Backlog(age_s=31.0)

        self.check("TaskqueueStoreBehind", lambda _, new: [new("store_behind_seconds")], happen)

    def test_event_loop_late(self) -> None:
        self.check(
            "TaskqueueEventLoopLate",
            self.gauge("event_loop_lateness_seconds"),
            lambda: self.world.clock.advance(1.1),
        )

    def test_timer_fails(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError("a bug")

        def happen() -> None:
            timer = next(t for t in self.service.timers if t.name == "sampling")
            timer._function = fail
            self.world.pass_time(5)
            self.flushLoggedErrors(ZeroDivisionError)

        self.check("TaskqueueTimerFails", self.growth("timer_failures_total"), happen)

    def growth(self, name: str, **labels: str) -> Values:
        return lambda old, new: [new(name, **labels) - old(name, **labels)]

    def gauge(self, name: str, **labels: str) -> Values:
        return lambda _, new: [new(name, **labels)]

    def share(self, name: str, limit: str, **labels: str) -> Values:
        return lambda _, new: [new(name, **labels) / new(limit)]

    def audit(self) -> None:
        self.service.auditor.audit()
        for _ in range(50):
            self.world.settle()

    def test_audit_difference(self) -> None:
        def happen() -> None:
            self.world.ledger.depth += 1
            self.audit()

        self.audit()
        self.check("TaskqueueAuditDifference", self.gauge("audit_differences"), happen)

    def test_connections_near_the_limit(self) -> None:
        config = self.service.config
        limits = replace(config.limits, max_connections=20)
        self.service.reconfigure(replace(config, limits=limits))
        for _ in range(18):
            self.world.meet()
        self.service.traffic.open["http"] = 19
        self.check(
            "TaskqueueConnectionsNearLimit",
            lambda _, new: [
                (new("connections", frontend="framed") + new("connections", frontend="lines"))
                / new("connections_limit")
            ],
            lambda: self.world.meet("lines"),
        )

    def test_certificate_ends(self) -> None:
        doorways = Doorways(self.service)
        doorways.setServiceParent(self.service)
        identity = doorways.make("tls:port=1", ListenConfig()).identity
        assert identity is not None
        fortnight = 14 * 86400.0
        identity.expires_at = self.service.moments().wall + fortnight + 30

        self.check(
            "TaskqueueCertificateEnds",
            lambda _, new: [
                new("tls_certificate_expires_timestamp_seconds", endpoint="tls:port=1") - new.at
            ],
            lambda: self.world.pass_time(60),
        )

    def test_nearly_full(self) -> None:
        self.set_broker(queue_depth_threshold=10)
        self.submit(8)
        self.check(
            "TaskqueueNearlyFull",
            self.share("waiting_tasks", "waiting_tasks_limit"),
            lambda: self.submit(priority=255),
        )

    def test_memory_nearly_full(self) -> None:
        self.set_broker(max_held_bytes=1000)
        self.submit(payload=b"x" * 800)
        self.check(
            "TaskqueueMemoryNearlyFull",
            self.share("held_payload_bytes", "held_payload_limit_bytes"),
            lambda: self.submit(payload=b"x"),
        )

    def test_refuses_tasks(self) -> None:
        self.set_broker(queue_depth_threshold=1)
        peer = self.world.connect()
        task = {"type": "job"}
        peer.ask(MessageType.SUBMIT_TASK, tasks=[task])
        self.check(
            "TaskqueueRefusesTasks",
            self.growth("nacks_total", code="QUEUE_FULL"),
            lambda: peer.ask(MessageType.SUBMIT_TASK, tasks=[task]),
        )

    def test_values_nearly_full(self) -> None:
        self.set_limits(max_values_bytes=100)
        self.put_value("a" * 80)
        self.check(
            "TaskqueueValuesNearlyFull",
            self.share("value_bytes", "value_limit_bytes"),
            lambda: self.put_value("b"),
        )

    def test_refuses_values(self) -> None:
        self.set_limits(max_values=1)
        self.put_value("a")
        self.check(
            "TaskqueueRefusesValues",
            self.growth("nacks_total", code="VALUES_FULL"),
            lambda: self.put_value("b"),
        )

    def set_limits(self, **values: Any) -> None:
        config = self.service.config
        self.service.reconfigure(replace(config, limits=replace(config.limits, **values)))

    def put_value(self, key: str) -> None:
        peer = self.world.connect()
        peer.ask(MessageType.PUT_VALUES, values=[{"namespace": "n", "key": key, "value": b""}])
        peer.leave()

    # --- work -------------------------------------------------------------------------

    def test_backlog_grows(self) -> None:
        def values(old: Scraped, new: Scraped) -> list[float]:
            pending = [s("tasks", queue="default", state="pending") for s in (old, new)]
            return [pending[1], (pending[1] - pending[0]) / max(new.at - old.at, 1.0)]

        self.submit(1000)
        self.check("TaskqueueBacklogGrows", values, lambda: self.submit(10))

    def test_tasks_wait_too_long(self) -> None:
        self.submit()
        self.check(
            "TaskqueueTasksWaitTooLong",
            self.gauge("oldest_ready_seconds", queue="default"),
            lambda: self.world.clock.pump([10] * 31),
        )

    def test_no_worker(self) -> None:
        self.service.register(Registration("w", 1, types=frozenset({"job"})))
        self.submit()
        self.check(
            "TaskqueueNoWorker", self.gauge("unserved_tasks"), lambda: self.submit(kind="mail")
        )

    def test_stalled_worker(self) -> None:
        self.service.register(Registration("w", 1))
        self.submit()
        self.check("TaskqueueStalledWorker", self.gauge("stalled_workers"), lambda: self.beat(40))

    def test_dead_letters(self) -> None:
        self.submit(options=ONCE)
        self.check(
            "TaskqueueDeadLetters",
            self.growth("tasks_dead_total"),
            lambda: self.report(State.FAILED, error="oh"),
        )

    def test_tasks_lost(self) -> None:
        def happen() -> None:
            self.claim(6, lease_s=1.0)
            self.world.pass_time(3)

        self.submit(6)
        self.check("TaskqueueTasksLost", self.growth("tasks_lost_total"), happen)

    def test_periodic_late(self) -> None:
        self.service.put_periodics([Periodic("p", "job", every_s=10.0)])
        self.world.settle()

        def happen() -> None:
            self.break_store()
            self.submit()
            self.world.pass_time(75)

        self.check(
            "TaskqueuePeriodicLate",
            lambda _, new: [new.at - new("periodic_next_run_timestamp_seconds", periodic="p")],
            happen,
        )

    def test_periodic_failed(self) -> None:
        self.service.put_periodics([Periodic("p", "job", every_s=1e6, options=ONCE)])
        self.service.trigger_periodic("p")
        self.world.settle()
        self.check(
            "TaskqueuePeriodicFailed",
            lambda _, new: [
                new("periodic_last_outcome", state="dead_letter")
                + new("periodic_last_outcome", state="expired")
            ],
            lambda: self.report(State.FAILED, error="oh"),
        )

    def test_every_alert_is_tried(self) -> None:
        """But the one of a broker that does not answer, of which no broker shows anything."""
        text = Path(__file__).read_text(encoding="utf-8")
        tried = set(re.findall(r'self\.check\(\s*"(\w+)"', text))
        self.assertEqual(set(alerts()) - tried, {"TaskqueueDown"})
