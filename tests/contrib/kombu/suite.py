"""
Kombu's own integration classes, unchanged, over this transport.

This is for pytest, which L{tests.contrib.kombu.test_suite} runs: it says by C{BROKER_PORT}
where a broker is, and by C{PYTHONPATH} where kombu's C{common.py} is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import kombu
import pytest
from common import (
    BaseEventLoop,
    BaseExchangeTypes,
    BaseFailover,
    BaseMessage,
    BasePriority,
    BaseTimeToLive,
    BasicFunctionality,
)

import taskqueue.contrib.kombu  # noqa: F401  # registers the scheme

URL = f"taskqueue://127.0.0.1:{os.environ['BROKER_PORT']}"


@pytest.fixture
def dead_url() -> Iterator[str]:
    """Where nobody answers: the port is taken, and not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"taskqueue://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def connection() -> kombu.Connection:
    return kombu.Connection(URL)


@pytest.fixture
def invalid_connection(dead_url: str) -> kombu.Connection:
    return kombu.Connection(dead_url)


@pytest.fixture
def failover_connection(dead_url: str) -> kombu.Connection:
    return kombu.Connection(f"{dead_url};{URL}", connect_timeout=10)


class TestBasicFunctionality(BasicFunctionality):
    pass


class TestExchangeTypes(BaseExchangeTypes):
    pass


class TestTimeToLive(BaseTimeToLive):
    pass


class TestPriority(BasePriority):
    pass


class TestMessage(BaseMessage):
    pass


class TestEventLoop(BaseEventLoop):
    pass


class TestFailover(BaseFailover):
    pass
