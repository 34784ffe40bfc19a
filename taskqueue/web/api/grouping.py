"""
Errors that are alike: the same but for numbers, ids and addresses.
"""

from __future__ import annotations

import re

#: The longest name of a group, characters.
LONGEST_GROUP = 200

#: As much of an error as is looked at: its first lines and its last.
_LOOKED_AT = 4000

_VARYING = re.compile(
    r"0x[0-9a-fA-F]+"
    r"|\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
    r"|\b(?=[a-f]*[0-9])[0-9a-f]{12,}\b"
    r"|[0-9]+(?:[.,:][0-9]+)*"
)


def group_of(error: str | None) -> str:
    """
    What errors that are alike have in common: the line that says what went
    wrong, with C{#} for what varies.
    """
    lines = [line for line in _ends(error or "").splitlines() if line.strip()]
    if not lines:
        return "no error"
    # Of a bare traceback, what went wrong is at the end.
    told = lines[-1] if lines[0].startswith("Traceback ") else lines[0]
    return _VARYING.sub("#", told.strip())[:LONGEST_GROUP]


def _ends(text: str) -> str:
    if len(text) <= 2 * _LOOKED_AT:
        return text
    return f"{text[:_LOOKED_AT]}\n{text[-_LOOKED_AT:]}"
