"""
The configuration as the program sees it: frozen, typed, with its defaults.

C{Config()} is a usable configuration.  The configspec (L{taskqueue.config.spec})
says which values a file, the environment or a command line may give; the
meaning of every key stands in C{docs/configuration.md}.  Durations (C{*_s},
C{*_ms}) are seconds and milliseconds, sizes (C{*_bytes}) are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_WEEK_S = 7 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """
    What holds for the whole broker, and for every queue that does not say otherwise.

    @ivar queue_depth_threshold: waiting tasks in all queues together; 0 takes none.
    @ivar max_held_bytes: payload bytes of live tasks that are held in memory.
    @ivar memory_limit: what the process may take in memory, bytes; 0 for no bound.
    @ivar audit_interval_s: how often the broker audits itself; 0 for never.
    """

    name: str = "taskqueue"
    queue_depth_threshold: int = 100_000
    max_held_bytes: int = 512 * MIB
    memory_limit: int = 0
    lease_s: float = 30.0
    lease_min_s: float = 1.0
    lease_max_s: float = 86400.0
    claim_wait_s: float = 30.0
    claim_wait_max_s: float = 300.0
    max_batch_submit: int = 1000
    max_batch_claim: int = 1000
    max_batch_results: int = 1000
    max_retries: int = 3
    max_lost: int = 5
    retry_delay_s: float = 5.0
    retry_max_delay_s: float = 3600.0
    retry_jitter: float = 0.1
    stop_timeout_s: float = 10.0
    audit_interval_s: float = 900.0


@dataclass(frozen=True, kw_only=True)
class ListenConfig:
    """
    Where the wire protocols listen, as Twisted server endpoint strings; C{()} is off.

    What begins with C{tls_} holds for every C{tls:} endpoint that does not say otherwise, of
    HTTP too.

    @ivar tls_certificate: the file of the certificate and its chain, PEM; empty for none.
    @ivar tls_key: the file of its private key; empty: the certificate's file has it.
    @ivar tls_client_ca: the file of those who sign clients' certificates; empty for none.
    @ivar tls_client: whether a client needs a certificate: C{"none"}, C{"optional"} or
        C{"required"}.
    @ivar proxy_peers: who may speak at a C{haproxy:} endpoint: addresses, networks,
        C{"unix"}.
    """

    framed: tuple[str, ...] = ("tcp:7780:interface=127.0.0.1",)
    lines: tuple[str, ...] = ()
    beanstalkd: tuple[str, ...] = ()
    faktory: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    tls_client: str = "none"
    proxy_peers: tuple[str, ...] = ("127.0.0.1", "::1", "unix")


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """
    Where tasks are kept, and what "kept" means.

    @ivar kind: C{"sqlite"} or C{"memory"}.
    @ivar path: the data directory; a relative one starts at the working directory.
    @ivar durability: C{"fsync"}, C{"interval"} or C{"none"}.
    @ivar check_on_start: C{"quick"}, C{"full"} or C{"none"}.
    @ivar max_ended_bytes: what ended tasks may take in memory, where C{kind} is C{"memory"}.
    """

    kind: str = "sqlite"
    path: str = "taskqueue-data"
    durability: str = "fsync"
    sync_interval_ms: int = 100
    check_on_start: str = "quick"
    max_ended_bytes: int = 256 * MIB


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """
    How one queue differs from L{BrokerConfig}; C{None} means: as that says.

    @ivar max_depth: bound on this queue's waiting tasks; C{None} for no bound of its own.
    @ivar paused: whether the queue starts paused.
    """

    max_depth: int | None = None
    lease_s: float | None = None
    max_retries: int | None = None
    max_lost: int | None = None
    retry_delay_s: float | None = None
    retry_max_delay_s: float | None = None
    retry_jitter: float | None = None
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """What is expected of registered workers."""

    heartbeat_s: float = 15.0
    stale_after_s: float = 30.0
    reconnect_grace_s: float = 10.0
    max_workers: int = 10_000


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """
    What one connection, and all of them together, may take.

    @ivar message_timeout_s: from a message's first byte to its last.
    @ivar max_buffered_bytes: of messages that have not arrived whole, in all connections.
    @ivar max_inflight_requests: unanswered requests of one connection.
    @ivar max_waiting_claims: of all connections.
    @ivar max_watches: tasks that connections wait to hear of, of all together.
    @ivar max_types: of all queues, each counted once for each queue.
    @ivar max_values: values under keys.
    @ivar max_values_bytes: of all of them, with their keys.
    @ivar max_requests_per_s: over HTTP, or administrative ones, of one key or address; 0 for no
        bound.
    @ivar max_tasks_per_s: submitted with one key or from one address; 0 for no bound.
    """

    max_connections: int = 1000
    max_connections_per_peer: int = 1000
    max_frame_bytes: int = 16 * MIB
    max_payload_bytes: int = 10 * MIB
    handshake_timeout_s: float = 30.0
    idle_timeout_s: float = 30.0
    message_timeout_s: float = 60.0
    slow_reader_timeout_s: float = 30.0
    max_outbound_bytes: int = 64 * MIB
    max_buffered_bytes: int = 256 * MIB
    max_inflight_requests: int = 1000
    max_waiting_claims: int = 100_000
    max_watches: int = 1_000_000
    max_queues: int = 10_000
    max_types: int = 50_000
    max_values: int = 1_000_000
    max_values_bytes: int = 256 * MIB
    max_requests_per_s: int = 100
    max_tasks_per_s: int = 0


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """
    How long ended tasks are kept, by how they ended: 0 removes them at the next
    sweep, C{None} (written C{forever}) keeps them.
    """

    completed_s: float | None = _WEEK_S
    dead_letter_s: float | None = _WEEK_S
    cancelled_s: float | None = _WEEK_S
    expired_s: float | None = _WEEK_S
    sweep_interval_s: float = 60.0
    sweep_batch: int = 1000


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """
    The HTTP side: API, metrics, health, dashboard.

    @ivar listen: Twisted server endpoint strings; C{()} is off.
    @ivar max_label_pairs: different (queue, type) pairs that metrics name; the
        rest are counted together.
    @ivar api: what the REST API may be asked: C{"full"}, C{"read"} (nothing that changes
        anything) or C{"off"}.
    @ivar dashboard: whether there is a page for people; never where C{api} is C{"off"}.
    @ivar cors_origins: web origins, beside the broker's own, whose pages may use the API.
    """

    listen: tuple[str, ...] = ("tcp:7781:interface=127.0.0.1",)
    max_label_pairs: int = 200
    api: str = "full"
    dashboard: bool = True
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BeanstalkdConfig:
    """
    The door for clients of beanstalkd, whose protocol has no way to say who asks.

    @ivar max_job_bytes: the largest body of a job, without the line end after it.
    @ivar open_to_network: it may listen where other machines reach it.
    @ivar key: the name of the key that everybody there stands for, once there are keys.
    """

    max_job_bytes: int = 65535
    open_to_network: bool = False
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class FaktoryConfig:
    """
    The door for clients of Faktory.

    @ivar password_file: the file of the password that they show; empty: they show none.
    @ivar key: the name of the key that everybody there stands for, once there are keys.
    """

    password_file: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class AccessConfig:
    """
    Who may come in.

    @ivar authentication: C{"auto"} (required, but for a broker that only its own machine can
        reach, for as long as it has no keys and users), C{"required"} or
        C{"open_to_everyone"}.
    @ivar file: the file of keys and users; empty: C{access.json} in the data directory.
    @ivar audit_log: the file of the audit log; empty: the log.
    @ivar session_idle_s: after how long without use a session of the dashboard ends.
    @ivar session_max_s: after how long it ends in any case.
    """

    authentication: str = "auto"
    file: str = ""
    audit_log: str = ""
    session_idle_s: float = 3600.0
    session_max_s: float = 43200.0


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """
    What is logged, and how.

    @ivar level: C{"debug"}, C{"info"}, C{"warn"}, C{"error"} or C{"critical"}.
    @ivar format: C{"text"} or C{"json"}.
    """

    level: str = "info"
    format: str = "text"


@dataclass(frozen=True, kw_only=True)
class Config:
    """
    The whole configuration.

    @ivar queues: queue name to L{QueueConfig}; queues that are not named exist
        all the same, as L{BrokerConfig} says.
    """

    broker: BrokerConfig = BrokerConfig()
    listen: ListenConfig = ListenConfig()
    store: StoreConfig = StoreConfig()
    queues: Mapping[str, QueueConfig] = field(default_factory=dict, hash=False)
    workers: WorkersConfig = WorkersConfig()
    limits: LimitsConfig = LimitsConfig()
    retention: RetentionConfig = RetentionConfig()
    http: HttpConfig = HttpConfig()
    beanstalkd: BeanstalkdConfig = BeanstalkdConfig()
    faktory: FaktoryConfig = FaktoryConfig()
    access: AccessConfig = AccessConfig()
    log: LogConfig = LogConfig()


#: Section name to its class, in the order of the file, C{[queues]} left out.
SECTIONS: Mapping[str, type] = {
    "broker": BrokerConfig,
    "listen": ListenConfig,
    "store": StoreConfig,
    "workers": WorkersConfig,
    "limits": LimitsConfig,
    "retention": RetentionConfig,
    "http": HttpConfig,
    "beanstalkd": BeanstalkdConfig,
    "faktory": FaktoryConfig,
    "access": AccessConfig,
    "log": LogConfig,
}
