"""
What a task raised, as a verdict: what the broker is told of it.
"""

from __future__ import annotations

import asyncio
import traceback
from types import TracebackType

from twisted.internet.defer import CancelledError

from taskqueue.app.outcomes import (
    Discard,
    PermanentFailure,
    Retry,
    Snooze,
    TaskCancelled,
    Verdict,
)

#: Most characters of an error that are reported; of a traceback the end matters.
LONGEST_ERROR = 16 * 1024

#: Frames of these only lead to the function.
_LEADING = ("taskqueue.app.", "taskqueue.worker.", "twisted.")

_CANCELLED = (TaskCancelled, CancelledError, asyncio.CancelledError)


def verdict_of(
    error: BaseException,
    *,
    cancelled: bool,
    permanent: tuple[type[BaseException], ...] = (),
) -> Verdict:
    """
    What to tell of a task that raised C{error}.

    @param cancelled: whether somebody has asked to cancel it.
    @param permanent: what, besides L{PermanentFailure}, no retry can mend.
    """
    if isinstance(error, Snooze):
        return Verdict("released", delay_s=error.in_s)
    if isinstance(error, Retry):
        return Verdict("failed", error=str(error)[:LONGEST_ERROR], retry_in_s=error.in_s)
    if isinstance(error, Discard):
        text = "discarded" if error.reason == "discarded" else f"discarded: {error.reason}"
        return Verdict("failed", error=text[:LONGEST_ERROR], permanent=True)
    if cancelled and isinstance(error, _CANCELLED):
        return Verdict("cancelled")
    mended_by_none = isinstance(error, (PermanentFailure, *permanent))
    return Verdict("failed", error=error_text(error), permanent=mended_by_none)


def error_text(error: BaseException) -> str:
    """What went wrong in one line, then the end of the traceback; bounded."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    if frames is None:
        return summary[:LONGEST_ERROR]
    lines = "".join(traceback.format_exception(type(error), error, frames)).strip()
    summary = summary[: LONGEST_ERROR // 2]
    room = LONGEST_ERROR - len(summary) - 2
    if len(lines) > room:  # its end would be the end of a long message
        lines = "".join(traceback.format_tb(frames)).strip()
    return f"{summary}\n\n{lines[-room:]}"


def _is_ours(frames: TracebackType) -> bool:
    """Whether this frame only leads to the function."""
    module = str(frames.tb_frame.f_globals.get("__name__"))
    return module.startswith(_LEADING)
