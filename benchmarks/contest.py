"""
A contest: who takes part, rounds that are interleaved, and what comes of them.
"""

from __future__ import annotations

import statistics
import subprocess
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Numbers = dict[str, float]
Variant = dict[str, Any]

#: Whose figures the others' are compared with.
OURS = "taskqueue"


class Unavailable(Exception):
    """A peer cannot be installed or started here; the text says why."""


class Race(NamedTuple):
    """
    What is compared.

    @ivar key: its name on the command line.
    @ivar metric: the number that decides.
    @ivar columns: other numbers worth a column.
    """

    key: str
    title: str
    metric: str
    unit: str
    higher_is_better: bool = True
    note: str = ""
    columns: tuple[str, ...] = ()


class Contestant(NamedTuple):
    """
    One row of a race's table.

    @ivar race: the race's key.
    @ivar style: rows of one style are compared with each other.
    @ivar promise: what an answer of it means.
    @ivar measure: one round, with a variant and so many seconds.
    @ivar variants: what is tried before the rounds; the best one takes part.
    @ivar settings: the server's, in its own words.
    """

    race: str
    name: str
    style: str
    promise: str
    measure: Callable[[Variant, float], Numbers]
    variants: tuple[Variant, ...] = ({},)
    settings: str = ""


class Entry(NamedTuple):
    """
    What came of a contestant.

    @ivar variant: the one that took part.
    @ivar tried: each variant, and what it reached.
    @ivar failure: why there are no rounds, or fewer.
    """

    contestant: Contestant
    variant: Variant
    rounds: list[Numbers]
    tried: list[tuple[Variant, float]]
    failure: str = ""


class Summary(NamedTuple):
    """Rounds in brief."""

    median: float
    low: float
    high: float


def summary(rounds: list[Numbers], metric: str) -> Summary | None:
    """What C{metric} was like, or None where no round has it."""
    values = [numbers[metric] for numbers in rounds if metric in numbers]
    if not values:
        return None
    return Summary(statistics.median(values), min(values), max(values))


def median(race: Race, entry: Entry) -> float:
    """What decides; only for one that has rounds."""
    return statistics.median(numbers[race.metric] for numbers in entry.rounds)


def baseline(race: Race, entry: Entry, entries: Iterable[Entry]) -> Entry | None:
    """
    Our row that C{entry} is compared with: the best one of its style, of those with
    its promise where there are any.  (What follows a semicolon in a promise is what it
    keeps less of it.)
    """
    ours = [
        other
        for other in entries
        if other.contestant.name.startswith(OURS)
        and other.contestant.style == entry.contestant.style
        and other.rounds
    ]
    promise = _in_short(entry.contestant)
    alike = [other for other in ours if _in_short(other.contestant) == promise]
    comparable = alike or ours
    if not comparable:
        return None
    choose = max if race.higher_is_better else min
    return choose(comparable, key=lambda each: median(race, each))


def _in_short(contestant: Contestant) -> str:
    return contestant.promise.partition(";")[0]


def advantage(race: Race, entry: Entry, entries: Iterable[Entry]) -> float | None:
    """How many times as good as C{entry} our comparable row is, by the medians."""
    ours = baseline(race, entry, entries)
    if ours is None or entry.contestant.name.startswith(OURS) or not entry.rounds:
        return None
    own, theirs = median(race, ours), median(race, entry)
    if not own or not theirs:
        return None
    return own / theirs if race.higher_is_better else theirs / own


# --- holding it -------------------------------------------------------------------


def reason(error: Exception) -> str:
    """Why a contestant failed, in a line or a few."""
    if isinstance(error, Unavailable):
        return str(error)
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr).strip()[-2000:]
    return "".join(traceback.format_exception_only(error)).strip()


def tuned(
    race: Race, contestant: Contestant, seconds: float, say: Callable[[str], None]
) -> list[tuple[Variant, float]]:
    """
    Every variant and what it reaches, the best one first.  One that fails is left
    out, unless they all do.

    @raises Exception: what the last one raised, if they all failed.
    """
    if len(contestant.variants) == 1:
        return [(contestant.variants[0], 0.0)]
    reached: list[tuple[Variant, float]] = []
    failure: Exception | None = None
    for variant in contestant.variants:
        try:
            value = contestant.measure(variant, seconds)[race.metric]
        except Unavailable:
            raise
        except Exception as error:
            failure = error
            say(f"  {contestant.name}, {variant}: {reason(error)}")
        else:
            reached.append((variant, value))
    if failure is not None and not reached:
        raise failure
    return sorted(reached, key=lambda each: each[1], reverse=race.higher_is_better)


def enter(race: Race, contestant: Contestant, seconds: float, say: Callable[[str], None]) -> Entry:
    """A contestant with the variant that suits it; it failed where none works."""
    try:
        tried = tuned(race, contestant, seconds, say)
    except Exception as error:
        say(f"  {contestant.name}: {reason(error)}")
        return Entry(contestant, {}, [], [], reason(error))
    return Entry(contestant, tried[0][0], [], tried)


def hold(
    race: Race,
    contestants: Iterable[Contestant],
    rounds: int,
    seconds: float,
    tune_s: float,
    say: Callable[[str], None],
) -> list[Entry]:
    """
    Every contestant in every round; one that fails in one is left out of the rest.

    @param seconds: how long one measures.
    @param tune_s: how long it is tried with each variant before.
    """
    say(f"{race.key}: trying what suits whom")
    entries = [enter(race, contestant, tune_s, say) for contestant in contestants]
    for number in range(rounds):
        for index, entry in enumerate(entries):
            if entry.failure:
                continue
            who = entry.contestant
            try:
                numbers = who.measure(entry.variant, seconds)
            except Exception as error:
                entries[index] = entry._replace(failure=reason(error))
                say(f"{race.key} {number + 1}/{rounds}: {who.name}: {reason(error)}")
            else:
                entry.rounds.append(numbers)
                value = numbers[race.metric]
                say(f"{race.key} {number + 1}/{rounds}: {who.name} ({who.style}): {value:,.4g}")
    return entries
