"""The task of RQ, which imports it by name."""

from __future__ import annotations


def noop() -> None:
    """Nothing."""
