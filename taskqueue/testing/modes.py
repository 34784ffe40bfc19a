"""
Having an application's submissions go to a broker of the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from taskqueue.app.application import App
from taskqueue.client import Submission
from taskqueue.client.handles import TaskHandle
from taskqueue.testing.broker import AppBroker


@contextmanager
def app_broker(app: App, now: float | None = None) -> Iterator[AppBroker]:
    """
    What C{app} submits goes to a broker in this process, and runs when the test
    says so.

    @param now: what time it is at first, seconds since the epoch; C{None}: it is now.
    """
    broker = AppBroker(app, now)
    before, app.sender = app.sender, broker.submit
    try:
        yield broker
    finally:
        app.sender = before
        broker.close()


@contextmanager
def immediate(app: App, now: float | None = None) -> Iterator[AppBroker]:
    """
    What C{app} submits runs at once, where it is submitted.  Retries and delays
    take no time: the clock is moved on instead.

    A handle that C{submit} gives has its result, or raises L{TaskFailed
    <taskqueue.errors.TaskFailed>} as it would in production.
    """
    broker = AppBroker(app, now)

    def submit_and_run(submission: Submission) -> TaskHandle:
        handle = broker.submit(submission)
        broker.run_until_ended(handle.id)
        return handle

    before, app.sender = app.sender, submit_and_run
    try:
        yield broker
    finally:
        app.sender = before
        broker.close()
