import json

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.contest import Contestant, Entry, Race, Unavailable
from benchmarks.tables import (
    Goal,
    Result,
    figure,
    goals_markdown,
    markdown,
    plain,
    restored,
    settings_markdown,
    verdicts,
    worded,
)

RACE = Race("speed", "Speed", "rate", "tasks/s", columns=("server_cores",))


def entry(name, *values, style="batches", failure=""):
    who = Contestant("speed", name, style, "on the disk", dict, ({},), "-x")
    rounds = [{"rate": value, "server_cores": 0.5} for value in values]
    return Entry(who, {"batch": 50, "style": "list"}, rounds, [({"batch": 50}, 7.0)], failure)


class FigureTests(SynchronousTestCase):
    def test_three_digits(self):
        for value, text in (
            (0, "0.00"),
            (0.0123, "0.012"),
            (0.256, "0.26"),
            (9.876, "9.88"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.5, "1,230"),
            (98765.4, "98,800"),
            (1_234_567.0, "1,230,000"),
            (float("nan"), ""),
        ):
            self.assertEqual(figure(value), text)

    def test_variants_in_words(self):
        self.assertEqual(worded({"batch": 50, "style": "list"}), "batch 50, list")
        self.assertEqual(worded({}), "")


def markdown_of(entries):
    return markdown(Result(RACE, entries, "One round of 1 s."))


class TableTests(SynchronousTestCase):
    def test_a_row_has_median_range_and_ratio(self):
        text = markdown_of([entry("taskqueue", 200, 300), entry("other", 100, 150)])
        self.assertIn(
            "| other | on the disk | batch 50, list | **125** | 100 - 150 | 2.00x | 0.50 |", text
        )
        self.assertIn("| **250** | 200 - 300 |  | 0.50 |", text)

    def test_a_column_in_which_nothing_stands_is_left_out(self):
        text = markdown_of([entry("taskqueue", 200), entry("taskqueue b", 300)])
        self.assertNotIn("taskqueue is", text)
        self.assertIn("| 200 - 200 | 0.50 |", text)

    def test_each_style_has_a_table(self):
        text = markdown_of([entry("taskqueue", 2), entry("other", 1, style="alone")])
        self.assertEqual(text.count("| what an answer means |"), 2)
        self.assertIn("*alone*", text)

    def test_who_could_not_take_part_stands_there_with_the_reason(self):
        text = markdown_of([entry("other", failure="other is not\ninstalled | here")])
        self.assertIn("other is not installed \\| here", text)

    def test_data_is_plain(self):
        result = Result(RACE, [entry("taskqueue", 4), entry("other", 2)], "One round.")
        data = json.loads(json.dumps(plain(result)))
        theirs = data["entries"][1]
        self.assertEqual(theirs["median"], 2)
        self.assertEqual(theirs["advantage"], 2.0)
        self.assertEqual(theirs["settings"], "-x")
        self.assertEqual(theirs["tried"], [{"variant": {"batch": 50}, "reached": 7.0}])

    def test_data_becomes_the_same_table_again(self):
        rows = [entry("taskqueue", 4), entry("other", 2), entry("third", failure="not here")]
        result = Result(RACE, rows, "One round.")
        again = restored(json.loads(json.dumps(plain(result))))
        self.assertEqual(again.race, RACE)
        self.assertEqual(markdown(again), markdown(result))
        self.assertRaises(Unavailable, again.entries[0].contestant.measure, {}, 1.0)

    def test_settings_stand_there_once(self):
        rows = [entry("Redis, one"), entry("Redis, many")]
        self.assertEqual(
            settings_markdown([Result(RACE, rows, ""), Result(RACE, rows, "")]),
            "|  | settings |\n| --- | --- |\n| Redis | `-x` |\n",
        )
        bare = rows[0]._replace(contestant=rows[0].contestant._replace(settings=""))
        self.assertEqual(settings_markdown([Result(RACE, [bare], "")]), "")


class GoalTests(SynchronousTestCase):
    def setUp(self):
        self.entries = [entry("taskqueue", 300), entry("other b", 100), entry("further", 1000)]

    def test_what_came_of_a_goal(self):
        (found,) = verdicts(RACE, self.entries, [Goal("speed", "", "other", 2)])
        self.assertEqual((found.entry, found.reached), (self.entries[1], 3.0))

    def test_other_races_styles_and_names_are_left_out(self):
        goals = [
            Goal("memory", "", "other", 2),
            Goal("speed", "alone", "other", 2),
            Goal("speed", "", "nobody", 2),
        ]
        self.assertEqual(verdicts(RACE, self.entries, goals), [])

    def test_met_or_not(self):
        goals = [Goal("speed", "batches", "", 2)]
        text = goals_markdown(verdicts(RACE, self.entries, goals))
        self.assertIn("| other b | batches | 2x | 3.00x | yes |", text)
        self.assertIn("| further | batches | 2x | 0.30x | no |", text)
