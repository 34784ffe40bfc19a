"""
Run the tests with trial and say at the very end, alone on a line, what came of
them: C{12 passed, 0 failed}, or C{12 passed, 0 failed, 3 skipped}.

The exit status is trial's own; it is never zero after a failure, after a run
that did not reach its summary, or after a run without a single test.  With
C{--coverage} the package is measured, child processes included, and a total
below C{--fail-under} fails the run too.

With several C{--jobs}, the tests in a browser run beside the others and one by one:
each process that runs some of them starts a browser, a broker and its workers.  What
they print is shown when the others have ended.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

#: Trial's last line, such as C{FAILED (skips=1, failures=2, successes=40)}.
_SUMMARY = re.compile(r"(?:PASSED|FAILED)(?: \((?P<counts>[^()]*)\))?\s*")
_COUNT = re.compile(r"(\w+)=(\d+)")

#: The tests that run one by one, however many jobs there are.
SERIAL = "tests.browser"

_PASSED = ("successes", "expectedFailures")
_FAILED = ("failures", "errors", "unexpectedSuccesses")
_SKIPPED = ("skips",)


class Outcome(NamedTuple):
    """How many tests passed, failed and were skipped."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        line = f"{self.passed} passed, {self.failed} failed"
        return f"{line}, {self.skipped} skipped" if self.skipped else line


def read_summary(line: str) -> Outcome | None:
    """
    What trial's summary line says.

    @return: C{None} where C{line} is not a summary.
    """
    match = _SUMMARY.fullmatch(line)
    if match is None:
        return None
    counts = {name: int(number) for name, number in _COUNT.findall(match["counts"] or "")}
    return Outcome(
        *(sum(counts.get(name, 0) for name in names) for names in (_PASSED, _FAILED, _SKIPPED))
    )


def exit_status(status: int, outcome: Outcome | None) -> tuple[int, str | None]:
    """
    The status of the whole run, given trial's own and its summary.

    @return: the status, and what was wrong where the summary does not tell.
    """
    if outcome is None:
        return status or 1, "The test run ended without a summary."
    if outcome.failed:
        return status or 1, None
    if not outcome.passed and not outcome.skipped:
        return status or 1, "Not a single test was run."
    return status, None


def follow(lines: Iterable[str], write: Callable[[str], object]) -> Outcome | None:
    """Pass on what trial prints, line by line; return its last summary."""
    outcome: Outcome | None = None
    for line in lines:
        write(line)
        outcome = read_summary(line) or outcome
    return outcome


def everything_else(root: Path = ROOT) -> list[str]:
    """The names of all tests of the checkout, package by package, but those in L{SERIAL}."""
    modules = {f"tests.{path.stem}" for path in root.glob("tests/test_*.py")}
    packages = {f"tests.{path.parent.name}" for path in root.glob("tests/*/__init__.py")}
    return sorted((modules | packages) - {SERIAL})


def shares(names: Sequence[str], jobs: int) -> list[tuple[int, list[str]]]:
    """
    What to run at the same time, with how many jobs each.

    Where C{names} has options of trial's too, nothing is known about what they mean,
    and all of it is one run.
    """
    if jobs <= 1 or any(name.startswith("-") for name in names):
        return [(jobs, list(names))]
    together: list[str] = []
    alone: list[str] = []
    for name in names:
        if name == "tests":
            together += everything_else()
            alone.append(SERIAL)
        else:
            (alone if f"{name}.".startswith(f"{SERIAL}.") else together).append(name)
    return [(count, share) for count, share in ((jobs, together), (1, alone)) if share]


def run_shares(
    names: Sequence[str], jobs: int, measure: Sequence[str]
) -> tuple[int, list[Outcome]]:
    """
    Run the tests.  The first share's lines are shown as they come, those of another one
    when it and all before it have ended.

    @param measure: what comes between the interpreter and trial.
    @return: the first bad status, and the outcome of each share; one without a summary failed.
    """
    status = 0
    outcomes: list[Outcome] = []
    for run, lines in start_shares(shares(names, jobs), measure):
        ended, outcome = run.result()
        show("".join(lines))
        ended, complaint = exit_status(ended, outcome)
        if complaint:
            print(complaint, file=sys.stderr, flush=True)
        status = status or ended
        outcomes.append(outcome or Outcome(0, 1, 0))
    return status, outcomes


def start_shares(
    found: Sequence[tuple[int, list[str]]], measure: Sequence[str]
) -> list[tuple[Future[tuple[int, Outcome | None]], list[str]]]:
    """
    Start a run of trial for each share.

    @return: for each, what will come of it, and its lines that were not shown yet.
    """
    pool = ThreadPoolExecutor(len(found))
    begun: list[tuple[Future[tuple[int, Outcome | None]], list[str]]] = []
    for count, share in found:
        trial = ["-m", "twisted.trial", *(["-j", str(count)] if count > 1 else [])]
        kept: list[str] = []
        command = [sys.executable, *measure, *trial, *share]
        begun.append((pool.submit(run_trial, command, kept.append if begun else show), kept))
    return begun


def show(text: str) -> None:
    """Print it at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def run_trial(command: Sequence[str], write: Callable[[str], object]) -> tuple[int, Outcome | None]:
    """Run C{command} in the root of the checkout, passing on what it prints."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None  # it is a pipe
    with process.stdout:
        outcome = follow(process.stdout, write)
    return process.wait(), outcome


def coverage(*arguments: str) -> int:
    """Run one step of coverage.py and return its exit status."""
    sys.stdout.flush()
    return subprocess.call([sys.executable, "-m", "coverage", *arguments], cwd=ROOT)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; what names no option of ours is trial's."""
    parser = argparse.ArgumentParser(description="Run the tests and say what came of them.")
    parser.add_argument("--jobs", type=int, default=3, help="processes that share the tests")
    parser.add_argument("--coverage", action="store_true", help="measure what the tests reach")
    parser.add_argument("--fail-under", type=float, default=0, metavar="PERCENT")
    parser.add_argument("trial", nargs="*", default=["tests"], metavar="TEST", help="what to run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run, report, and return the exit status."""
    options = parse(arguments)
    if options.coverage:
        coverage("erase")
    measure = ["-m", "coverage", "run"] if options.coverage else []
    status, outcomes = run_shares(options.trial, options.jobs, measure)
    if options.coverage:
        combined = coverage("combine", "--quiet")
        reported = coverage("report", f"--fail-under={options.fail_under:g}")
        status = status or combined or reported
    print(Outcome(*map(sum, zip(*outcomes, strict=True))), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
