"""
The application that the tests run, in their workers and, to call its tasks, in themselves.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery

import taskqueue.contrib.celery  # noqa: F401  # the five lines of the how-to


def note(*words: object) -> None:
    """Say in a file what was done, in one write."""
    line = " ".join(map(str, words)) + "\n"
    with open(os.environ["DONE"], "ab", buffering=0) as file:
        file.write(line.encode())


def wait_for(name: str) -> None:
    """Wait until there is a file of this name beside it."""
    path = Path(os.environ["DONE"]).with_name(name)
    while not path.exists():
        threading.Event().wait(0.01)


def make(url: str, queue: str, backend: str | None = None, **conf: Any) -> Celery:
    """The application, with tasks of its own, whatever else has one."""
    app = Celery("proj", broker=url, backend=backend or url, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        **conf,
    )

    # Otherwise every application of the process has them.
    task = partial(app.task, shared=False)

    @task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    @task(name="proj.total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @task(name="proj.fails")
    def fails() -> None:
        raise KeyError("of the test")

    @task(name="proj.flaky", bind=True, max_retries=3)
    def flaky(self: Any, failures: int) -> int:
        if self.request.retries < failures:
            raise self.retry(countdown=0.2)
        return int(self.request.retries)

    @task(name="proj.slow")
    def slow(name: str) -> None:
        note("slow", name)
        wait_for(name)

    @task(name="proj.limited", rate_limit="4/s")
    def limited() -> float:
        return time.time()

    @task(name="proj.told", bind=True, acks_late=True)
    def told(self: Any, word: str, pause_s: float = 0.0) -> str:
        info = self.request.delivery_info
        note("begin", word, os.getpid(), info["redelivered"])
        threading.Event().wait(pause_s)
        note("end", word)
        return word

    @task(name="proj.dies", bind=True)
    def dies(self: Any, word: str) -> str:
        info = self.request.delivery_info
        note("dies", word, os.getpid(), info["redelivered"])
        if not info["redelivered"]:
            wait_for("never")
        return word

    return app


if "TASKQUEUE_BROKER" in os.environ:
    app = make(
        os.environ["TASKQUEUE_BROKER"].replace("tq://", "taskqueue://"),
        os.environ["NAME"],
        os.environ.get("BACKEND"),
        task_acks_late=bool(os.environ.get("LATE")),
        task_reject_on_worker_lost=bool(os.environ.get("LATE")),
        worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")),
        broker_transport_options={"visibility_timeout": 2},
        beat_schedule={
            "tick": {"task": "proj.told", "schedule": 1.0, "args": ("tick",)},
        },
    )
