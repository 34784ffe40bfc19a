"""Who asks too often."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.throttle import MOST_NAMES, FailedAttempts, TokenBuckets, peer_group

given_always = settings(derandomize=True, deadline=None)


class TokenBucketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.buckets = TokenBuckets(rate=10.0, burst=5.0)

    def test_a_burst_then_the_rate(self) -> None:
        self.assertEqual([self.buckets.take("a", 1, 0.0) for _ in range(5)], [0.0] * 5)
        self.assertAlmostEqual(self.buckets.take("a", 1, 0.0), 0.1)
        self.assertEqual(self.buckets.take("a", 1, 0.1), 0.0)
        self.assertGreater(self.buckets.take("a", 1, 0.1), 0.0)

    def test_each_name_has_its_own(self) -> None:
        self.buckets.take("a", 5, 0.0)
        self.assertEqual(self.buckets.take("b", 5, 0.0), 0.0)

    def test_all_or_nothing(self) -> None:
        self.assertEqual(self.buckets.take("a", 3, 0.0), 0.0)
        self.assertAlmostEqual(self.buckets.take("a", 3, 0.0), 0.1)
        self.assertEqual(self.buckets.take("a", 2, 0.0), 0.0)

    def test_more_than_it_holds_is_owed(self) -> None:
        self.assertEqual(self.buckets.take("a", 50, 0.0), 0.0)
        self.assertAlmostEqual(self.buckets.take("a", 1, 0.0), 4.6)
        self.assertAlmostEqual(self.buckets.take("a", 50, 4.6), 0.4)
        self.assertEqual(self.buckets.take("a", 50, 5.0), 0.0)

    def test_no_more_are_remembered_than_there_may_be(self) -> None:
        buckets = TokenBuckets(1.0, 1.0, capacity=10)
        for number in range(100):
            buckets.take(str(number), 1, 0.0)
        self.assertEqual(len(buckets), 10)
        self.assertGreater(buckets.take("99", 1, 0.0), 0.0)

    def test_who_asks_on_is_not_forgotten(self) -> None:
        buckets = TokenBuckets(1.0, 10.0, capacity=10)
        for number in range(100):
            buckets.take(str(number), 1, 0.0)
            buckets.take("a", 0.1, 0.0)
        self.assertGreater(buckets.take("a", 1, 0.0), 0.0)

    @given_always
    @given(
        st.lists(
            st.tuples(st.floats(0, 2), st.integers(1, 8)),
            max_size=60,
        )
    )
    def test_never_more_than_the_burst_and_the_rate(self, asked: list[tuple[float, int]]) -> None:
        """Beyond one debt, which is what a single request may be larger than the bucket."""
        buckets = TokenBuckets(rate=2.0, burst=5.0)
        now, taken = 0.0, 0
        for pause, amount in asked:
            now += pause
            wait_s = buckets.take("a", amount, now)
            self.assertGreaterEqual(wait_s, 0.0)
            if wait_s == 0.0:
                taken += amount
            else:
                self.assertEqual(buckets.take("a", amount, now + wait_s), 0.0)
                now += wait_s
                taken += amount
            self.assertLessEqual(taken, 5 + 2.0 * now + 3 + 1e-6)


class FailedAttemptsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.failed = FailedAttempts(free=3, first_s=1.0, longest_s=10.0, forgiven_s=100.0)

    def waits(self, count: int, now: float = 0.0) -> list[float]:
        """The wait after each of so many failures."""
        found = []
        for _ in range(count):
            self.failed.failed("a", now)
            found.append(self.failed.wait_s("a", now))
        return found

    def test_each_doubles_the_wait(self) -> None:
        self.assertEqual(self.waits(9), [0, 0, 0, 1, 2, 4, 8, 10, 10])
        self.assertEqual(self.failed.wait_s("a", 4.0), 6.0)
        self.assertEqual(self.failed.wait_s("a", 10.0), 0.0)
        self.assertEqual(self.failed.wait_s("b", 0.0), 0.0)

    def test_millions_of_them(self) -> None:
        self.failed._failed["a"] = {"": 10**9}, 0.0
        self.assertEqual(self.failed.wait_s("a", 0.0), 10.0)

    def test_forgiven_after_a_while(self) -> None:
        self.waits(5)
        self.assertEqual(self.waits(4, 100.0), [0, 0, 0, 1])

    def test_forgiven_by_success(self) -> None:
        self.waits(5)
        self.failed.succeeded("a")
        self.failed.succeeded("never seen")
        self.assertEqual(self.waits(3), [0, 0, 0])

    def test_no_more_are_remembered_than_there_may_be(self) -> None:
        failed = FailedAttempts(capacity=10)
        for number in range(100):
            failed.failed(f"192.0.2.{number}", 0.0)
        self.assertEqual(len(failed), 10)

    def test_a_network_counts_as_one(self) -> None:
        for peer in ("2001:db8::1", "2001:db8::2", "2001:0db8:0::ffff:1", "2001:db8::3%eth0"):
            self.failed.failed(peer, 0.0)
        self.assertEqual(self.failed.wait_s("2001:db8::4", 0.0), 1.0)
        self.assertEqual(self.failed.wait_s("2001:db8:0:1::1", 0.0), 0.0)

    def test_very_many_names(self) -> None:
        """They are counted together: none of them is forgiven for another's success."""
        failed = FailedAttempts(free=100)
        for number in range(1000):
            failed.failed("192.0.2.1", 0.0, str(number))
        (counts, _) = failed._failed["192.0.2.1"]
        self.assertEqual((len(counts), sum(counts.values())), (MOST_NAMES + 1, 1000))
        failed.succeeded("192.0.2.1", "0")
        failed.succeeded("192.0.2.1", "999")
        self.assertEqual(sum(counts.values()), 999)


class PeerGroupTests(SynchronousTestCase):
    def test_groups(self) -> None:
        for peer, group in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("local", "local"),
            ("", ""),
        ):
            self.assertEqual(peer_group(peer), group)
