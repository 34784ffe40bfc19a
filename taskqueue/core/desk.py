"""
The desk that workers come to.
"""

from __future__ import annotations

from taskqueue.core.handout import HandOut
from taskqueue.core.results import Results


class Desk(HandOut, Results):
    """The desk at which tasks are claimed and results handed in."""
