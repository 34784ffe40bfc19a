"""
Tests of the metrics, against a recount and against their documentation.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import __version__
from taskqueue.config import HttpConfig
from taskqueue.core.counters import BUCKETS_S, COUNTED
from taskqueue.core.intake import Submission
from taskqueue.core.periodic import Periodic
from taskqueue.core.task import STATE_WORDS, State, TaskOptions, tier_of
from taskqueue.core.value_desk import Put
from taskqueue.core.workers import Registration
from taskqueue.service.timers import Timer
from taskqueue.web.metrics import EVENTS, make_registry
from taskqueue.web.series import OTHER
from tests.core.world import total_counters
from tests.web.scene import full_scene
from tests.web.visitor import Place

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "observability.md"

#: Label values of a sample, as a set of pairs.
Labels = frozenset[tuple[str, str]]

NO_RETRY = TaskOptions(max_retries=0)


def labels(**values: str) -> Labels:
    return frozenset(values.items())


class Scrape:
    """What one look at C{/metrics} showed, as a stranger's parser reads it."""

    def __init__(self, place: Place) -> None:
        answer = place.get("/metrics")
        assert answer.status == 200, answer
        text = answer.body.decode("utf-8")
        self.families = {f.name: f for f in text_string_to_metric_families(text)}
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in self.families.values():
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = sample.value

    def __call__(self, name: str, **values: str) -> float:
        return self.samples[f"taskqueue_{name}", labels(**values)]

    def series(self, name: str) -> dict[Labels, float]:
        full = f"taskqueue_{name}"
        return {found: value for (own, found), value in self.samples.items() if own == full}

    def total(self, name: str) -> float:
        return sum(self.series(name).values())


def one_of_everything(place: Place) -> None:
    """Let each thing happen that is counted, some more often than once."""
    place.submit(
        *[Submission("mail", priority=priority) for priority in (0, 99, 100, 150, 200, 255)],
        *[Submission("sms", queue="other", payload=b"12345") for _ in range(4)],
        Submission("later", run_at=2000.0),
        Submission("never", expires_at=1010.0),
        Submission("unwanted", id="unwanted"),
        Submission("fragile", id="fragile", options=NO_RETRY),
        Submission("rest", depends_on=("fragile",)),
    )
    place.service.cancel(["unwanted"])
    place.clock.advance(2)
    first, second, third = place.claim("default", 3, types=["mail"])
    place.clock.advance(3)
    place.report(first, State.COMPLETED)
    place.report(second, State.FAILED, error="oh")
    place.service.release([(third.id, third.lease, 0.0)])
    (fragile,) = place.claim(types=["fragile"])
    place.report(fragile, State.FAILED, error="oh")
    place.service.retry(["fragile"])
    place.claim("other", 1, lease_s=1.0)
    place.clock.pump([0.25] * 40)  # a lease ends, a retry is due, a task expires
    place.claim("other", 2)


class RecountTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()
        one_of_everything(self.place)
        self.scrape = Scrape(self.place)

    def test_the_scene_has_everything(self) -> None:
        """Otherwise the tests below would compare zeros."""
        counted = total_counters(self.place.ledger).as_dict()
        self.assertEqual([event for event, count in counted.items() if not count], [])

    def test_events(self) -> None:
        for queue in self.place.ledger.queues.values():
            for lane in queue.lanes.values():
                for event in COUNTED:
                    self.assertEqual(
                        self.scrape(f"tasks_{event}_total", queue=queue.name, type=lane.type),
                        getattr(lane.counters, event),
                        f"{lane.type} {event}",
                    )
        totals = total_counters(self.place.ledger)
        for event in COUNTED:
            self.assertEqual(self.scrape.total(f"tasks_{event}_total"), getattr(totals, event))
        self.assertEqual(self.scrape("tasks_submitted_total", queue="default", type="mail"), 6)
        self.assertEqual(self.scrape("tasks_lost_total", queue="other", type="sms"), 1)

    def test_every_event_is_explained(self) -> None:
        self.assertEqual(set(EVENTS), set(COUNTED))

    def test_states(self) -> None:
        tasks = [*self.place.ledger.tasks.values(), *self.place.ledger.ended.values()]
        recount = Counter((task.queue, task.state.word) for task in tasks)
        for queue in ("default", "other"):
            for word in STATE_WORDS:
                self.assertEqual(
                    self.scrape("tasks", queue=queue, state=word), recount[queue, word]
                )
        self.assertEqual(self.scrape.total("tasks"), len(tasks))
        self.assertEqual(len(self.scrape.series("tasks")), 2 * len(STATE_WORDS))

    def test_depth_by_tier(self) -> None:
        waiting = [t for t in self.place.ledger.tasks.values() if t.state is not State.IN_PROGRESS]
        recount = Counter((task.queue, tier_of(task.priority)) for task in waiting)
        for queue in ("default", "other"):
            for index, tier in enumerate(("low", "normal", "high")):
                found = self.scrape("waiting_tasks", queue=queue, tier=tier)
                self.assertEqual(found, recount[queue, index])
        self.assertEqual(self.scrape("waiting_tasks", queue="default", tier="low"), 2)

    def test_in_progress_and_leases(self) -> None:
        self.assertEqual(self.scrape("in_progress_tasks", queue="default"), 0)
        self.assertEqual(self.scrape("in_progress_tasks", queue="other"), 2)
        self.assertEqual(self.scrape("leases"), 2)

    def test_payloads(self) -> None:
        self.assertEqual(self.scrape("held_payload_bytes"), 4 * 5)
        self.assertEqual(self.scrape("held_payload_limit_bytes"), 512 * 2**20)
        self.assertEqual(self.scrape("paged_payloads"), 0)
        self.place.ledger.paged, self.place.ledger.paged_bytes = 3, 4000
        scrape = Scrape(self.place)
        self.assertEqual((scrape("paged_payloads"), scrape("paged_payload_bytes")), (3, 4000))
        self.assertEqual(self.scrape("waiting_tasks_limit"), 100_000)
        self.assertEqual(self.scrape("store_size_bytes"), self.place.service.store.size())

    def test_histograms(self) -> None:
        mail = {"queue": "default", "type": "mail"}
        self.assertEqual(self.scrape("task_wait_seconds_count", **mail), 3)
        self.assertEqual(self.scrape("task_wait_seconds_sum", **mail), 6.0)
        self.assertEqual(self.scrape("task_wait_seconds_bucket", le="1.0", **mail), 0)
        self.assertEqual(self.scrape("task_wait_seconds_bucket", le="2.5", **mail), 3)
        self.assertEqual(self.scrape("task_wait_seconds_bucket", le="+Inf", **mail), 3)
        self.assertEqual(self.scrape("task_processing_seconds_sum", **mail), 6.0)
        self.assertEqual(self.scrape("task_processing_seconds_bucket", le="2.5", **mail), 0)
        self.assertEqual(self.scrape("task_processing_seconds_bucket", le="5.0", **mail), 2)
        buckets = [dict(key) for key in self.scrape.series("task_wait_seconds_bucket")]
        mine = [key["le"] for key in buckets if key["type"] == "mail"]
        self.assertEqual([float(le) for le in mine], [*BUCKETS_S, float("inf")])

    def test_unserved(self) -> None:
        self.place.service.register(Registration("w1", 1, types=frozenset({"fragile"})))
        self.scrape = Scrape(self.place)
        found = {
            dict(key)["type"]: count for key, count in self.scrape.series("unserved_tasks").items()
        }
        self.assertEqual(found, {"mail": 5, "sms": 2})

    def test_commits(self) -> None:
        journal = self.place.service.journal
        self.assertGreater(journal.commits, 5)
        self.assertEqual(self.scrape("commits_total"), journal.commits)
        for name in ("commit_rows", "commit_seconds"):
            self.assertEqual(self.scrape(f"{name}_count"), journal.commits)
        self.assertEqual(self.scrape("commit_rows_sum"), journal.rows.total)
        self.assertEqual(self.scrape("commit_rows_bucket", le="+Inf"), journal.commits)
        self.assertEqual(self.scrape("store_up"), 1)


class GaugeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()

    def test_oldest_ready(self) -> None:
        self.place.submit(Submission("x"), Submission("x", queue="b"))
        self.place.clock.advance(7)
        self.place.submit(Submission("y"))
        self.place.claim("b")
        scrape = Scrape(self.place)
        self.assertEqual(scrape("oldest_ready_seconds", queue="default"), 7)
        self.assertEqual(scrape("oldest_ready_seconds", queue="b"), 0)

    def test_paused(self) -> None:
        self.place.submit(Submission("x"))
        self.place.service.pause("b")
        scrape = Scrape(self.place)
        self.assertEqual(scrape("queue_paused", queue="default"), 0)
        self.assertEqual(scrape("queue_paused", queue="b"), 1)

    def test_waiting_claims(self) -> None:
        self.place.claim(wait_s=30.0)
        self.place.claim(wait_s=30.0)
        self.assertEqual(Scrape(self.place)("waiting_claims"), 2)

    def test_values(self) -> None:
        service = self.place.service
        service.put_values([Put("n", "k", b"12"), Put("m", "k", b"")])
        service.wait_values("n", {"other": 0}, 30, self).addErrback(lambda _: None)
        scrape = Scrape(self.place)
        self.assertEqual((scrape("values"), scrape("value_bytes")), (2, 4))
        self.assertEqual(scrape("value_namespaces"), 2)
        self.assertEqual(scrape("value_waits"), 1)
        self.assertEqual(scrape("values_limit"), 1_000_000)
        self.assertEqual(scrape("value_limit_bytes"), 256 * 2**20)

    def test_uptime(self) -> None:
        self.place.clock.advance(12.5)
        self.assertEqual(Scrape(self.place)("uptime_seconds"), 12.5)

    def test_build(self) -> None:
        (found,) = Scrape(self.place).series("build_info")
        self.assertEqual(dict(found)["version"], __version__)

    def test_workers(self) -> None:
        service = self.place.service
        for number, capacity in enumerate((1, 2, 4, 8)):
            service.register(Registration(f"w{number}", 1, capacity=capacity), link=object())
        service.holder_gone(self.place.ledger.workers.get("w1"))
        self.place.ledger.workers.get("w2").recovered = True
        scrape = Scrape(self.place)
        self.assertEqual(scrape("workers", state="connected"), 2)
        self.assertEqual(scrape("workers", state="away"), 1)
        self.assertEqual(scrape("workers", state="recovered"), 1)
        self.assertEqual(scrape("worker_capacity_tasks"), 9)

    def test_stalled_workers(self) -> None:
        link = object()
        self.place.service.register(Registration("w", 1), link)
        self.place.submit(Submission("x"))
        self.assertEqual(Scrape(self.place)("stalled_workers"), 0)
        for _ in range(8):
            self.place.clock.advance(5)
            self.place.service.heartbeat(Registration("w", 1), link=link)
        self.assertEqual(Scrape(self.place)("stalled_workers"), 1)

    def test_connections_limit(self) -> None:
        self.assertEqual(Scrape(self.place)("connections_limit"), 1000)

    def test_certificates(self) -> None:
        name = "tls_certificate_expires_timestamp_seconds"
        scrape = Scrape(full_scene())
        self.assertEqual(scrape(name, endpoint="tls:port=7780"), 0.0)

    def test_audits(self) -> None:
        scrape = Scrape(self.place)
        self.assertEqual(scrape("audits_total"), 0)
        self.assertEqual(scrape.series("audit_differences"), {})
        self.place.submit(Submission("x"))
        self.place.ledger.depth = 7
        self.place.service.auditor.audit()
        self.place.turns()
        scrape = Scrape(self.place)
        self.assertEqual(scrape("audits_total"), 1)
        self.assertGreater(scrape("audit_differences"), 0)
        self.assertEqual(scrape("audit_last_run_timestamp_seconds"), 1000)
        self.assertEqual(scrape("audit_duration_seconds"), 0)

    def test_traffic(self) -> None:
        traffic = self.place.service.traffic
        traffic.open["framed"] = 3
        traffic.accepted["framed"] = 5
        traffic.refused["TOO_MANY_CONNECTIONS"] = 7
        traffic.requests["submit_task"] = 11
        traffic.nacks["QUEUE_FULL"] = 13
        traffic.bytes_in, traffic.bytes_out = 17, 19
        scrape = Scrape(self.place)
        self.assertEqual(scrape("connections", frontend="framed"), 3)
        self.assertEqual(scrape("connections_accepted_total", frontend="framed"), 5)
        self.assertEqual(scrape("connections_refused_total", code="TOO_MANY_CONNECTIONS"), 7)
        self.assertEqual(scrape("requests_total", operation="submit_task"), 11)
        self.assertEqual(scrape("nacks_total", code="QUEUE_FULL"), 13)
        self.assertEqual(scrape("received_bytes_total"), 17)
        self.assertEqual(scrape("sent_bytes_total"), 19)

    def test_names_that_peers_make_up(self) -> None:
        self.place.service.traffic.requests.update({f"op{n}": 1 for n in range(1000)})
        scrape = Scrape(self.place)
        self.assertLess(len(scrape.series("requests_total")), 200)
        self.assertEqual(scrape.total("requests_total"), 1000)

    def test_the_store_fails(self) -> None:
        self.place.service.journal.error = OSError("no space left")
        self.assertEqual(Scrape(self.place)("store_up"), 0)

    def test_the_size_of_the_store_is_not_known(self) -> None:
        def size() -> int:
            raise PermissionError("no access")

        self.patch(self.place.service.store, "size", size)
        self.assertEqual(Scrape(self.place).series("store_size_bytes"), {})

    def test_timers(self) -> None:
        scrape = Scrape(self.place)
        names = {dict(found)["timer"] for found in scrape.series("timer_failures_total")}
        self.assertEqual(names, {timer.name for timer in self.place.service.timers})
        extra = Timer("of a front-end", 1.0, lambda: None, self.place.clock)
        extra.setServiceParent(self.place.service)
        self.assertEqual(Scrape(self.place)("timer_failures_total", timer="of a front-end"), 0)
        self.place.service.timers[0].failures = 4
        name = str(self.place.service.timers[0].name)
        self.assertEqual(Scrape(self.place)("timer_failures_total", timer=name), 4)

    def test_process(self) -> None:
        families = Scrape(self.place).families
        for name in ("process_cpu_seconds", "process_open_fds", "python_gc_collections"):
            self.assertTrue(families[name].samples, name)

    def test_before_the_start(self) -> None:
        scrape = Scrape(Place())
        self.assertEqual(scrape("uptime_seconds"), 0)
        self.assertEqual(scrape.series("store_up"), {})

    def test_two_brokers_in_one_process(self) -> None:
        other = Place().started()
        other.submit(Submission("x"))
        self.assertEqual(Scrape(other).total("tasks_submitted_total"), 1)
        self.assertEqual(Scrape(self.place).total("tasks_submitted_total"), 0)


class PeriodicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place(HttpConfig(max_label_pairs=2)).started()
        self.put("often", 10.0)
        self.put("seldom", 3600.0)

    def put(self, name: str, every_s: float) -> None:
        self.place.service.put_periodics([Periodic(name, "job", every_s=every_s, overlap=False)])
        self.place.turns(3)

    def test_runs(self) -> None:
        self.place.clock.pump([0.25] * 40 * 4)  # three ticks of which two are skipped
        scrape = Scrape(self.place)
        self.assertEqual(scrape("periodic_next_run_timestamp_seconds", periodic="often"), 1050)
        self.assertEqual(scrape("periodic_last_run_timestamp_seconds", periodic="often"), 1010)
        self.assertEqual(scrape("periodic_runs_total", periodic="often"), 1)
        self.assertEqual(scrape("periodic_skipped_total", periodic="often"), 3)
        self.assertEqual(scrape("periodic_runs_total", periodic="seldom"), 0)
        runs = scrape.series("periodic_last_run_timestamp_seconds")
        self.assertEqual(list(runs), [labels(periodic="often")])

    def test_the_outcome_stays_known(self) -> None:
        self.place.service.trigger_periodic("often")
        self.place.turns(3)
        outcome = "periodic_last_outcome"
        self.assertEqual(Scrape(self.place)(outcome, periodic="often", state="pending"), 1)
        [delivery] = self.place.claim()
        self.place.report(delivery, State.COMPLETED)
        found = Scrape(self.place).series(outcome)
        self.assertEqual(found, {labels(periodic="often", state="completed"): 1})
        self.place.ledger.ended.clear()
        self.assertEqual(Scrape(self.place).series(outcome), found)
        self.place.service.trigger_periodic("often")
        self.place.turns(3)
        found = Scrape(self.place).series(outcome)
        self.assertEqual(found, {labels(periodic="often", state="pending"): 1})
        self.place.ledger.tasks.clear()
        self.place.ledger.ended.clear()

    def test_an_outcome_that_nobody_saw(self) -> None:
        self.place.service.trigger_periodic("often")
        self.place.turns(3)
        [delivery] = self.place.claim()
        self.place.report(delivery, State.COMPLETED)
        self.place.ledger.ended.clear()
        self.assertEqual(Scrape(self.place).series("periodic_last_outcome"), {})

    def test_paused(self) -> None:
        self.place.service.pause_periodic("often", True)
        scrape = Scrape(self.place)
        self.assertEqual(scrape("periodic_paused", periodic="often"), 1)
        self.assertEqual(scrape("periodic_paused", periodic="seldom"), 0)
        self.assertEqual(scrape("periodic_tasks", state="paused"), 1)
        self.assertEqual(scrape("periodic_tasks", state="active"), 1)
        due = scrape.series("periodic_next_run_timestamp_seconds")
        self.assertEqual(list(due), [labels(periodic="seldom")])

    def test_bounded(self) -> None:
        self.put("third", 60.0)
        scrape = Scrape(self.place)
        self.assertEqual(len(scrape.series("periodic_paused")), 2)
        self.assertEqual(scrape.total("periodic_tasks"), 3)


class CardinalityTests(SynchronousTestCase):
    LIMIT = 5

    def setUp(self) -> None:
        self.place = Place(HttpConfig(max_label_pairs=self.LIMIT)).started()
        for number in range(20):
            self.place.submit(
                *[Submission(f"type{number}", queue=f"q{number}") for _ in range(number + 1)]
            )
        self.place.service.pause("q19")
        self.place.clock.advance(5)

    def test_bounded_with_right_sums(self) -> None:
        scrape = Scrape(self.place)
        for name, per_label, total in (
            ("tasks_submitted_total", 1, 210),
            ("task_wait_seconds_count", 1, 0),
            ("unserved_tasks", 1, 210),
            ("tasks", len(STATE_WORDS), 210),
            ("waiting_tasks", 3, 210),
            ("in_progress_tasks", 1, 0),
            ("oldest_ready_seconds", 1, 5 * 6),
            ("queue_paused", 1, 1),
        ):
            self.assertEqual(len(scrape.series(name)), per_label * (self.LIMIT + 1), name)
            self.assertEqual(scrape.total(name), total, name)
        self.assertEqual(scrape("queue_paused", queue=OTHER), 1)
        self.assertEqual(scrape("tasks_submitted_total", queue=OTHER, type=OTHER), 195)

    def test_the_rest_of_the_queues(self) -> None:
        self.place.clock.advance(4)
        self.place.claim("q10", 2)
        self.place.claim("q11", 3)
        self.place.submit(Submission("x", queue="fresh"))
        scrape = Scrape(self.place)
        self.assertEqual(scrape("in_progress_tasks", queue=OTHER), 5)
        self.assertEqual(scrape("oldest_ready_seconds", queue=OTHER), 9)

    def test_odd_names_are_escaped(self) -> None:
        """The protocols allow no such names; an application in this process might."""
        place = Place().started()
        odd = 'a"b\\c\nd{}=, ü 🐝'
        place.submit(Submission(odd, queue=odd))
        self.assertEqual(Scrape(place)("tasks_submitted_total", queue=odd, type=odd), 1)

    def test_a_queue_with_the_name_of_the_rest(self) -> None:
        place = Place().started()
        place.submit(Submission(OTHER, queue=OTHER), Submission("x"))
        self.assertEqual(Scrape(place)("tasks_submitted_total", queue=OTHER, type=OTHER), 1)
        self.assertEqual(Scrape(place)("tasks", queue=OTHER, state="pending"), 1)


class DocumentTests(SynchronousTestCase):
    """C{docs/observability.md} and the metrics tell the same."""

    def documented(self) -> dict[str, tuple[str, set[str]]]:
        row = re.compile(r"^\| `(taskqueue_\w+)` \| (\w+) \| (.*?) ?\| .+ \|$", re.MULTILINE)
        found = row.findall(DOCUMENT.read_text(encoding="utf-8"))
        self.assertEqual(len(found), len({name for name, _, _ in found}))
        return {name: (kind, set(re.findall(r"`(\w+)`", label))) for name, kind, label in found}

    def exported(self) -> dict[str, tuple[str, set[str]]]:
        place = full_scene()
        families = make_registry(place.service).collect()
        return dict(self.shape(f) for f in families if f.name.startswith("taskqueue_"))

    def shape(self, family: Metric) -> tuple[str, tuple[str, set[str]]]:
        ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names: set[str] = set()
        for sample in family.samples:
            names.update(sample.labels)
        return family.name + ending, (family.type, names - {"le"})

    def test_all_and_nothing_else(self) -> None:
        self.assertEqual(self.documented(), self.exported())

    def test_other_names_in_the_text_exist(self) -> None:
        text = DOCUMENT.read_text(encoding="utf-8")
        families: Any = make_registry(Place().started().service).collect()
        known = {self.shape(family)[0] for family in families}
        used = set(re.findall(r"\b(?:taskqueue|process|python_gc)_[a-z_]+[a-z]\b", text))
        endings = ("_bucket", "_count", "_sum")
        unknown = {name for name in used if not name.startswith(tuple(known))}
        self.assertEqual(unknown, set())
        self.assertTrue(any(name.endswith(endings) for name in used))

    def test_timer_and_state_words(self) -> None:
        text = DOCUMENT.read_text(encoding="utf-8")
        for word in (*STATE_WORDS, "low", "normal", "high", "connected", "away", "recovered"):
            self.assertIn(f"`{word}`", text)
