"""
The configspec: which keys there are, and which values each may have.

C{SPEC} is a configobj configspec.  Its checks are the functions of
L{taskqueue.config.checks}, so that what is wrong is said in full.
"""

from __future__ import annotations

from typing import Any

from configobj import ConfigObj
from configobj.validate import Validator

from taskqueue.config.checks import CHECKS, LISTS, Unusable

#: The section whose subsections are queues, and the name that stands for each of them.
QUEUES = "queues"
ANY_QUEUE = "__many__"

SPEC = """
[broker]
name = identifier()
queue_depth_threshold = count(0, 1000000000)
max_held_bytes = size('1 MiB', '1 TiB')
memory_limit = bound('384 MiB', '1 TiB')
lease_s = seconds(0.1, 31536000)
lease_min_s = seconds(0.1, 31536000)
lease_max_s = seconds(0.1, 31536000)
claim_wait_s = seconds(0, 86400)
claim_wait_max_s = seconds(0, 86400)
max_batch_submit = count(1, 100000)
max_batch_claim = count(1, 100000)
max_batch_results = count(1, 100000)
max_retries = count(0, 1000000)
max_lost = count(0, 1000000)
retry_delay_s = seconds(0, 31536000)
retry_max_delay_s = seconds(0, 31536000)
retry_jitter = fraction()
stop_timeout_s = seconds(0, 3600)
audit_interval_s = seconds(0, 86400)

[listen]
framed = endpoints()
lines = endpoints()
beanstalkd = endpoints()
faktory = endpoints()
tls_certificate = file()
tls_key = file()
tls_client_ca = file()
tls_client = word('none', 'optional', 'required')
proxy_peers = peers()

[store]
kind = word('sqlite', 'memory')
path = path()
durability = word('fsync', 'interval', 'none')
sync_interval_ms = count(1, 60000)
check_on_start = word('quick', 'full', 'none')
max_ended_bytes = size('0', '1 TiB')

[queues]
[[__many__]]
max_depth = count(0, 1000000000)
lease_s = seconds(0.1, 31536000)
max_retries = count(0, 1000000)
max_lost = count(0, 1000000)
retry_delay_s = seconds(0, 31536000)
retry_max_delay_s = seconds(0, 31536000)
retry_jitter = fraction()
paused = flag()

[workers]
heartbeat_s = seconds(0.1, 3600)
stale_after_s = seconds(0.1, 86400)
reconnect_grace_s = seconds(0, 86400)
max_workers = count(1, 1000000)

[limits]
max_connections = count(1, 1000000)
max_connections_per_peer = count(1, 1000000)
max_frame_bytes = size('1 KiB', '1 GiB')
max_payload_bytes = size('1', '1 GiB')
handshake_timeout_s = seconds(0.1, 3600)
idle_timeout_s = seconds(0.1, 86400)
message_timeout_s = seconds(0.1, 86400)
slow_reader_timeout_s = seconds(0.1, 3600)
max_outbound_bytes = size('64 KiB', '16 GiB')
max_buffered_bytes = size('1 KiB', '1 TiB')
max_inflight_requests = count(1, 1000000)
max_waiting_claims = count(1, 100000000)
max_watches = count(1, 100000000)
max_queues = count(1, 1000000)
max_types = count(1, 10000000)
max_values = count(0, 100000000)
max_values_bytes = size('0', '1 TiB')
max_requests_per_s = count(0, 1000000)
max_tasks_per_s = count(0, 100000000)

[retention]
completed_s = kept(315360000)
dead_letter_s = kept(315360000)
cancelled_s = kept(315360000)
expired_s = kept(315360000)
sweep_interval_s = seconds(0.1, 86400)
sweep_batch = count(1, 100000)

[http]
listen = endpoints()
max_label_pairs = count(1, 100000)
api = word('full', 'read', 'off')
dashboard = flag()
cors_origins = origins()

[beanstalkd]
max_job_bytes = size('1', '1 GiB')
open_to_network = flag()
key = keyname()

[faktory]
password_file = filename()
key = keyname()

[access]
authentication = word('auto', 'required', 'open_to_everyone')
file = filename()
audit_log = filename()
session_idle_s = seconds(60, 31536000)
session_max_s = seconds(60, 31536000)

[log]
level = word('debug', 'info', 'warn', 'error', 'critical')
format = word('text', 'json')
"""


class Spec:
    """The parsed configspec."""

    def __init__(self, text: str = SPEC) -> None:
        parsed = ConfigObj(text.splitlines(), list_values=False, interpolation=False, _inspec=True)
        self._validator = Validator(dict(CHECKS))
        self._checks: dict[str, dict[str, str]] = {
            section: dict(parsed[section]) for section in parsed.sections
        }
        self._checks[QUEUES] = dict(parsed[QUEUES][ANY_QUEUE])

    @property
    def sections(self) -> list[str]:
        """The names of the sections, in order."""
        return list(self._checks)

    def keys(self, section: str) -> list[str]:
        """The keys of a section, in order; of C{queues}, those of each queue."""
        return list(self._checks[section])

    def takes_list(self, section: str, key: str) -> bool:
        """Whether there is such a key, and its value is a list."""
        return self._checks.get(section, {}).get(key, "").startswith(LISTS)

    def check(self, section: str, key: str, value: object) -> Any:
        """
        The value that C{value} stands for.

        @param value: text, or a list of texts.
        @raises Unusable: the key cannot have it.
        """
        return self._validator.check(self._checks[section][key], value)

    def allowed(self, section: str, key: str) -> str:
        """In words, the values that the key can have."""
        try:
            self.check(section, key, _NO_VALUE)
        except Unusable as error:
            return error.allowed
        raise AssertionError(f"the check of {section}.{key} lets everything pass")


_NO_VALUE = object()
