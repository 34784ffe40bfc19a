"""
dramatiq over this broker.

A worker is C{dramatiq examples.with_dramatiq}; C{python -m examples.with_dramatiq} sends.
"""

import os

import dramatiq
from dramatiq.results import Results

from taskqueue.contrib.dramatiq import TaskqueueBroker, TaskqueueResultBackend

broker = TaskqueueBroker(os.environ.get("TASKQUEUE_BROKER", "tq://127.0.0.1:7780"))
broker.add_middleware(Results(backend=TaskqueueResultBackend(connecting=broker.connecting)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    print(add.send(1, 2).get_result(block=True, timeout=60_000))
