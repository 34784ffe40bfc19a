"""
taskiq over this broker.

A worker is C{taskiq worker examples.with_taskiq:broker}; C{python -m examples.with_taskiq} sends.
"""

import asyncio
import os

from taskqueue.contrib.taskiq import TaskqueueBroker, TaskqueueResultBackend

ADDRESS = os.environ.get("TASKQUEUE_BROKER", "tq://127.0.0.1:7780")

broker = TaskqueueBroker(ADDRESS).with_result_backend(TaskqueueResultBackend(ADDRESS))


@broker.task("add")
async def add(a: int, b: int) -> int:
    return a + b


async def main() -> None:
    async with broker:
        task = await add.kiq(1, 2)
        print((await task.wait_result(timeout=60)).return_value)


if __name__ == "__main__":
    asyncio.run(main())
