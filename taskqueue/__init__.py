"""
taskqueue: a task-queue broker on Twisted that does not lose tasks.

What applications use is here by name, and imported when it is first asked for.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskqueue.app.application import App
    from taskqueue.app.context import Context
    from taskqueue.app.outcomes import Discard, PermanentFailure, Retry, Snooze
    from taskqueue.client.blocking import connect

__version__ = "0.1.0"

__all__ = [
    "App",
    "Context",
    "Discard",
    "PermanentFailure",
    "Retry",
    "Snooze",
    "__version__",
    "connect",
]

_PLACES = {
    "App": "taskqueue.app.application",
    "Context": "taskqueue.app.context",
    "Discard": "taskqueue.app.outcomes",
    "PermanentFailure": "taskqueue.app.outcomes",
    "Retry": "taskqueue.app.outcomes",
    "Snooze": "taskqueue.app.outcomes",
    "connect": "taskqueue.client.blocking",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
