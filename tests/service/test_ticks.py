"""When periodic tasks are due, where cron expressions and time zones say it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.periodic import Periodic
from taskqueue.errors import BadRequest
from taskqueue.service.ticks import next_tick


def at(text, tz="UTC", fold=0):
    """A wall-clock moment, as seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz), fold=fold).timestamp()


class CronTests(SynchronousTestCase):
    def ticks(self, cron, after, count=3, tz="UTC"):
        """The next ticks, as UTC."""
        definition = Periodic("p", "t", cron=cron, tz=tz)
        found = []
        for _ in range(count):
            after = next_tick(definition, after)
            found.append(datetime.fromtimestamp(after, UTC).strftime("%m-%d %H:%M:%S"))
        return found

    def test_every_five_minutes(self):
        self.assertEqual(
            self.ticks("*/5 * * * *", at("2026-01-01T00:02:30")),
            ["01-01 00:05:00", "01-01 00:10:00", "01-01 00:15:00"],
        )

    def test_strictly_after(self):
        """Also with a fraction of a second, before and behind a tick."""
        noon = at("2026-01-01T12:00:00")
        for after, expected in ((-0.25, noon), (0.0, noon + 60), (0.25, noon + 60)):
            self.assertEqual(
                next_tick(Periodic("p", "t", cron="* * * * *"), noon + after), expected, after
            )

    def test_seconds(self):
        self.assertEqual(
            self.ticks("*/20 * * * * *", at("2026-01-01T00:00:00")),
            ["01-01 00:00:20", "01-01 00:00:40", "01-01 00:01:00"],
        )

    def test_time_zone(self):
        """Nine in Paris is eight in UTC in winter, seven in summer."""
        paris = {"count": 1, "tz": "Europe/Paris"}
        self.assertEqual(
            self.ticks("0 9 * * *", at("2026-01-10T12:00"), **paris), ["01-11 08:00:00"]
        )
        self.assertEqual(
            self.ticks("0 9 * * *", at("2026-07-10T12:00"), **paris), ["07-11 07:00:00"]
        )

    def test_the_hour_that_is_left_out(self):
        """2026-03-29, 02:00 to 03:00 in Paris: half past two comes right after it."""
        self.assertEqual(
            self.ticks("30 2 * * *", at("2026-03-28T12:00"), 2, "Europe/Paris"),
            ["03-29 01:00:00", "03-30 00:30:00"],
        )

    def test_the_hour_that_comes_twice(self):
        """2026-10-25, 02:00 to 03:00 in Paris: half past two comes once."""
        self.assertEqual(
            self.ticks("30 2 * * *", at("2026-10-24T12:00"), 2, "Europe/Paris"),
            ["10-25 00:30:00", "10-26 01:30:00"],
        )

    def test_within_the_hour_that_comes_twice(self):
        """From its second half on, half past two is over, whatever the clock on the wall shows."""
        for time in ("00:30:00", "00:45:00", "01:00:00", "01:15:00", "01:30:00"):
            self.assertEqual(
                self.ticks("30 2 * * *", at(f"2026-10-25T{time}"), 1, "Europe/Paris"),
                ["10-26 01:30:00"],
            )

    def test_each_half_hour_through_the_hour_that_comes_twice(self):
        """An expression that goes by minutes goes on through both."""
        self.assertEqual(
            self.ticks("*/30 * * * *", at("2026-10-25T00:00"), 5, "Europe/Paris"),
            [f"10-25 {time}:00" for time in ("00:30", "01:00", "01:30", "02:00", "02:30")],
        )

    def test_never(self):
        self.assertIsNone(next_tick(Periodic("p", "t", cron="0 0 */31 * MON#2"), 0.0))

    def test_leap_day(self):
        found = next_tick(Periodic("p", "t", cron="0 0 29 2 *"), at("2026-01-01T00:00"))
        self.assertEqual(found, at("2028-02-29T00:00"))

    def test_every(self):
        self.assertEqual(next_tick(Periodic("p", "t", every_s=60.0), 90.0), 120.0)


class NonsenseTests(SynchronousTestCase):
    def refusal(self, **fields):
        definition = Periodic("p", "t", **fields)
        return self.assertRaises(BadRequest, next_tick, definition, 1e9)

    def test_cron(self):
        for text in (
            "x",
            "* * * *",
            "61 * * * *",
            "* * * * * * *",
            "*/0 * * * *",
            "0 0 31 2 *",
            "٣ * * * *",
        ):
            error = self.refusal(cron=text)
            self.assertEqual(error.fields["field"], "cron")
            self.assertIn("is no cron expression", str(error))

    def test_time_zone(self):
        for name in (
            "Mars/Base",
            "",
            "..",
            "/etc/passwd",
            "../etc/passwd",
            "x" * 64,
            "Europe",
            "a\x00",
        ):
            error = self.refusal(cron="* * * * *", tz=name)
            self.assertEqual(error.fields["field"], "tz")
            self.assertIn("no time zone", str(error))
