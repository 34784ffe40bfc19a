from twisted.trial.unittest import SynchronousTestCase

from benchmarks.contest import (
    Contestant,
    Entry,
    Numbers,
    Race,
    Unavailable,
    Variant,
    advantage,
    baseline,
    hold,
    summary,
    tuned,
)

RACE = Race("speed", "Speed", "rate", "/s")
DELAY = Race("delay", "Delay", "rate", "ms", higher_is_better=False)


def measured(variant: Variant, seconds: float) -> Numbers:
    return {"rate": variant.get("rate", 1.0)}


def contestant(name, style="", promise="", measure=measured, variants=({},)):
    return Contestant("speed", name, style, promise, measure, variants)


def entry(name, *values, style="", promise=""):
    rounds = [{"rate": value} for value in values]
    return Entry(contestant(name, style, promise), {}, rounds, [])


class FigureTests(SynchronousTestCase):
    def test_the_median_of_the_rounds_with_their_range(self):
        rounds = [{"rate": 5.0}, {"rate": 1.0}, {"rate": 2.0}]
        self.assertEqual(summary(rounds, "rate"), (2.0, 1.0, 5.0))

    def test_a_number_that_no_round_has(self):
        self.assertIsNone(summary([{"rate": 5.0}], "delay"))
        self.assertIsNone(summary([], "rate"))

    def test_higher_is_better(self):
        ours, theirs = entry("taskqueue", 90, 100, 110), entry("other", 50, 50, 80)
        self.assertEqual(advantage(RACE, theirs, [ours, theirs]), 2.0)

    def test_lower_is_better(self):
        ours, theirs = entry("taskqueue", 10), entry("other", 20)
        self.assertEqual(advantage(DELAY, theirs, [ours, theirs]), 2.0)

    def test_our_own_rows_have_no_advantage(self):
        ours, more = entry("taskqueue a", 10), entry("taskqueue b", 20)
        self.assertIsNone(advantage(RACE, ours, [ours, more]))

    def test_nobody_to_compare_with(self):
        theirs, absent = entry("other", 20), entry("taskqueue")
        self.assertIsNone(advantage(RACE, theirs, [theirs, absent]))
        self.assertIsNone(advantage(RACE, entry("other"), [entry("taskqueue", 1)]))

    def test_a_row_is_compared_with_our_best_of_its_style(self):
        slow, fast = entry("taskqueue a", 10), entry("taskqueue b", 20)
        alone = entry("taskqueue c", 99, style="alone")
        theirs = entry("other", 5)
        self.assertIs(baseline(RACE, theirs, [slow, fast, alone, theirs]), fast)
        self.assertIs(baseline(DELAY, theirs, [slow, fast, alone, theirs]), slow)

    def test_a_row_is_rather_compared_with_ours_that_promises_the_same(self):
        disk, memory = entry("taskqueue a", 10, promise="disk"), entry("taskqueue b", 20)
        theirs = entry("other", 5, promise="disk")
        self.assertIs(baseline(RACE, theirs, [disk, memory, theirs]), disk)


class TuningTests(SynchronousTestCase):
    def setUp(self):
        self.said: list[str] = []

    def test_the_best_variant_is_first(self):
        who = contestant("one", variants=({"rate": 1.0}, {"rate": 3.0}, {"rate": 2.0}))
        tried = tuned(RACE, who, 1.0, self.said.append)
        self.assertEqual([reached for _, reached in tried], [3.0, 2.0, 1.0])
        tried = tuned(DELAY, who, 1.0, self.said.append)
        self.assertEqual(tried[0], ({"rate": 1.0}, 1.0))

    def test_a_single_variant_needs_no_try(self):
        def never(variant, seconds):
            raise AssertionError("tried")

        tried = tuned(RACE, contestant("one", measure=never), 1.0, self.said.append)
        self.assertEqual(tried, [({}, 0.0)])

    def test_a_variant_that_fails_is_left_out(self):
        def some(variant, seconds):
            if variant["rate"] > 2:
                raise ValueError("too much")
            return measured(variant, seconds)

        who = contestant("one", measure=some, variants=({"rate": 3.0}, {"rate": 2.0}))
        self.assertEqual(tuned(RACE, who, 1.0, self.said.append), [({"rate": 2.0}, 2.0)])
        self.assertIn("too much", self.said[0])

    def test_nothing_works(self):
        def nothing(variant, seconds):
            raise ValueError("broken")

        who = contestant("one", measure=nothing, variants=({"a": 1}, {"a": 2}))
        self.assertRaises(ValueError, tuned, RACE, who, 1.0, self.said.append)


class ContestTests(SynchronousTestCase):
    def setUp(self):
        self.order: list[str] = []
        self.said: list[str] = []

    def runner(self, name, fails_at=99):
        def measure(variant, seconds):
            self.order.append(name)
            if self.order.count(name) > fails_at:
                raise ValueError("worn out")
            return {"rate": 1.0}

        return contestant(name, measure=measure)

    def hold(self, *contestants, rounds=2):
        return hold(RACE, contestants, rounds, 1.0, 1.0, self.said.append)

    def test_rounds_are_interleaved(self):
        entries = self.hold(self.runner("a"), self.runner("b"))
        self.assertEqual(self.order, ["a", "b", "a", "b"])
        self.assertEqual([len(entry.rounds) for entry in entries], [2, 2])

    def test_who_fails_in_a_round_is_left_out_of_the_rest_and_says_why(self):
        entries = self.hold(self.runner("a", fails_at=1), self.runner("b"), rounds=3)
        self.assertEqual(self.order, ["a", "b", "a", "b", "b"])
        self.assertEqual(len(entries[0].rounds), 1)
        self.assertEqual(entries[0].failure, "ValueError: worn out")
        self.assertEqual(entries[1].failure, "")

    def test_who_is_not_installed_is_reported(self):
        def absent(variant, seconds):
            raise Unavailable("quickd is not installed")

        who = contestant("quickd", measure=absent, variants=({"a": 1}, {"a": 2}))
        (entry,) = self.hold(who)
        self.assertEqual((entry.rounds, entry.failure), ([], "quickd is not installed"))
        self.assertIn("quickd is not installed", " ".join(self.said))
