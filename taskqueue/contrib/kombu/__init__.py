"""
A transport of kombu's: Celery, and whatever else speaks kombu, over this broker.

Importing this makes C{taskqueue://} and, with TLS, C{taskqueues://} schemes that kombu knows::

    import taskqueue.contrib.kombu

    app = Celery("proj", broker="taskqueue://127.0.0.1:7780")

See docs/howto/celery.md.
"""

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES

from taskqueue.contrib.kombu.channel import Channel
from taskqueue.contrib.kombu.transport import SCHEMES, Transport

__all__ = ["Channel", "Transport", "register"]

_TRANSPORT = "taskqueue.contrib.kombu.transport:Transport"


def register() -> None:
    """Make kombu know the schemes of this transport; importing this package has done so."""
    for scheme in SCHEMES:
        TRANSPORT_ALIASES[scheme] = _TRANSPORT


register()
