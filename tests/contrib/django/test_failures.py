"""Exceptions as texts, and back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.verdicts import LONGEST_ERROR
from taskqueue.contrib.django.failures import OTHERWISE, error_from, failure, text_of


class Nest:
    class Egg(Exception):
        pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Quiet(Exception):
    """Says nothing, over several lines."""

    def __str__(self) -> str:
        return "\n\n  \n"


def raised(kind: Any, *args: Any) -> BaseException:
    try:
        raise kind(*args)
    except BaseException as error:
        return error


class FailureTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for error in (
            raised(ValueError, "bad"),
            raised(KeyError),
            raised(Nest.Egg, "two\n\nlines: of it"),
            raised(SystemExit, 3),
            raised(UnicodeDecodeError, "utf-8", b"x", 0, 1, "y"),
            raised(Quiet),
            raised(Unprintable),
        ):
            self.assertEqual(error_from(text_of(error)), failure(error))
            self.assertIs(error_from(text_of(error)).exception_class, type(error))

    def test_the_first_line_is_for_lists(self) -> None:
        self.assertEqual(
            text_of(raised(ValueError, "bad\nworse")).splitlines()[0], "ValueError: bad"
        )
        self.assertEqual(text_of(raised(Quiet)).splitlines()[0], f"{__name__}.Quiet")

    def test_a_long_one_keeps_its_end(self) -> None:
        text = text_of(raised(ValueError, "x" * LONGEST_ERROR + "end"))
        self.assertEqual(len(text), LONGEST_ERROR)
        self.assertTrue(text.startswith("ValueError: xxx") and text.rstrip().endswith("xend"))
        self.assertIs(error_from(text).exception_class, ValueError)

    def test_a_time_out_is_told_before_what_it_raised(self) -> None:
        text = "the task exceeded its time-out of 5 s\n\n" + text_of(raised(TimeoutError, "late"))
        self.assertIs(error_from(text).exception_class, TimeoutError)

    def test_what_is_no_exception(self) -> None:
        from taskqueue.errors import TaskFailed

        for text in ("5 workers were lost over it", "discarded: no use", "print: x", "", "a b: c"):
            error = error_from(text)
            self.assertEqual((error.exception_class_path, error.traceback), (OTHERWISE, text))
            self.assertIs(error.exception_class, TaskFailed)

    def test_classes_that_are_not_here(self) -> None:
        for text in (
            "no.such.Error: x",
            "os.system: x",
            "os.path.Nothing: x",
            f"{__name__}.a.b: x",
        ):
            error = error_from(text)
            self.assertRaises(ImportError, lambda: error.exception_class)  # noqa: B023

    @given(st.text())
    @settings(derandomize=True, deadline=None)
    def test_anybodys_text_will_do(self, text: str) -> None:
        self.assertTrue(error_from(text).exception_class_path)
