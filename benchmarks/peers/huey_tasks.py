"""The task of Huey, which names it after its module."""

from __future__ import annotations

import os

from huey import RedisHuey

huey = RedisHuey("noop", url=os.environ["PEER_BROKER"], store_none=True)


@huey.task()
def noop() -> None:
    """Nothing."""
