"""
What monitoring sees: the broker's numbers as Prometheus metrics.

Nothing is counted here.  The core and the front-ends count as they work, in
plain integers; they are read when somebody asks, in the reactor's thread.

C{docs/observability.md} says what each metric means.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from taskqueue import __version__
from taskqueue.core.counters import COUNTED, Counters, Histogram
from taskqueue.core.lanes import Queue
from taskqueue.core.overview import oldest_ready_s, state_counts, unserved
from taskqueue.core.task import TIERS, State
from taskqueue.core.workers import Worker
from taskqueue.errors import StoreError
from taskqueue.frontends.doorways import Doorways
from taskqueue.service import TaskQueueService
from taskqueue.web.exemplars import Exemplars, find_exemplars
from taskqueue.web.families import counter, gauge, histogram
from taskqueue.web.periodics import PeriodicSeries
from taskqueue.web.series import OTHER, PairCounters, PairSeries, bounded, first_names
from twisted import __version__ as twisted_version

#: What the event of each counter of tasks is.
EVENTS: dict[str, str] = {
    "submitted": "Tasks that were accepted.",
    "claimed": "Deliveries of tasks to workers.",
    "completed": "Tasks that succeeded.",
    "failed": "Deliveries that a worker said had failed.",
    "retried": "Failed deliveries after which a retry was planned.",
    "dead": "Tasks that went to the dead letters.",
    "lost": "Deliveries that ended with a lease that ran out or a worker that vanished.",
    "expired": "Tasks that expired before anybody claimed them.",
    "cancelled": "Tasks that were cancelled.",
    "released": "Deliveries that a worker gave back.",
    "revived": "Dead letters that somebody let run again.",
}

#: Names of operations, error codes and the like that have series of their own:
#: more than there are, in case a front-end counts what a peer makes up.
_MOST_NAMES = 100


class BrokerCollector(Collector):
    """
    Reads one broker's numbers.

    Each family is made when it is asked for, so that whoever shows them need not
    make them all at one go.
    """

    def __init__(self, service: TaskQueueService) -> None:
        self._service = service
        self._most_labels = service.config.http.max_label_pairs
        self._pairs = PairSeries(self._most_labels)
        self._periodics = PeriodicSeries(self._most_labels)

    def collect(self) -> Iterator[Metric]:
        """Every family of the broker's own; the journal's only once it runs."""
        yield from self._about_broker()
        yield from self._about_tasks()
        yield from self._about_queues()
        yield from self._periodics.collect(self._service.broker.ledger)
        yield from self._about_values()
        yield from self._about_workers()
        yield from self._about_connections()
        yield from self._about_certificates()
        yield from self._about_audits()
        if self._service.running:
            yield from self._about_store()

    def _about_broker(self) -> Iterator[Metric]:
        service = self._service
        ledger, policy = service.broker.ledger, service.broker.ledger.policy
        about = {
            "version": __version__,
            "python": platform.python_version(),
            "twisted": twisted_version,
        }
        yield InfoMetricFamily(
            "taskqueue_build", "The broker's version, and what it runs on.", about
        )
        uptime_s = service.moments().wall - service.started_at if service.running else 0.0
        for name, meaning, number in (
            ("uptime_seconds", "Time since the broker started.", uptime_s),
            ("waiting_tasks_limit", "Waiting tasks that the broker takes.", policy.depth_threshold),
            ("held_payload_bytes", "Payload bytes of live tasks, in memory.", ledger.held_bytes),
            ("held_payload_limit_bytes", "Such bytes that it takes.", policy.max_held_bytes),
            ("paged_payloads", "Payloads of live tasks, in the store only.", ledger.paged),
            ("paged_payload_bytes", "Bytes of these payloads.", ledger.paged_bytes),
            ("event_loop_lateness_seconds", "Worst of the last minute.", service.lateness.worst_s),
            ("leases", "Leases in force.", len(ledger.leases)),
            ("waiting_claims", "Claims that wait for a task.", len(ledger.claims)),
        ):
            yield gauge(f"taskqueue_{name}", meaning, (), [((), number)])
        failures = [((str(timer.name),), timer.failures) for timer in service.timers]
        meaning = "Runs of the broker's own timers that failed."
        yield counter("taskqueue_timer_failures_total", meaning, ("timer",), failures)

    # --- tasks --------------------------------------------------------------------

    def _about_tasks(self) -> Iterator[Metric]:
        labels, ledger = ("queue", "type"), self._service.broker.ledger
        pairs = self._pairs.counters(ledger)
        for event in COUNTED:
            counts = [(pair[:2], getattr(pair.counters, event)) for pair in pairs]
            yield counter(f"taskqueue_tasks_{event}_total", EVENTS[event], labels, counts)
        waits, runs = find_exemplars(ledger, self._pairs.label)
        meaning = "From ready to claimed."
        yield _durations("taskqueue_task_wait_seconds", meaning, pairs, lambda c: c.wait, waits)
        meaning = "From claimed to the word of the worker, whatever it was."
        yield _durations(
            "taskqueue_task_processing_seconds", meaning, pairs, lambda c: c.processing, runs
        )
        ready: Counter[tuple[str, str]] = Counter()
        for queue, task_type, count in unserved(ledger):
            ready[self._pairs.label(queue, task_type)] += count
        meaning = "Ready tasks of a type that no worker runs."
        yield gauge("taskqueue_unserved_tasks", meaning, labels, ready.items())

    # --- queues -------------------------------------------------------------------

    def _about_queues(self) -> Iterator[Metric]:
        queues = self._queues()
        states, tiers = ("queue", "state"), ("queue", "tier")
        meaning = "Tasks by state; of ended ones, those that are still kept."
        yield gauge("taskqueue_tasks", meaning, states, _by_word(queues, state_counts))
        meaning = "Tasks that wait (pending, scheduled, blocked, failed), by priority tier."
        yield gauge("taskqueue_waiting_tasks", meaning, tiers, _by_word(queues, _tier_counts))
        now = self._service.moments()
        running = "Tasks that workers have."
        oldest = "How long the longest-ready task has been ready; 0 without one."
        paused = "1 where nothing is handed out."
        for name, meaning, read, merge in (
            ("in_progress_tasks", running, lambda q: q.count(State.IN_PROGRESS), sum),
            ("oldest_ready_seconds", oldest, lambda q: oldest_ready_s(q, now), max),
            ("queue_paused", paused, lambda q: int(q.paused), max),
        ):
            numbers = [((label,), merge(map(read, group))) for label, group in queues.items()]
            yield gauge(f"taskqueue_{name}", meaning, ("queue",), numbers)

    def _queues(self) -> dict[str, list[Queue]]:
        """Queues by the label that they have."""
        queues = self._service.broker.ledger.queues
        named = first_names(queues, self._most_labels)
        found: dict[str, list[Queue]] = {}
        for name, queue in queues.items():
            found.setdefault(name if name in named else OTHER, []).append(queue)
        return found

    # --- values -------------------------------------------------------------------

    def _about_values(self) -> Iterator[Metric]:
        ledger = self._service.broker.ledger
        values, policy = ledger.values, ledger.policy
        for name, meaning, number in (
            ("values", "Values under keys.", values.count),
            ("values_limit", "Values that the broker takes.", policy.max_values),
            ("value_bytes", "Bytes of values and of their keys.", values.size_bytes),
            ("value_limit_bytes", "Such bytes that it takes.", policy.max_values_bytes),
            ("value_namespaces", "Namespaces that have values.", len(values.by_namespace)),
            ("value_waits", "Requests that wait for a value to change.", len(values.waits)),
        ):
            yield gauge(f"taskqueue_{name}", meaning, (), [((), number)])

    # --- workers and connections ----------------------------------------------------

    def _about_workers(self) -> Iterator[Metric]:
        states = dict.fromkeys(("connected", "away", "recovered"), 0)
        capacity = 0
        for worker in self._service.broker.ledger.workers:
            state = _worker_state(worker)
            states[state] += 1
            capacity += worker.info.capacity if state == "connected" else 0
        meaning = (
            "Registered workers; away: connection lost; recovered: not heard of since a restart."
        )
        numbers = [((state,), count) for state, count in states.items()]
        yield gauge("taskqueue_workers", meaning, ("state",), numbers)
        meaning = "Tasks that the connected workers can run at once, as they say."
        yield gauge("taskqueue_worker_capacity_tasks", meaning, (), [((), capacity)])
        meaning = "Workers that live and have room, but do not ask for the work that waits."
        stalled = len(self._service.stalls.stalled)
        yield gauge("taskqueue_stalled_workers", meaning, (), [((), stalled)])

    def _about_connections(self) -> Iterator[Metric]:
        traffic = self._service.traffic
        yield gauge(
            "taskqueue_connections", "Open connections.", ("frontend",), _numbers(traffic.open)
        )
        most = self._service.config.limits.max_connections
        meaning = "Connections that may be open; those of HTTP are counted by themselves."
        yield gauge("taskqueue_connections_limit", meaning, (), [((), most)])
        for name, meaning, label, counts in (
            ("connections_accepted", "Connections let in.", "frontend", traffic.accepted),
            ("connections_refused", "Connections refused or ended.", "code", traffic.refused),
            ("requests", "Requests.", "operation", traffic.requests),
            ("nacks", "Requests, or items of batches, refused.", "code", traffic.nacks),
        ):
            yield counter(f"taskqueue_{name}_total", meaning, (label,), _numbers(counts))
        for name, meaning, count in (
            ("received_bytes", "Bytes received.", traffic.bytes_in),
            ("sent_bytes", "Bytes sent.", traffic.bytes_out),
        ):
            yield counter(f"taskqueue_{name}_total", meaning, (), [((), count)])

    def _about_certificates(self) -> Iterator[Metric]:
        found = [each for each in self._service if isinstance(each, Doorways)]
        ends = [
            ((identity.name,), identity.expires_at)
            for doorways in found
            for identity in doorways.identities
        ]
        meaning = "When the certificate that an endpoint shows ends to be valid."
        name = "taskqueue_tls_certificate_expires_timestamp_seconds"
        yield gauge(name, meaning, ("endpoint",), ends)

    # --- self-audit ---------------------------------------------------------------

    def _about_audits(self) -> Iterator[Metric]:
        auditor = self._service.auditor
        meaning = "Self-audits that came to their end."
        yield counter("taskqueue_audits_total", meaning, (), [((), auditor.audits)])
        newest = auditor.newest
        for name, meaning, number in (
            ("differences", "Differences that the newest audit found.", newest and newest.found),
            ("duration_seconds", "How long it took.", newest and newest.took_s),
            ("last_run_timestamp_seconds", "When it came to its end.", newest and newest.at),
        ):
            samples: list[tuple[tuple[()], float]] = [] if number is None else [((), number)]
            yield gauge(f"taskqueue_audit_{name}", meaning, (), samples)

    # --- store --------------------------------------------------------------------

    def _about_store(self) -> Iterator[Metric]:
        journal = self._service.journal
        up = int(journal.trouble is None)
        yield gauge("taskqueue_store_up", "1 while the store works, else 0.", (), [((), up)])
        meaning = "What the store takes on its medium."
        yield gauge("taskqueue_store_size_bytes", meaning, (), self._store_size())
        meaning = "Groups of changes stored."
        yield counter("taskqueue_commits_total", meaning, (), [((), journal.commits)])
        meaning = "Rows in a group of changes."
        yield histogram("taskqueue_commit_rows", meaning, (), [((), journal.rows)])
        meaning = "How long the store took for a group of changes."
        yield histogram("taskqueue_commit_seconds", meaning, (), [((), journal.seconds)])

        backlog = self._service.store.backlog()
        for name, meaning, value in (
            ("behind_rows", "Rows that are safe in the log, but not yet in place.", backlog.rows),
            ("behind_seconds", "For how long the oldest of them has waited.", backlog.age_s),
            ("log_bytes", "What the log takes on its medium.", backlog.log_bytes),
        ):
            yield gauge(f"taskqueue_store_{name}", meaning, (), [((), value)])
        meaning = "How long it took to bring the log's rows into place."
        seconds = self._service.settling.seconds
        yield histogram("taskqueue_settle_seconds", meaning, (), [((), seconds)])

    def _store_size(self) -> list[tuple[tuple[()], int]]:
        """Nothing where it is not known: on a sick disk, the other numbers are needed most."""
        try:
            # A look at the sizes of a few files, no more.
            return [((), self._service.store.size())]
        except (OSError, StoreError):
            return []


def _durations(
    name: str,
    meaning: str,
    pairs: list[PairCounters],
    read: Callable[[Counters], Histogram],
    exemplars: Exemplars,
) -> Metric:
    found = [(pair[:2], read(pair.counters)) for pair in pairs]
    return histogram(name, meaning, ("queue", "type"), found, exemplars)


def _by_word(
    queues: dict[str, list[Queue]], read: Callable[[Queue], dict[str, int]]
) -> Iterator[tuple[tuple[str, str], int]]:
    """The samples of a family that has, beside the queue, one more label."""
    for label, group in queues.items():
        totals: Counter[str] = Counter()
        for queue in group:
            totals.update(read(queue))
        yield from (((label, word), count) for word, count in totals.items())


def _tier_counts(queue: Queue) -> dict[str, int]:
    return {tier[0]: count for tier, count in zip(TIERS, queue.tiers, strict=True)}


def _worker_state(worker: Worker) -> str:
    if worker.recovered:
        return "recovered"
    return "connected" if worker.away_since is None else "away"


def _numbers(counts: Counter[str]) -> list[tuple[tuple[str], int]]:
    return [((name,), count) for name, count in bounded(counts, _MOST_NAMES).items()]


def make_registry(service: TaskQueueService) -> CollectorRegistry:
    """All metrics of one broker, and of the process that it runs in."""
    registry = CollectorRegistry()
    registry.register(BrokerCollector(service))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
