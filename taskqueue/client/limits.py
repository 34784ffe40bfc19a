"""
What the broker accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from taskqueue.wire import Header

#: Longest answer that is taken: a claim of many tasks may exceed the broker's
#: own bound on requests.
MAX_ANSWER_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What the broker accepts, as its answer to HELLO says; sizes in bytes, times in seconds."""

    max_frame_bytes: int = 16 * 1024 * 1024
    max_payload_bytes: int = 10 * 1024 * 1024
    max_batch_submit: int = 1000
    max_batch_claim: int = 1000
    max_batch_results: int = 1000
    max_inflight_requests: int = 1000
    idle_timeout_s: float = 30.0
    claim_wait_max_s: float = 300.0

    @classmethod
    def from_welcome(cls, welcome: Header) -> Limits:
        """The limits that an answer to HELLO names; what it does not name is as above."""
        told = welcome.get("limits") or {}
        return cls(**{f.name: told[f.name] for f in fields(cls) if told.get(f.name) is not None})
