"""
Run me: C{pytest examples/app_tests/test_with_pytest.py}
"""

import pytest

from examples.app_tests.shop import app, price, reserve, stock
from taskqueue.errors import TaskFailed
from taskqueue.testing import app_broker, immediate


@pytest.fixture
def broker():
    stock.update(apple=3)
    with app_broker(app, now=1_800_000_000) as broker:
        yield broker


def test_step_by_step(broker):
    task = reserve.submit("apple", count=2)
    assert stock["apple"] == 3  # nothing has run yet
    broker.step()
    assert task.result() == 1
    broker.advance(901)
    broker.run()
    assert stock["apple"] == 3


def test_it_waits_for_more(broker):
    task = reserve.submit("apple", count=5)
    assert broker.step().state == "failed"
    stock["apple"] = 10
    broker.advance(3601)
    broker.step()
    assert task.result() == 5


def test_never_enough(broker):
    task = reserve.submit("pear")
    broker.run_all()
    with pytest.raises(TaskFailed, match="not enough of pear"):
        task.result()
    assert broker.now >= 1_800_000_000 + 2 * 3600


def test_at_once():
    with immediate(app):
        stock.update(apple=3)
        assert reserve.submit("apple").result() == 2
        assert stock["apple"] == 3  # what it submitted for later has run as well


def test_a_coroutine(broker):
    task = price.submit("apple")
    broker.step()
    assert task.result() == 0.5
