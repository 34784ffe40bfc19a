"""
What the command ends with, for scripts.
"""

from __future__ import annotations

OK = 0
REFUSED = 1
USAGE = 2
CANNOT_CONNECT = 3
TIMED_OUT = 4
OVER_LIMIT = 5
DIFFERS = 6
INTERRUPTED = 130

#: Number, name and meaning of each exit status.
MEANINGS: tuple[tuple[int, str, str], ...] = (
    (OK, "OK", "all is well"),
    (REFUSED, "REFUSED", "the broker refused, a task is unknown or failed, a line was bad"),
    (USAGE, "USAGE", "the command line is wrong"),
    (CANNOT_CONNECT, "CANNOT_CONNECT", "there is no connection to the broker"),
    (TIMED_OUT, "TIMED_OUT", "no answer, or no end of what was waited for, within the time-out"),
    (OVER_LIMIT, "OVER_LIMIT", "a queue is deeper than `queue-depth --above` allows"),
    (DIFFERS, "DIFFERS", "the audit found differences"),
    (INTERRUPTED, "INTERRUPTED", "Ctrl-C, or SIGTERM"),
)
