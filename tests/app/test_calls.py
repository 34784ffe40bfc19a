"""What fits a function's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.calls import Parameters

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    lambda: 0,
    lambda a: 0,
    lambda a, b=1: 0,
    lambda a, /, b: 0,
    lambda a, /, b=1, *, c: 0,
    lambda *, a, b=1: 0,
    lambda a=1, /: 0,
    lambda a, *more: 0,
    lambda a=1, **more: 0,
    lambda a, /, **more: 0,
)


def binds(parameters: Parameters, args: list[int], kwargs: dict[str, int]) -> bool:
    try:
        parameters.check(args, kwargs)
    except TypeError:
        return False
    return True


class FittingTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(
        st.sampled_from(FUNCTIONS),
        st.lists(st.integers(0, 1), max_size=4),
        st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1)),
    )
    def test_what_fits_can_be_bound(
        self, function: Callable[..., Any], args: list[int], kwargs: dict[str, int]
    ) -> None:
        parameters = Parameters(function, "f")
        if binds(parameters, args, kwargs):
            parameters.fit(args, kwargs)
        else:
            self.assertRaises(TypeError, parameters.fit, args, kwargs)

    def test_what_does_not_fit_is_said(self) -> None:
        parameters = Parameters(lambda a, b=1: 0, "f")
        self.assertRaisesRegex(TypeError, r"f.a, b=1.: missing a", parameters.fit, [], {"b": 1})

    def test_most_calls_are_not_bound(self) -> None:
        parameters = Parameters(lambda a, b=1: 0, "f")
        parameters.check = self.fail  # type: ignore[method-assign,assignment]
        parameters.fit([1, 2], {})
        parameters.fit([1], {"b": 2})
