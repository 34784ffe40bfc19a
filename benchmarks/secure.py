"""
What TLS and keys cost: the same load on two brokers that run side by side, one plain and
open, one with TLS and a key that may only do what the load does.

Rounds alternate; the ratio is that of each pair, and its median is what counts.  The load
comes from one process, which speaks TLS as well, on the same machine.  Beside the
throughput stand the processor times of broker and load, which say what a busy machine
cannot blur.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme

from benchmarks.brokers import BrokerProcess
from taskqueue.access.editing import add_key
from taskqueue.access.file import KeyringFile

#: The key may no more than the load needs: somebody who may do everything is asked less.
ALLOWED = ("submit:default", "claim:default")

#: Batch size, and how many tasks a round has.
LOADS = ((100, 40_000), (50, 40_000), (1, 6_000))

#: What throughput with TLS and keys should be at least, of that without, in batches.
GOAL = 0.7


def certificates(folder: Path) -> dict[str, str]:
    """Write an authority and the broker's certificate; returns their paths."""
    authority = trustme.CA()
    paths = {"ca": str(folder / "ca.pem"), "broker": str(folder / "broker.pem")}
    authority.cert_pem.write_to_path(paths["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(paths["broker"])
    return paths


def make_key(path: str) -> str:
    """Write a keyring with one key; returns the key."""
    made: list[str] = []

    def add(keyring: Any) -> Any:
        changed, secret = add_key(keyring, "load", now=datetime.now(UTC), allow=ALLOWED)
        made.append(secret.text)
        return changed

    KeyringFile(path).change(add)
    return made[0]


def put_load(broker: BrokerProcess, batch: int, count: int, **environ: str) -> dict[str, float]:
    """One round; numbers by name."""
    before = broker.cpu_s()
    told = json.dumps({"batch": batch, "count": count})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "end_to_end", str(broker.port), told],
        check=True, capture_output=True, text=True, env={**os.environ, **environ},
    )  # fmt: skip
    numbers: dict[str, float] = json.loads(done.stdout)
    return {
        "tasks_per_s": numbers["tasks_per_s"],
        "broker_us": 1e6 * (broker.cpu_s() - before) / count,
        "load_us": 1e6 * numbers["generator_cpu_s"] / count,
    }


def compare(plain: BrokerProcess, secure: BrokerProcess, rounds: int, **environ: str) -> bool:
    """Print a line for each load; returns whether batches reach the goal."""
    reached = True
    for batch, count in LOADS:
        pairs = [
            (put_load(plain, batch, count), put_load(secure, batch, count, **environ))
            for _ in range(rounds)
        ]
        medians = [
            {name: statistics.median(side[name] for side in sides) for name in sides[0]}
            for sides in zip(*pairs, strict=True)
        ]
        ratio = statistics.median(
            second["tasks_per_s"] / first["tasks_per_s"] for first, second in pairs
        )
        reached = reached and (batch == 1 or ratio >= GOAL)
        print(f"batches of {batch}: {ratio:.0%} of plain")
        for name, numbers in zip(("plain", "TLS and key"), medians, strict=True):
            print(
                f"  {name:12} {numbers['tasks_per_s']:8.0f} tasks/s"
                f"  broker {numbers['broker_us']:5.1f} us  load {numbers['load_us']:5.1f} us a task"
            )
    return reached


def main() -> int:
    """Compare; the status says whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--durability", default="fsync")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = certificates(Path(folder))
        key = make_key(keyring := f"{folder}/access.json")
        secure = BrokerProcess(
            options.durability,
            f"access.file={keyring}",
            "access.authentication=required",
            f"listen.tls_certificate={paths['broker']}",
            listen="tls:port=0:interface=127.0.0.1",
        )
        with BrokerProcess(options.durability) as plain, secure:
            environ = {"TASKQUEUE_TLS_CA": paths["ca"], "TASKQUEUE_API_KEY": key}
            return 0 if compare(plain, secure, options.rounds, **environ) else 1


if __name__ == "__main__":
    sys.exit(main())
