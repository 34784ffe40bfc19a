"""
Kinds of arguments: spans of time, patterns, numbers or none.
"""

from __future__ import annotations

import math
import re
from typing import Any

import click

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", re.IGNORECASE | re.ASCII)


class Span(click.ParamType[float]):
    """A span of time: C{90}, C{90s}, C{15m}, C{2h}, C{7d}, C{1w}; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        found = _SPAN.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no span of time: write it as 90s, 15m, 2h, 7d or 1w")
        return float(found[1]) * _UNITS[found[2].lower()]


class Number(click.FloatRange):
    """A number within bounds, as C{click.FloatRange}, which takes C{nan} for any of them."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number: it has to be {self._describe_range()}", param, ctx)
        return number


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression."""

    name = "regex"

    def convert(self, value: Any, param: Any, ctx: Any) -> re.Pattern[str]:
        if isinstance(value, re.Pattern):
            return value
        try:
            return re.compile(str(value))
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}")


class NumberOrNone(click.ParamType[int]):
    """A number from 0 on, or the word C{none}, which is -1 here."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        if str(value).lower() == "none":
            return -1
        if not re.fullmatch(r"[0-9]{1,10}", str(value)):
            self.fail(f"{value!r} is neither a number from 0 on nor the word none")
        return int(value)


SPAN = Span()
PATTERN = Pattern()
NUMBER_OR_NONE = NumberOrNone()
