"""
Metric families as the Prometheus client library has them, from plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from taskqueue.core.counters import Histogram

#: Label values of one sample, in the order of the family's label names.
Labels = Sequence[str]

#: Bounds of buckets to what they are called, which is asked for again and again.
_BOUND_NAMES: dict[tuple[float, ...], list[str]] = {}


def gauge(
    name: str, meaning: str, labels: Labels, samples: Iterable[tuple[Labels, float]]
) -> Metric:
    """A family of numbers that go up and down."""
    family = GaugeMetricFamily(name, meaning, labels=labels, unit=_unit(name))
    for values, number in samples:
        family.add_metric(values, number)
    return family


def counter(
    name: str, meaning: str, labels: Labels, samples: Iterable[tuple[Labels, float]]
) -> Metric:
    """
    A family of numbers that only grow.

    @param name: with the ending C{_total}.
    """
    base = name.removesuffix("_total")
    family = CounterMetricFamily(base, meaning, labels=labels, unit=_unit(base))
    for values, number in samples:
        family.add_metric(values, number)
    return family


def histogram(
    name: str,
    meaning: str,
    labels: Labels,
    samples: Iterable[tuple[Labels, Histogram]],
    exemplars: Mapping[Any, Mapping[int, Exemplar]] | None = None,
) -> Metric:
    """
    A family of distributions.

    @param exemplars: by label values, then by the number of the bucket.
    """
    family = HistogramMetricFamily(name, meaning, labels=labels, unit=_unit(name))
    for values, found in samples:
        given = (exemplars or {}).get(tuple(values), {})
        buckets = [
            (bound, count, given[number]) if number in given else (bound, count)
            for number, (bound, count) in enumerate(
                zip(_bound_names(found.bounds), accumulate(found.counts), strict=True)
            )
        ]
        family.add_metric(values, buckets, found.total)
    return family


def _unit(name: str) -> str:
    """The unit that OpenMetrics is told of: where the name ends in one."""
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "bytes") else ""


def _bound_names(bounds: tuple[float, ...]) -> list[str]:
    names = _BOUND_NAMES.get(bounds)
    if names is None:
        names = _BOUND_NAMES[bounds] = [*map(floatToGoString, bounds), "+Inf"]
    return names
