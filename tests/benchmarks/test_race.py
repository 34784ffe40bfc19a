from twisted.trial.unittest import SynchronousTestCase

from benchmarks.contest import Contestant, Entry, baseline
from benchmarks.install import version_in
from benchmarks.race import BEGIN, END, GOALS, PAGE, fields, only, published, untuned


class FieldTests(SynchronousTestCase):
    def setUp(self):
        self.fields = fields(quick=False)

    def test_everyone_belongs_to_a_race(self):
        for key, (race, contestants) in self.fields.items():
            self.assertEqual(key, race.key)
            self.assertTrue(contestants, key)

    def test_taskqueue_takes_part_in_every_style(self):
        for race, contestants in self.fields.values():
            styles = {who.style for who in contestants}
            ours = {who.style for who in contestants if who.name.startswith("taskqueue")}
            self.assertEqual(styles, ours, race.key)

    def test_nobody_stands_there_twice(self):
        rows = [
            (who.race, who.style, who.name)
            for _, contestants in self.fields.values()
            for who in contestants
        ]
        self.assertEqual(len(rows), len(set(rows)))

    def test_in_memory_those_are_compared_that_promise_the_same(self):
        """The row whose tasks outlive its process is there too, and is not beanstalkd's measure."""
        race, contestants = self.fields["memory"]
        rows = [
            Entry(who, {}, [{race.metric: 1.0}], [])
            for who in contestants
            if who.style == "pipelined, batches"
        ]
        named = {row.contestant.name: row for row in rows}
        self.assertIn("taskqueue none", named)
        for peer in ("beanstalkd", "Redis", "gearmand"):
            others = [row for row in rows if row.contestant.name != "taskqueue as beanstalkd"]
            ours = baseline(race, named[peer], others)
            self.assertEqual(ours.contestant.name, "taskqueue memory", peer)

    def test_every_goal_is_about_a_row(self):
        for goal in GOALS:
            rows = [
                who
                for who in self.fields[goal.race].contestants
                if who.name.startswith(goal.name) and goal.style in ("", who.style)
            ]
            self.assertTrue(rows, goal)


class ChoiceTests(SynchronousTestCase):
    def setUp(self):
        self.rows = [
            Contestant("r", name, style, "", dict)
            for name in ("taskqueue", "Redis")
            for style in ("batches", "alone")
        ]

    def test_all_where_nothing_is_said(self):
        self.assertEqual(only(self.rows, []), self.rows)

    def test_by_name_or_style(self):
        self.assertEqual(only(self.rows, ["redis"]), self.rows[2:])
        self.assertEqual(only(self.rows, ["ALONE", "Redis"]), self.rows[1:])

    def test_a_quick_race_tries_nothing(self):
        who = self.rows[0]._replace(variants=({"a": 1}, {"a": 2}, {"a": 3}))
        self.assertEqual(untuned(who).variants, ({"a": 2},))


class PageTests(SynchronousTestCase):
    def test_what_stands_between_the_marks_is_replaced(self):
        page = f"before\n{BEGIN}\nold\n{END}\nafter"
        self.assertEqual(published(page, "new\n"), f"before\n{BEGIN}\n\nnew\n\n{END}\nafter")

    def test_again_and_again(self):
        page = published(f"{BEGIN}{END}", "one")
        self.assertEqual(published(page, "two"), published(f"{BEGIN}{END}", "two"))

    def test_a_page_without_marks_is_not_touched(self):
        for page in ("", BEGIN, END, f"{END} {BEGIN}"):
            self.assertRaises(ValueError, published, page, "new")

    def test_the_page_about_performance_has_them(self):
        self.assertIn("new", published(PAGE.read_text(), "new"))


class VersionTests(SynchronousTestCase):
    def test_what_programs_say(self):
        for said, expected in (
            ("beanstalkd 1.12\n", "1.12"),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "7.0.15"),
            ("\ngearmand 1.1.20+ds - https://github.com/gearman", "1.1.20"),
            ("postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)", "15.19"),
            ("rabbitmq_server-3.10.8", "3.10.8"),
            ("nats-server: v2.15.1", "2.15.1"),
            ("no idea", ""),
        ):
            self.assertEqual(version_in(said), expected)
