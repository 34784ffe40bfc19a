"""
What PromQL expressions speak of, as far as that can be told without evaluating them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.registry import Collector

#: Labels that Prometheus adds to what it scrapes.
ADDED = frozenset({"instance", "job"})

_METRIC = re.compile(r"\b((?:taskqueue|process|python)_[a-z_]+|up\b)\s*(\{[^}]*\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_COMPARISON = re.compile(r"(==|!=|>=|<=|>|<)\s*([\d.]+)")


class Selector(NamedTuple):
    """
    One metric, and what its labels must be.

    @ivar labels: label to its operator and value.
    """

    metric: str
    labels: dict[str, tuple[str, str]]


def selectors(expression: str) -> list[Selector]:
    """Every metric in an expression."""
    return [
        Selector(name, {label: (op, value) for label, op, value in _MATCHER.findall(braces)})
        for name, braces in _METRIC.findall(expression)
    ]


def groupings(expression: str) -> set[str]:
    """The labels by which an expression groups and joins."""
    return {
        label.strip()
        for labels in _GROUPING.findall(expression)
        for label in labels.split(",")
        if label.strip()
    }


def comparisons(expression: str) -> list[tuple[str, float]]:
    """What an expression compares with: operators and numbers, in order."""
    bare = re.sub(r"\{[^}]*\}", "", expression)
    return [(op, float(number)) for op, number in _COMPARISON.findall(bare)]


def holds(comparison: tuple[str, float], value: float) -> bool:
    """Whether C{value} compares so."""
    op, number = comparison
    return {
        "==": value == number,
        "!=": value != number,
        ">": value > number,
        "<": value < number,
        ">=": value >= number,
        "<=": value <= number,
    }[op]


#: The values of each label of a metric, by name.
Known = dict[str, dict[str, set[str]]]


def known_metrics(registry: Collector) -> Known:
    """What there is to be spoken of, by the names of samples."""
    found: Known = {"up": {}}
    for family in registry.collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def unknown(expression: str, known: Known) -> Iterator[str]:
    """What an expression speaks of that is not there."""
    there: set[str] = set(ADDED)
    for metric, labels in selectors(expression):
        if metric not in known:
            yield f"there is no metric {metric}"
            continue
        there |= known[metric].keys()
        for label, (_, value) in labels.items():
            if label not in known[metric] and label not in ADDED:
                yield f"{metric} has no label {label}"
            if "$" in value or label in ADDED:
                continue
            # Words of ours must be words of ours: other values are the users'.
            yield from (
                f"{metric} has no {label} {word!r}"
                for word in value.split("|")
                if label in ("state", "frontend", "code") and word not in _words(label, known)
            )
    yield from (f"nothing has the label {label}" for label in groupings(expression) - there)


def _words(label: str, known: Known) -> set[str]:
    return {value for labels in known.values() for value in labels.get(label, ())}
