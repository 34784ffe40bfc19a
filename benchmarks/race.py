"""
The races: everyone side by side on one machine, in rounds that are interleaved.

C{make bench} runs all of them; C{make bench RACES="durable memory"} some.  What came
of it goes to build/bench: results.json, table.md, and plots.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.contest import Contestant, Entry, Race, hold
from benchmarks.install import ROOT, install, peers_python
from benchmarks.machine import machine, versions
from benchmarks.servers import DATA
from benchmarks.tables import (
    Goal,
    Result,
    goals_markdown,
    markdown,
    plain,
    restored,
    settings_markdown,
    verdicts,
)

OUTPUT = ROOT / "build" / "bench"
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"

#: Between these lines of the page stands what was measured last.
BEGIN, END = "<!-- races: begin -->", "<!-- races: end -->"

#: Each has C{RACES} and C{contestants(quick)}.
MODULES = (
    "benchmarks.throughput",
    "benchmarks.latency",
    "benchmarks.frameworks",
    "benchmarks.limits",
    "benchmarks.scale",
)

_BATCHES = "pipelined, batches"

#: How many times as good as the others taskqueue should be.
GOALS = (
    Goal("durable", _BATCHES, "Redis", 2),
    Goal("durable", _BATCHES, "beanstalkd", 15),
    Goal("durable", _BATCHES, "RabbitMQ", 10),
    Goal("durable", _BATCHES, "NATS", 10),
    Goal("durable", "one request at a time, one connection", "beanstalkd", 1 / 1.5),
    Goal("relaxed", _BATCHES, "", 1.5),
    Goal("memory", _BATCHES, "beanstalkd", 2),
    Goal("memory", "one request at a time, one connection", "beanstalkd", 1 / 1.5),
    Goal("frameworks", "", "", 5),
    Goal("latency", "1,000 tasks/s", "the machine's floor", 1 / 3),
    Goal("limits", "", "", 1 / 2),
)


class Effort(NamedTuple):
    """
    How long it may take.

    @ivar seconds: of one measurement.
    @ivar tune_s: of one try before the rounds.
    """

    rounds: int
    seconds: float
    tune_s: float


THOROUGH = Effort(5, 4.0, 1.5)
QUICK = Effort(1, 1.0, 0.5)


class Field(NamedTuple):
    """A race and who takes part."""

    race: Race
    contestants: list[Contestant]


def fields(quick: bool) -> dict[str, Field]:
    """Every race by its key."""
    found: dict[str, Field] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        everyone: list[Contestant] = module.contestants(quick)
        for race in module.RACES:
            found[race.key] = Field(race, [who for who in everyone if who.race == race.key])
    return found


def only(contestants: Iterable[Contestant], words: list[str]) -> list[Contestant]:
    """Ours, and those whose names or styles hold one of the words."""
    return [
        who
        for who in contestants
        if not words or any(word.lower() in f"{who.name} {who.style}".lower() for word in words)
    ]


def untuned(contestant: Contestant) -> Contestant:
    """One with its middle variant only, which is a fair guess."""
    variants = contestant.variants
    return contestant._replace(variants=(variants[len(variants) // 2],))


def run(field: Field, effort: Effort, quick: bool) -> list[Entry]:
    """Hold a race."""
    contestants = [untuned(who) for who in field.contestants] if quick else field.contestants
    return hold(
        field.race, contestants, effort.rounds, effort.seconds, effort.tune_s,
        lambda text: print(text, flush=True),
    )  # fmt: skip


# --- what came of it --------------------------------------------------------------


def page(results: list[Result], about: dict[str, str]) -> str:
    """All tables."""
    parts = [f"{about['when']}; {about['machine']}. {about['versions']}.", ""]
    found = [each for race, entries, _ in results for each in verdicts(race, entries, GOALS)]
    if found:
        parts += ["### Against the goals", "", goals_markdown(found)]
    parts += map(markdown, results)
    parts += ["### Settings", "", settings_markdown(results)]
    return "\n".join(parts)


def in_words(effort: Effort) -> str:
    """How a race was held."""
    rounds = "One round" if effort.rounds == 1 else f"{effort.rounds} rounds, interleaved,"
    return f"{rounds} of {effort.seconds:g} s."


def here() -> dict[str, str]:
    """When and where, and everybody's version."""
    known = versions().items()
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(DATA),
        "versions": ", ".join(f"{name} {version or 'missing'}" for name, version in known),
    }


def before(folder: Path) -> list[Result]:
    """What earlier runs wrote."""
    path = folder / "results.json"
    return (
        [restored(data) for data in json.loads(path.read_text())["races"]] if path.exists() else []
    )


def written(results: list[Result], folder: Path) -> str:
    """Write the results as data and as tables; the tables."""
    about = here()
    folder.mkdir(parents=True, exist_ok=True)
    races = [plain(result) for result in results]
    (folder / "results.json").write_text(json.dumps({**about, "races": races}, indent=1))
    tables = page(results, about)
    (folder / "table.md").write_text(tables)
    return tables


def plot(folder: Path) -> None:
    """Draw what was written, in the environment that can."""
    for old in (*folder.glob("*.svg"), *folder.glob("*.png")):
        old.unlink()
    command = [str(peers_python()), "-m", "benchmarks.plots", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)


def published(text: str, tables: str) -> str:
    """
    A page with new tables between its marks.

    @raises ValueError: if the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{begin}\n\n{tables.strip()}\n\n{end}{after}"


def publish(tables: str, folder: Path) -> None:
    """Put the tables into the page, and beside it the plots that it shows."""
    text = published(PAGE.read_text(), tables)
    PAGE.write_text(text)
    for picture in folder.glob("*.svg"):
        name = f"race-{picture.name}"
        if name in text:
            shutil.copy(picture, IMAGES / name)


def arguments(known: Iterable[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("races", nargs="*", help=f"all, or some of: {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing tuned")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one measurement")
    parser.add_argument("--tune", type=float, dest="tune_s", help="seconds of a try before")
    parser.add_argument("--only", nargs="+", default=[], help="rows with one of these words")
    parser.add_argument("--no-install", action="store_true", help="take what is there")
    parser.add_argument("--add", action="store_true", help="keep the last run's other races")
    parser.add_argument("--report", action="store_true", help="only show the last run's again")
    parser.add_argument("--publish", action="store_true", help="into docs/ too")
    options = parser.parse_args()
    unknown = set(options.races) - set(known)
    if unknown:
        parser.error(f"there is no race {', '.join(sorted(unknown))}")
    return options


def measured(options: argparse.Namespace) -> list[Result]:
    """Hold the races that are asked for, and write each down as soon as it is over."""
    effort = QUICK if options.quick else THOROUGH
    effort = effort._replace(
        **{name: value for name in Effort._fields if (value := getattr(options, name))}
    )
    known = fields(options.quick)
    results = {each.race.key: each for each in before(OUTPUT)} if options.add else {}
    ordered: list[Result] = []
    for key in options.races or known:
        race, everyone = known[key]
        entries = run(Field(race, only(everyone, options.only)), effort, options.quick)
        results[key] = Result(race, entries, in_words(effort))
        ordered = [results[each] for each in known if each in results]
        written(ordered, OUTPUT)
    return ordered


def main() -> None:
    """Do what the command line says."""
    options = arguments(fields(quick=False))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no server outlives the race
    if not options.no_install and not options.report:
        install()
    peers_python()
    results = before(OUTPUT) if options.report else measured(options)
    if not results:
        raise SystemExit("nothing was measured yet")
    tables = written(results, OUTPUT)
    print(f"\n{tables}")
    plot(OUTPUT)
    if options.publish:
        publish(tables, OUTPUT)
    print(f"in {OUTPUT.relative_to(ROOT)}: {', '.join(sorted(p.name for p in OUTPUT.glob('*.*')))}")


if __name__ == "__main__":
    main()
