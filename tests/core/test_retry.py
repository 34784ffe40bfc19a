"""
When a failed task is tried again.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.policy import QueuePolicy
from taskqueue.core.retry import retry_delay_s
from taskqueue.core.task import DEFAULT_OPTIONS, State, TaskOptions
from tests.core.world import WALL, CoreTestCase

#: The largest number that C{random()} gives.
ALMOST_ONE = 1 - 2**-53


def delay(failures: int, at: float = 0.5, options: TaskOptions = DEFAULT_OPTIONS) -> float:
    return retry_delay_s(failures, options, QueuePolicy(), lambda: at)


class RetryDelayTests(SynchronousTestCase):
    def test_it_doubles(self) -> None:
        self.assertEqual([delay(n) for n in range(1, 6)], [5, 10, 20, 40, 80])

    def test_an_hour_is_never_exceeded(self) -> None:
        for failures in (*range(1, 100), 10**6):
            self.assertLessEqual(delay(failures, ALMOST_ONE), 3600.0, failures)
        self.assertGreater(delay(50, ALMOST_ONE), 3599.0)

    def test_rounding_does_not_exceed_the_bound(self) -> None:
        """Dividing by 1 + jitter and multiplying again may give a little more."""
        random = Random(5)
        for _ in range(1000):
            longest = random.uniform(1, 1e5)
            options = TaskOptions(retry_max_delay_s=longest, retry_jitter=random.random())
            self.assertLessEqual(delay(50, ALMOST_ONE, options), longest)

    def test_jitter_stays_within_a_tenth(self) -> None:
        random = Random(4)
        for failures in range(1, 9):
            middle = 5 * 2 ** (failures - 1)
            delays = [delay(failures, random.random()) for _ in range(1000)]
            self.assertGreaterEqual(min(delays), 0.9 * middle)
            self.assertLessEqual(max(delays), 1.1 * middle)
            self.assertLess(min(delays), 0.92 * middle)
            self.assertGreater(max(delays), 1.08 * middle)

    def test_at_the_bound_there_is_still_jitter(self) -> None:
        """Tasks that failed together do not come back together, however late."""
        self.assertLess(delay(30, 0.0), 3000.0)

    def test_the_task_may_say_otherwise(self) -> None:
        options = TaskOptions(retry_delay_s=1.0, retry_max_delay_s=3.0, retry_jitter=0.0)
        self.assertEqual([delay(n, 0.9, options) for n in range(1, 5)], [1.0, 2.0, 3.0, 3.0])
        at_once = TaskOptions(retry_delay_s=0.0)
        self.assertEqual(delay(9, 0.9, at_once), 0.0)

    @settings(derandomize=True, deadline=None)
    @given(
        st.integers(1, 10**9),
        st.floats(0, ALMOST_ONE),
        st.floats(0, 1e6),
        st.floats(0, 1e6),
        st.floats(0, 1),
    )
    def test_bounds_hold_for_all_settings(
        self, failures: int, at: float, first: float, longest: float, jitter: float
    ) -> None:
        options = TaskOptions(retry_delay_s=first, retry_max_delay_s=longest, retry_jitter=jitter)
        pause_s = delay(failures, at, options)
        self.assertGreaterEqual(pause_s, 0.0)
        self.assertLessEqual(pause_s, longest)


class RetryTests(CoreTestCase):
    def test_the_retry_waits_as_long_as_it_should(self) -> None:
        self.world.submit("t")
        for pause_s in (5, 10, 20):
            self.world.fail(self.world.take())
            task = self.world.task("t")
            self.assertEqual(task.run_at, self.world.wall + pause_s)
            self.world.tick(pause_s - 0.01)
            self.assertEqual(self.world.claim(), [])
            self.world.tick(0.01)

    def test_the_worker_may_name_the_pause(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take(), retry_in_s=77.0)
        self.assertEqual(self.world.task("t").run_at, WALL + 77)

    def test_a_named_pause_gives_no_extra_retry(self) -> None:
        self.world.submit("t", options=TaskOptions(max_retries=0))
        state = self.world.fail(self.world.take(), retry_in_s=1.0)
        self.assertIs(state, State.DEAD_LETTER)
