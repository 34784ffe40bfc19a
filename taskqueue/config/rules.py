"""Contradictions: values that are fine alone, but not together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

from taskqueue.config.doors import FOREIGN, unguarded
from taskqueue.config.endpoints import Endpoint, parse_endpoint, unwrapped
from taskqueue.config.sections import Config, QueueConfig
from taskqueue.config.spec import QUEUES

#: Where a value stands: (section, key), or ("queues", queue, key).
Path = tuple[str, ...]


class Contradiction(NamedTuple):
    """
    @ivar paths: the values that contradict each other.
    @ivar text: what is wrong, and what would be right.
    """

    paths: tuple[Path, ...]
    text: str


#: What must not be above what, whether it may be equal, and why.
_ORDER: tuple[tuple[Path, Path, bool, str], ...] = (
    (("broker", "lease_min_s"), ("broker", "lease_s"), True, "no shorter lease is given"),
    (("broker", "lease_s"), ("broker", "lease_max_s"), True, "no longer lease is given"),
    (("broker", "lease_min_s"), ("broker", "lease_max_s"), True, "they are the bounds of leases"),
    (
        ("broker", "claim_wait_s"),
        ("broker", "claim_wait_max_s"),
        True,
        "no claim waits longer",
    ),
    (
        ("broker", "retry_delay_s"),
        ("broker", "retry_max_delay_s"),
        True,
        "no retry waits longer",
    ),
    (
        ("limits", "max_payload_bytes"),
        ("limits", "max_frame_bytes"),
        False,
        "a frame holds a payload and its header",
    ),
    (
        ("limits", "max_frame_bytes"),
        ("limits", "max_outbound_bytes"),
        True,
        "a reply of one frame must fit",
    ),
    (
        ("limits", "max_frame_bytes"),
        ("limits", "max_buffered_bytes"),
        True,
        "a frame that arrives must fit",
    ),
    (
        ("limits", "max_payload_bytes"),
        ("broker", "max_held_bytes"),
        True,
        "a payload is held while its task lives",
    ),
    (
        ("access", "session_idle_s"),
        ("access", "session_max_s"),
        True,
        "no session lasts longer",
    ),
    (
        ("workers", "heartbeat_s"),
        ("workers", "stale_after_s"),
        False,
        "a worker would be evicted between two heartbeats; twice the interval or more is advised",
    ),
)


def contradictions(config: Config) -> Iterator[Contradiction]:
    """All contradictions of a configuration."""
    for lower, upper, may_be_equal, reason in _ORDER:
        low, high = value_at(config, lower), value_at(config, upper)
        if low > high or (low == high and not may_be_equal):
            relation = "at most" if may_be_equal else "below"
            yield Contradiction(
                (lower, upper),
                f"{show(lower)} = {low} must be {relation} {show(upper)} = {high}: {reason}",
            )
    for name, queue in config.queues.items():
        yield from _of_queue(config, name, queue)
    yield from _of_endpoints(config)
    yield from _of_tls(config)
    yield from _of_proxies(config)
    yield from _of_foreign_doors(config)
    yield from _of_job_sizes(config)


def value_at(config: Config, path: Path) -> Any:
    """The value of one key outside C{[queues]}."""
    section, key = path
    return getattr(getattr(config, section), key)


def show(path: Path) -> str:
    """A path as people find it in the file."""
    if path[0] != QUEUES:
        return " ".join([f"[{path[0]}]", *path[1:]])
    return " ".join([f"[{QUEUES}]", *(f"[[{name}]]" for name in path[1:2]), *path[2:]])


def _of_queue(config: Config, name: str, queue: QueueConfig) -> Iterator[Contradiction]:
    broker = config.broker
    lease = queue.lease_s
    if lease is not None and not broker.lease_min_s <= lease <= broker.lease_max_s:
        path = (QUEUES, name, "lease_s")
        yield Contradiction(
            (path, ("broker", "lease_min_s"), ("broker", "lease_max_s")),
            f"{show(path)} = {lease} must be from [broker] lease_min_s = {broker.lease_min_s}"
            f" to lease_max_s = {broker.lease_max_s}",
        )
    if queue.retry_delay_s is None and queue.retry_max_delay_s is None:
        return
    paths = tuple(
        ("broker", key) if getattr(queue, key) is None else (QUEUES, name, key)
        for key in ("retry_delay_s", "retry_max_delay_s")
    )
    delay = broker.retry_delay_s if queue.retry_delay_s is None else queue.retry_delay_s
    longest = queue.retry_max_delay_s
    longest = broker.retry_max_delay_s if longest is None else longest
    if delay > longest:
        yield Contradiction(
            paths,
            f"{show(paths[0])} = {delay} must be at most {show(paths[1])} = {longest}:"
            f" no retry of queue {name!r} waits longer",
        )


#: Where endpoints stand.
_PLACES: tuple[Path, ...] = (
    ("listen", "framed"),
    ("listen", "lines"),
    ("listen", "beanstalkd"),
    ("listen", "faktory"),
    ("http", "listen"),
)

_CERTIFICATE: Path = ("listen", "tls_certificate")
_CLIENT: Path = ("listen", "tls_client")
_CLIENT_CA: Path = ("listen", "tls_client_ca")


def endpoints_of(config: Config) -> list[tuple[Path, str]]:
    """All endpoint strings of a configuration, each with where it stands."""
    return [(place, text) for place in _PLACES for text in value_at(config, place)]


def _of_endpoints(config: Config) -> Iterator[Contradiction]:
    given = endpoints_of(config)
    if not given:
        yield Contradiction(
            _PLACES,
            f"nothing listens: {', '.join(map(show, _PLACES[:-1]))} and {show(_PLACES[-1])} are"
            " all empty; give at least one of them an endpoint",
        )
    for (place, text), (other_place, other) in combinations(given, 2):
        if parse_endpoint(text).clashes(parse_endpoint(other)):
            yield Contradiction(
                (place, other_place),
                f"{show(place)} {text!r} and {show(other_place)} {other!r} would listen at the"
                " same address; give each its own",
            )


def _of_tls(config: Config) -> Iterator[Contradiction]:
    """What is said about TLS, but would not be done."""
    listen = config.listen
    secure = [
        (place, text, endpoint)
        for place, text in endpoints_of(config)
        if (endpoint := parse_endpoint(text)).type == "tls"
    ]
    for place, text, endpoint in secure:
        yield from _of_tls_endpoint(config, place, text, endpoint)
    if listen.tls_certificate and not any(uses_settings(endpoint) for _, _, endpoint in secure):
        yield Contradiction(
            (_CERTIFICATE, *_PLACES),
            f"{show(_CERTIFICATE)} is given, but no endpoint uses it, and nothing would be"
            " encrypted by it: write tls:port=7780 instead of tcp:7780",
        )
    for key in ("tls_key", "tls_client_ca"):
        if getattr(listen, key) and not secure:
            yield Contradiction(
                (("listen", key), *_PLACES),
                f"{show(('listen', key))} is given, but no endpoint begins with tls:",
            )
    if listen.tls_client != "none" and not secure:
        yield Contradiction(
            (_CLIENT, *_PLACES),
            f"{show(_CLIENT)} = {listen.tls_client}, but no endpoint begins with tls:, so no client"
            " could show a certificate",
        )


def _of_tls_endpoint(
    config: Config, place: Path, text: str, endpoint: Endpoint
) -> Iterator[Contradiction]:
    if uses_settings(endpoint) and not config.listen.tls_certificate:
        yield Contradiction(
            (place, _CERTIFICATE),
            f"{show(place)} {text!r} has no certificate: set {show(_CERTIFICATE)}, or write"
            " certificate=FILE into the endpoint",
        )
    client = endpoint.arguments.get("client", config.listen.tls_client)
    if client != "none" and not endpoint.arguments.get("client_ca", config.listen.tls_client_ca):
        yield Contradiction(
            (place, _CLIENT, _CLIENT_CA),
            f"{show(place)} {text!r} asks clients for certificates (client = {client}), but nobody"
            f" may sign them: set {show(_CLIENT_CA)}",
        )
    if client == "none" and "client_ca" in endpoint.arguments:
        yield Contradiction(
            (place, _CLIENT),
            f"{show(place)} {text!r} has a client_ca, but asks no client for a certificate: add"
            " client=optional or client=required",
        )


def uses_settings(endpoint: Endpoint) -> bool:
    """Whether a C{tls:} endpoint has its certificate from C{[listen]}."""
    return endpoint.arguments.keys().isdisjoint(("certificate", "path"))


def _of_proxies(config: Config) -> Iterator[Contradiction]:
    path = ("listen", "proxy_peers")
    for place, text in endpoints_of(config):
        if unwrapped(text)[0] and not config.listen.proxy_peers:
            yield Contradiction(
                (place, path),
                f"{show(place)} {text!r} is for proxies, but {show(path)} names none: nobody could"
                " connect",
            )


def _of_foreign_doors(config: Config) -> Iterator[Contradiction]:
    for language in FOREIGN:
        problem = unguarded(config, language)
        place = ("listen", language)
        for text in value_at(config, place):
            if problem is not None and parse_endpoint(text).exposed:
                yield Contradiction(
                    (place, problem.setting), f"{show(place)} {text!r} {problem.text}"
                )


def _of_job_sizes(config: Config) -> Iterator[Contradiction]:
    jobs, payloads = ("beanstalkd", "max_job_bytes"), ("limits", "max_payload_bytes")
    largest, allowed = value_at(config, jobs), value_at(config, payloads)
    if config.listen.beanstalkd and largest > allowed:
        yield Contradiction(
            (jobs, payloads),
            f"{show(jobs)} = {largest} must be at most {show(payloads)} = {allowed}: the body of a"
            " job is the payload of a task",
        )
