"""
Celery over this broker: messages by L{taskqueue.contrib.kombu}, and results here.

Importing this makes C{taskqueue://} and, with TLS, C{taskqueues://} known to Celery, for its
broker and for its results::

    import taskqueue.contrib.celery

    app = Celery("proj", broker="taskqueue://127.0.0.1:7780", backend="taskqueue://127.0.0.1:7780")

See docs/howto/celery.md.
"""

from __future__ import annotations

from celery.app.backends import BACKEND_ALIASES

from taskqueue.contrib.celery.backend import Backend
from taskqueue.contrib.kombu import register as register_transport
from taskqueue.contrib.kombu.transport import SCHEMES

__all__ = ["Backend", "register"]


def register() -> None:
    """Make Celery know the schemes; importing this package has done so."""
    register_transport()
    for scheme in SCHEMES:
        BACKEND_ALIASES[scheme] = "taskqueue.contrib.celery.backend:Backend"


register()
