"""
C{twistd} for the pictures in the documents: a broker that looks back on a busy day,
though it was started a minute ago.

Its wall clock begins in the past, and goes on to the next of L{AGO_S} with each
SIGUSR2; deadlines and heartbeats, which have a clock of their own, do not notice.
With the last step it gets an hour of samples for its graphs, made up, that lead to
what its counters say then.
"""

from __future__ import annotations

import math
import random
import signal
import time
from array import array
from collections.abc import Iterator
from itertools import accumulate
from types import FrameType

from taskqueue.core.counters import BUCKETS_S, COUNTED
from taskqueue.service.history import FINE_S, FINE_SAMPLES, History, Sample, sample_of

#: How long ago it is at each step, seconds.
AGO_S = (93_600.0, 11_000.0, 2_500.0, 0.0, 0.0)

#: Events a minute in the hour before, on average.
PER_MINUTE = {"submitted": 790.0, "claimed": 790.0, "completed": 780.0, "failed": 9.0, "dead": 0.6}

#: Of what waits, low, normal and high, when the hour began.
BEGAN_WITH = (180, 25, 4)

_SEED = 20


class Past:
    """The clock of this process, and the histories that are in it."""

    def __init__(self) -> None:
        self.histories: list[History] = []
        self._real = time.time
        self._ahead = list(AGO_S)

    def now(self) -> float:
        """Seconds since 1970, as this broker has it."""
        return self._real() - self._ahead[0]

    def step(self, number: int, frame: FrameType | None) -> None:
        """Go on to the next moment; the last one stays."""
        if len(self._ahead) > 1:
            del self._ahead[0]
            if len(self._ahead) == 1:
                for history in self.histories:
                    remember(history)


def remember(history: History) -> None:
    """Put an hour before what there is now."""
    newest = sample_of(history._ledger, time.monotonic())
    history._fine.clear()
    history._coarse.clear()
    samples = list(hour_before(newest))
    history._fine.extend(samples)
    history._coarse.extend(samples[::6])


def hour_before(newest: Sample) -> Iterator[Sample]:
    """Samples that lead to C{newest}, oldest first."""
    dice = random.Random(_SEED)
    steps = FINE_SAMPLES - 1
    events = [_events(place / steps, dice) for place in range(steps)]
    totals = list(accumulate(events, _plus, initial=[0] * len(newest.numbers)))
    for place in range(steps):
        numbers = array("q", map(_still_to_come, newest.numbers, totals[-1], totals[place]))
        tiers = tuple(
            round(first + (last - first) * place / steps + 9 * math.sin(place / 11 + shift))
            for shift, (first, last) in enumerate(zip(BEGAN_WITH, newest.tiers, strict=True))
        )
        calm = tuple(max(0, waiting) for waiting in tiers)
        mono = newest.mono - FINE_S * (steps - place)
        busy = 9 + round(3 * math.sin(place / 17))
        yield Sample(mono, sum(calm), calm, busy, newest.workers, numbers)


def _still_to_come(now: int, all_of_it: int, until_then: int) -> int:
    """A counter is smaller by what had yet to happen: it may well be below zero."""
    return now - (all_of_it - until_then)


def _plus(total: list[int], more: list[int]) -> list[int]:
    return [one + other for one, other in zip(total, more, strict=True)]


def _events(part: float, dice: random.Random) -> list[int]:
    """What happens in one step, C{part} of the hour having gone by."""
    tide = 1 + 0.16 * math.sin(7 * part) + 0.07 * math.sin(31 * part)
    counts = {
        name: max(0, round(mean * FINE_S / 60 * tide * dice.gauss(1, 0.05) + dice.random() - 0.5))
        for name, mean in PER_MINUTE.items()
    }
    done = counts["completed"]
    long = done // 16
    waits = _plus(_spread(done - long, 0.002 * tide, 2.6, dice), _spread(long, 20.0, 2.0, dice))
    runs = _spread(done, 0.18, 1.9, dice)
    return [counts.get(name, 0) for name in COUNTED] + waits + runs


def _spread(number: int, median_s: float, factor: float, dice: random.Random) -> list[int]:
    """So many durations around a median, in the buckets of the counters."""
    counts = [0] * (len(BUCKETS_S) + 1)
    for _ in range(number):
        lasted_s = median_s * math.exp(dice.gauss(0, math.log(factor)))
        counts[sum(lasted_s > bound for bound in BUCKETS_S)] += 1
    return counts


def main() -> None:
    """Run C{twistd}, in the past at first."""
    past = Past()
    time.time = past.now
    signal.signal(signal.SIGUSR2, past.step)
    made = History.__init__

    def make(history: History, ledger: object) -> None:
        made(history, ledger)  # type: ignore[arg-type]  # it passes on what it gets
        past.histories.append(history)

    History.__init__ = make  # type: ignore[assignment,method-assign]  # to know them all
    from twisted.scripts.twistd import run  # the clock must be another one before

    run()


if __name__ == "__main__":
    main()
