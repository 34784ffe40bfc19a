"""Huey: queue and results in Redis.  It has no bulk submission."""

from __future__ import annotations

from benchmarks.peers.huey_tasks import huey, noop
from benchmarks.peers.producing import one_by_one, produce

if __name__ == "__main__":
    produce(huey.result_count, one=one_by_one(noop))
