"""
What came of a contest, as Markdown, as plain data, and beside its goals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks.contest import (
    Contestant,
    Entry,
    Numbers,
    Race,
    Unavailable,
    Variant,
    advantage,
    median,
    summary,
)


class Goal(NamedTuple):
    """
    How many times as good as another row ours should be.

    @ivar style: the row's; an empty text for any.
    @ivar name: how the other row's name begins.
    """

    race: str
    style: str
    name: str
    at_least: float


class Verdict(NamedTuple):
    """A goal and what came of it."""

    goal: Goal
    entry: Entry
    reached: float


class Result(NamedTuple):
    """
    A race that was held.

    @ivar effort: how, in words.
    """

    race: Race
    entries: list[Entry]
    effort: str


#: Columns' headings, where the number's name says too little.
HEADINGS = {
    "server_cores": "server's cores",
    "generator_cores": "generator's cores",
    "server_us": "server's µs/task",
    "done_per_s": "done /s",
    "sync_ms": "disk's sync before, ms",
    **{
        f"{what}_{label}_ms": f"{words} {percent}, ms"
        for what, words in (("ack", "to ACK"), ("claimed", "to claimed"))
        for label, percent in (("p50", "50 %"), ("p99", "99 %"), ("p999", "99.9 %"))
    },
}


def figure(value: float) -> str:
    """Three digits, as many as are worth reading."""
    if value != value:  # not a number
        return ""
    size = abs(value)
    if size >= 1000:
        return f"{round(value, 2 - len(str(int(size))) + 1):,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 or not value else f"{value:.3f}"


def worded(variant: Variant) -> str:
    """What took part, in words."""
    return ", ".join(
        f"{name} {value}" if isinstance(value, int) else str(value)
        for name, value in variant.items()
    )


def middle(rounds: Sequence[Numbers], name: str) -> str:
    """The median of one number, if there is one."""
    found = summary(list(rounds), name)
    return figure(found.median) if found else ""


def markdown_row(race: Race, entry: Entry, entries: Iterable[Entry]) -> list[str]:
    """The cells of one contestant."""
    who = entry.contestant
    result = summary(entry.rounds, race.metric)
    if result is None:
        return [who.name, who.promise, "", entry.failure.replace("\n", " ")[:200], "", ""]
    ratio = advantage(race, entry, entries)
    return [
        who.name,
        who.promise,
        worded(entry.variant),
        f"**{figure(result.median)}**",
        f"{figure(result.low)} - {figure(result.high)}",
        f"{figure(ratio)}x" if ratio is not None else "",
        *(middle(entry.rounds, column) for column in race.columns),
    ]


def markdown(result: Result) -> str:
    """The tables of a race, one a style."""
    race, entries, effort = result
    parts = [f"### {race.title}", "", " ".join(filter(None, (race.note, effort))), ""]
    heads = ["", "what an answer means", "with", race.unit, "range", "taskqueue is"]
    heads += [HEADINGS.get(column, column.replace("_", " ")) for column in race.columns]
    for style in dict.fromkeys(entry.contestant.style for entry in entries):
        rows = [each for each in entries if each.contestant.style == style]
        parts += [f"*{style}*", ""] if style else []
        parts += table(heads, [markdown_row(race, entry, entries) for entry in rows])
        parts.append("")
    return "\n".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, without the columns in which nothing stands."""
    kept = [at for at in range(len(heads)) if any(at < len(row) and row[at] for row in rows)]
    return [
        line([heads[at] for at in kept]),
        line(["---" if at < 3 else "---:" for at in kept]),
        *(line([row[at] if at < len(row) else "" for at in kept]) for row in rows),
    ]


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def settings_markdown(results: Iterable[Result]) -> str:
    """Each server's settings, once; an empty text where nobody has any."""
    known = {
        entry.contestant.name.partition(",")[0]: entry.contestant.settings
        for result in results
        for entry in result.entries
        if entry.contestant.settings
    }
    rows = [[name, f"`{settings}`"] for name, settings in known.items()]
    return "\n".join(table(["", "settings"], rows)) + "\n" if rows else ""


def verdicts(race: Race, entries: Sequence[Entry], goals: Iterable[Goal]) -> list[Verdict]:
    """What came of the goals of a race; those whose rows did not take part are left out."""
    found = []
    for goal in goals:
        for entry in entries:
            who = entry.contestant
            if goal.race != race.key or not who.name.startswith(goal.name):
                continue
            ratio = advantage(race, entry, entries)
            if ratio is not None and goal.style in ("", who.style):
                found.append(Verdict(goal, entry, ratio))
    return found


def goals_markdown(found: Sequence[Verdict]) -> str:
    """The goals in a table."""
    rows = [["", "", "goal", "reached", ""], ["---", "---", "---:", "---:", "---"]]
    for goal, entry, reached in found:
        who = entry.contestant
        met = "yes" if reached >= goal.at_least else "no"
        rows.append([who.name, who.style, f"{goal.at_least:.2g}x", f"{figure(reached)}x", met])
    return "\n".join(line(row) for row in rows) + "\n"


def restored(data: dict[str, Any]) -> Result:
    """What L{plain} made data of; its contestants cannot run again."""
    race = Race(**{name: data[name] for name in Race._fields})
    entries = []
    for row in data["entries"]:
        who = Contestant(
            race.key, row["name"], row["style"], row["promise"], _gone, settings=row["settings"]
        )
        tried = [(each["variant"], each["reached"]) for each in row["tried"]]
        entries.append(Entry(who, row["variant"], row["rounds"], tried, row["failure"]))
    return Result(race._replace(columns=tuple(race.columns)), entries, data["effort"])


def _gone(variant: Variant, seconds: float) -> Numbers:
    raise Unavailable("this was measured before")


def plain(result: Result) -> dict[str, Any]:
    """A race as data."""
    race, entries, effort = result
    return {
        **race._asdict(),
        "effort": effort,
        "entries": [
            {
                "name": entry.contestant.name,
                "style": entry.contestant.style,
                "promise": entry.contestant.promise,
                "settings": entry.contestant.settings,
                "variant": entry.variant,
                "tried": [{"variant": variant, "reached": v} for variant, v in entry.tried],
                "median": median(race, entry) if entry.rounds else None,
                "advantage": advantage(race, entry, entries),
                "rounds": entry.rounds,
                "failure": entry.failure,
            }
            for entry in entries
        ],
    }
