"""
How a client introduces itself, and what the broker may say to that.
"""

from __future__ import annotations

from taskqueue import __version__
from taskqueue.client.credentials import ApiKey
from taskqueue.errors import HelloRequired, TaskQueueError, Unauthenticated, UnsupportedVersion
from taskqueue.wire import Header

VERSIONS = (1,)

#: What no repetition can mend.
_FOR_GOOD = (UnsupportedVersion, HelloRequired)


def hello(name: str, key: ApiKey | None) -> Header:
    """
    The header of HELLO.

    @param name: what the client calls itself.
    @raises BadRequest: the key cannot be read now.
    """
    header: Header = {"versions": list(VERSIONS), "client": f"{name}/{__version__}"}
    text = None if key is None else key.read()
    if text is not None:
        header["key"] = text
    return header


def ends_for_good(error: TaskQueueError, greeted: bool) -> bool:
    """
    Whether it is of no use to connect again.

    @param error: why a connection ended.
    @param greeted: the broker had let this client in: then its key was good, and may have
        been replaced by another one that is.
    """
    return isinstance(error, _FOR_GOOD if greeted else (*_FOR_GOOD, Unauthenticated))
