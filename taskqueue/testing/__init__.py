"""
For the tests of applications: their tasks without a network, and without waiting.

L{app_broker} has tasks go to a broker in this process, and runs them one by one
when the test says so; its time stands still until the test moves it.
L{immediate} runs each task as it is submitted.  See C{docs/tasks.md}.
"""

from taskqueue.testing.broker import AppBroker, Ran
from taskqueue.testing.modes import app_broker, immediate

__all__ = ["AppBroker", "Ran", "app_broker", "immediate"]
