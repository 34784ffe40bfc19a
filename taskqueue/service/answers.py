"""
Who waits for an answer.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

_T = TypeVar("_T", contravariant=True)


class Answer(Protocol[_T]):
    """Whatever waits until something is stored: a Deferred, or what costs less."""

    def callback(self, result: _T, /) -> None:
        """It is stored."""

    def errback(self, fail: Exception, /) -> None:
        """Nobody knows whether it is."""
