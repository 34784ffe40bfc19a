"""
The test runner's verdict: what a failing, empty or broken run makes of it.
"""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

RUNNER = Path(__file__).resolve().parent.parent / "tools" / "run_tests.py"

_spec = spec_from_file_location("run_tests", RUNNER)
assert _spec is not None and _spec.loader is not None
run_tests = module_from_spec(_spec)
_spec.loader.exec_module(run_tests)
Outcome = run_tests.Outcome


class SummaryTests(SynchronousTestCase):
    def test_counts_are_read(self) -> None:
        for line, expected in (
            ("PASSED (successes=3)\n", Outcome(3, 0, 0)),
            ("PASSED (skips=2, successes=3)\n", Outcome(3, 0, 2)),
            ("FAILED (failures=1, errors=2, successes=4)\n", Outcome(4, 3, 0)),
            ("FAILED (unexpectedSuccesses=1, expectedFailures=2)\n", Outcome(2, 1, 0)),
            ("PASSED\n", Outcome(0, 0, 0)),
        ):
            self.assertEqual(run_tests.read_summary(line), expected)

    def test_other_lines_are_no_summary(self) -> None:
        for line in ("PASSED the gate\n", "Ran 3 tests in 0.1s\n", "  PASSED (successes=3)\n", ""):
            self.assertIsNone(run_tests.read_summary(line))

    def test_the_last_summary_counts(self) -> None:
        """A test may print the summary of a run of its own."""
        printed: list[str] = []
        lines = ["PASSED (successes=1)\n", "[FAIL]\n", "FAILED (failures=1)\n", "\n"]
        self.assertEqual(run_tests.follow(lines, printed.append), Outcome(0, 1, 0))
        self.assertEqual(printed, lines)

    def test_the_line_names_skips_only_where_there_are_some(self) -> None:
        self.assertEqual(str(Outcome(3, 1, 0)), "3 passed, 1 failed")
        self.assertEqual(str(Outcome(3, 0, 2)), "3 passed, 0 failed, 2 skipped")


class ExitStatusTests(SynchronousTestCase):
    def test_success(self) -> None:
        self.assertEqual(run_tests.exit_status(0, Outcome(3, 0, 1)), (0, None))

    def test_nothing_bad_passes(self) -> None:
        for status, outcome in (
            (0, None),
            (0, Outcome(3, 1, 0)),
            (0, Outcome(0, 0, 0)),
            (1, Outcome(3, 0, 0)),
            (-11, Outcome(3, 0, 0)),
        ):
            self.assertNotEqual(run_tests.exit_status(status, outcome)[0], 0, (status, outcome))


class SharesTests(SynchronousTestCase):
    """What runs side by side, and what one by one."""

    def test_the_whole_suite(self) -> None:
        (jobs, others), alone = run_tests.shares(["tests"], 8)
        self.assertEqual((jobs, alone), (8, (1, ["tests.browser"])))
        self.assertNotIn("tests.browser", others)
        self.assertLess({"tests.core", "tests.web", "tests.test_run_tests"}, set(others))

    def test_names(self) -> None:
        for names, expected in (
            (["tests.core", "tests.browser.test_kit"], [(2, ["tests.core"]), (1, names_of("kit"))]),
            (["tests.browser"], [(1, ["tests.browser"])]),
            (["tests.browsers"], [(2, ["tests.browsers"])]),
            (["--until-failure", "tests.browser"], [(2, ["--until-failure", "tests.browser"])]),
        ):
            self.assertEqual(run_tests.shares(names, 2), expected)

    def test_one_job_runs_all(self) -> None:
        self.assertEqual(run_tests.shares(["tests"], 1), [(1, ["tests"])])

    def test_everything_is_in_one_share(self) -> None:
        """A test module that no share names would never run."""
        found = {f"tests.{path.stem}" for path in RUNNER.parent.parent.glob("tests/test_*.py")}
        folders = RUNNER.parent.parent.glob("tests/*/test_*.py")
        found |= {f"tests.{path.parent.name}" for path in folders}
        named = {name for _, share in run_tests.shares(["tests"], 2) for name in share}
        self.assertLessEqual(found, named)


class RunTests(SynchronousTestCase):
    """Several shares."""

    def test_they_run_at_the_same_time_and_are_shown_one_by_one(self) -> None:
        both_run = threading.Barrier(2, timeout=20)
        shown = io.StringIO()
        self.patch(sys, "stdout", shown)

        def run_trial(command, write):
            name = command[-1]
            write(f"{name} begins\n")
            both_run.wait()
            write(f"{name} ends\n")
            alone = name == "tests.browser"
            return (3, Outcome(1, 1, 0)) if alone else (0, Outcome(5, 0, 0))

        self.patch(run_tests, "run_trial", run_trial)
        found = run_tests.run_shares(["tests.core", "tests.browser"], 2, [])
        self.assertEqual(found, (3, [Outcome(5, 0, 0), Outcome(1, 1, 0)]))
        parts = [f"{name} {does}" for name in ("tests.core", "tests.browser") for does in DOES]
        self.assertEqual(shown.getvalue().splitlines(), parts)

    def test_the_first_is_shown_as_it_runs(self) -> None:
        shown = io.StringIO()
        self.patch(sys, "stdout", shown)

        def run_trial(command, write):
            write("a line\n")
            self.assertEqual(shown.getvalue(), "a line\n")
            return 0, Outcome(5, 0, 0)

        self.patch(run_tests, "run_trial", run_trial)
        self.assertEqual(run_tests.run_shares(["tests"], 1, []), (0, [Outcome(5, 0, 0)]))
        self.assertEqual(shown.getvalue(), "a line\n")


DOES = ("begins", "ends")


def names_of(module: str) -> list[str]:
    return [f"tests.browser.test_{module}"]


class RealRunTests(SynchronousTestCase):
    """Trial itself, on a module with one test of each kind."""

    def test_last_line_and_status(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        module = folder / "test_each_kind.py"
        module.write_text(
            "from twisted.trial.unittest import SynchronousTestCase\n"
            "class T(SynchronousTestCase):\n"
            "    def test_passes(self): pass\n"
            "    def test_fails(self): self.fail('as it should')\n"
            "    def test_skips(self): pass\n"
            "    test_skips.skip = 'as it should'\n"
        )
        command = [sys.executable, str(RUNNER), "--jobs", "1", "--", "--temp-directory"]
        child = subprocess.run(
            [*command, str(folder.resolve() / "trial"), str(module.resolve())],
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual(child.stdout.splitlines()[-1:], ["1 passed, 1 failed, 1 skipped"])
        self.assertEqual(child.returncode, 1, child.stderr)
