"""stats, stats-tube, stats-job, byte by byte; and which tubes there are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace

from taskqueue.config import StoreConfig
from taskqueue.core.lane import Lane
from taskqueue.core.task import Task
from tests.frontends.beanstalkd.talking import BeanstalkdTestCase, Client
from tests.service.running import QUIET, WALL


def told(heard: bytes) -> dict[str, str]:
    """The dictionary in a reply; its length must be right."""
    head, _, data = heard.partition(b"\r\n")
    assert head == b"OK %d" % (len(data) - 2), heard
    lines = data[:-2].decode().split("\n")
    assert (lines[0], lines[-1]) == ("---", ""), heard
    return dict(line.split(": ", 1) for line in lines[1:-1])


class StatsTests(BeanstalkdTestCase):
    def test_everything(self) -> None:
        """Every field of 1.12, in its order, with the right value."""
        client, other = self.connect(), self.connect()
        self.put(client, ttr=1)
        self.put(client, pri=1024)
        self.put(client, delay=50)
        self.put(client)
        self.put(client)
        self.ask(other, b"reserve")
        self.pass_time(1.25)
        self.ask(
            other, b"reserve", b"bury 1 0", b"reserve", b"delete 4", b"release 7 0 0", b"kick 0"
        )
        self.ask(other, b"touch 9", b"peek 2", b"peek-ready", b"peek-delayed", b"peek-buried")
        self.ask(other, b"watch a", b"ignore a", b"use a", b"stats-job 1", b"stats-tube a")
        self.ask(
            other, b"list-tubes", b"list-tube-used", b"list-tubes-watched", b"nonsense", b"use -"
        )
        self.ask(other, b"pause-tube a 0", b"kick-job 99", b"reserve-job 99", b"put 0 0 0 99999")
        self.assertEqual(self.ask(other, b"x" * 99_999), b"JOB_TOO_BIG\r\n")
        self.ask(client, b"use empty", b"watch empty", b"ignore default", b"reserve-with-timeout 9")
        values = told(self.ask(other, b"stats"))
        host = os.uname()
        expected = {
            "current-jobs-urgent": 1, "current-jobs-ready": 2, "current-jobs-reserved": 0,
            "current-jobs-delayed": 1, "current-jobs-buried": 1, "cmd-put": 6, "cmd-peek": 1,
            "cmd-peek-ready": 1, "cmd-peek-delayed": 1, "cmd-peek-buried": 1, "cmd-reserve": 3,
            "cmd-reserve-with-timeout": 1, "cmd-delete": 1, "cmd-release": 1, "cmd-use": 2,
            "cmd-watch": 2, "cmd-ignore": 2, "cmd-bury": 1, "cmd-kick": 1, "cmd-touch": 1,
            "cmd-stats": 1, "cmd-stats-job": 1, "cmd-stats-tube": 1, "cmd-list-tubes": 1,
            "cmd-list-tube-used": 1, "cmd-list-tubes-watched": 1, "cmd-pause-tube": 1,
            "job-timeouts": 1, "total-jobs": 5, "max-job-size": 65_535, "current-tubes": 3,
            "current-connections": 2, "current-producers": 1, "current-workers": 2,
            "current-waiting": 1, "total-connections": 2, "pid": os.getpid(), "version": '"1.12"',
            "rusage-utime": 0, "rusage-stime": 0, "uptime": 1, "binlog-oldest-index": 0,
            "binlog-current-index": 0, "binlog-records-migrated": 0, "binlog-records-written": 0,
            "binlog-max-size": 10_485_760, "draining": "false", "id": self.door.instance,
            "hostname": host.nodename, "os": host.version, "platform": host.machine,
        }  # fmt: skip
        for name in ("rusage-utime", "rusage-stime"):
            self.assertRegex(values[name], r"^\d+\.\d{6}$")
            values[name] = "0"
        self.assertRegex(values["id"], "^[0-9a-f]{16}$")
        self.assertEqual(list(values.items()), [(k, str(v)) for k, v in expected.items()])

    def test_what_is_carried_out_later_is_counted_later(self) -> None:
        client = self.connect()
        heard = self.ask(client, b"stats", b"use a", b"put 0 0 1 1", b"x", b"put 0 0 1 1", b"y")
        self.assertIn(b"\ncmd-stats: 1\n", heard)
        self.assertIn(b"\ncmd-use: 0\n", heard)
        self.assertIn(b"\ncmd-put: 0\n", heard)
        heard = self.ask(client, b"stats")
        self.assertIn(b"\ncmd-put: 2\n", heard)
        self.assertIn(b"\ncmd-use: 1\n", heard)

    def test_who_is_gone(self) -> None:
        client = self.connect(b"put 0 0 1 1", b"x", b"reserve")
        client.go()
        values = told(self.ask(self.connect(), b"stats"))
        names = ("current-connections", "current-producers", "current-workers", "total-connections")
        self.assertEqual([values[name] for name in names], ["1", "0", "0", "2"])


class StatsTubeTests(BeanstalkdTestCase):
    def test_everything(self) -> None:
        client, other = self.connect(b"use mail"), self.connect(b"watch mail")
        self.put(client)
        self.put(client, pri=5000)
        self.put(client, delay=60)
        self.put(client)
        self.ask(other, b"reserve", b"bury 1 0", b"reserve")
        self.ask(client, b"delete 2")
        waiting = self.connect(b"watch mail", b"ignore default", b"pause-tube mail 30", b"reserve")
        self.assertEqual(waiting.hear(), b"")
        self.clock.advance(10)
        self.assertEqual(
            told(self.ask(client, b"stats-tube mail")),
            {
                "name": "mail", "current-jobs-urgent": "0", "current-jobs-ready": "0",
                "current-jobs-reserved": "1", "current-jobs-delayed": "1",
                "current-jobs-buried": "1", "total-jobs": "4", "current-using": "1",
                "current-watching": "2", "current-waiting": "1", "cmd-delete": "1",
                "cmd-pause-tube": "1", "pause": "30", "pause-time-left": "19",
            },
        )  # fmt: skip

    def test_no_job_is_looked_at(self) -> None:
        """However many wait, they are counted already."""
        client = self.connect()
        for pri in (0, 1023, 1024, 5):
            self.put(client, pri=pri)

        def look(lane: Lane) -> Iterator[Task]:
            raise AssertionError(f"the jobs of {lane.queue.name} are gone through")

        self.patch(Lane, "__iter__", look)
        for said in (b"stats", b"stats-tube default"):
            values = told(self.ask(client, said))
            self.assertEqual(values["current-jobs-urgent"], "3")
            self.assertEqual(values["current-jobs-ready"], "4")

    def test_no_such_tube(self) -> None:
        client = self.connect()
        self.assertSays(client, b"stats-tube nowhere", b"NOT_FOUND")
        self.assertEqual(told(self.ask(client, b"stats-tube default"))["current-using"], "1")

    def test_a_pause_without_an_end(self) -> None:
        client = self.connect()
        self.result_of(self.service.pause("default"))
        values = told(self.ask(client, b"stats-tube default"))
        self.assertEqual((values["pause"], values["pause-time-left"]), ("4294967295",) * 2)


class StatsJobTests(BeanstalkdTestCase):
    def stats(self, client: Client, number: int = 1) -> dict[str, str]:
        return told(self.ask(client, b"stats-job %d" % number))

    def test_from_state_to_state(self) -> None:
        client = self.connect(b"use mail", b"watch mail")
        self.put(client, pri=4_294_967_295, delay=10, ttr=100)
        expected = {
            "id": "1", "tube": "mail", "state": "delayed", "pri": "4294967295", "age": "0",
            "delay": "10", "ttr": "100", "time-left": "9", "file": "0", "reserves": "0",
            "timeouts": "0", "releases": "0", "buries": "0", "kicks": "0",
        }  # fmt: skip
        self.assertEqual(list(self.stats(client).items()), list(expected.items()))
        self.pass_time(10)
        expected |= {"state": "ready", "age": "10", "time-left": "0"}
        self.assertEqual(self.stats(client), expected)
        self.ask(client, b"reserve")
        expected |= {"state": "reserved", "time-left": "99", "reserves": "1"}
        self.assertEqual(self.stats(client), expected)
        self.ask(client, b"release 1 7 20")
        expected |= {"state": "delayed", "pri": "7", "delay": "20", "time-left": "19"}
        expected["releases"] = "1"
        self.assertEqual(self.stats(client), expected)
        self.ask(client, b"reserve-job 1", b"bury 1 8")
        expected |= {"state": "buried", "pri": "8", "time-left": "0", "reserves": "2"}
        self.assertEqual(self.stats(client), {**expected, "buries": "1", "delay": "0"})
        self.ask(client, b"kick-job 1", b"reserve", b"release 1 8 0")
        values = self.stats(client)
        names = ("state", "delay", "reserves", "releases", "buries", "kicks")
        self.assertEqual([values[name] for name in names], ["ready", "0", "3", "2", "1", "1"])

    def test_a_connection_that_ends_is_no_time_out(self) -> None:
        client, other = self.connect(), self.connect()
        self.put(client)
        self.ask(other, b"reserve")
        other.go()
        values = self.stats(client)
        self.assertEqual((values["reserves"], values["timeouts"]), ("1", "0"))


class RelaxedStatsJobTests(StatsJobTests):
    """The same where no reply waits for the store: what is not stored yet is counted too."""

    config = replace(QUIET, store=StoreConfig(kind="memory", durability="interval"))


class TubeTests(BeanstalkdTestCase):
    def tubes(self, client: Client) -> list[str]:
        heard = self.ask(client, b"list-tubes")
        return re.findall(r"\n- (\S+)", heard.decode())

    def test_by_reference(self) -> None:
        """A tube is there as long as somebody uses or watches it, or it has a job."""
        client, other = self.connect(), self.connect()
        self.assertEqual(self.tubes(client), ["default"])
        self.ask(client, b"watch w", b"use u")
        self.assertEqual(self.tubes(client), ["default", "w", "u"])
        self.ask(other, b"watch w", b"use u")
        self.ask(client, b"ignore w", b"use default")
        self.assertEqual(self.tubes(client), ["default", "w", "u"])
        other.go()
        self.assertEqual(self.tubes(client), ["default"])
        self.ask(client, b"use kept")
        number = self.put(client)
        self.ask(client, b"use default")
        self.assertEqual(self.tubes(client), ["default", "kept"])
        self.ask(client, b"delete %d" % number)
        self.assertEqual(self.tubes(client), ["default"])
        self.assertSays(client, b"stats-tube kept", b"NOT_FOUND")

    def test_what_was_counted_is_forgotten_with_a_tube(self) -> None:
        client = self.connect(b"use a")
        self.put(client)
        self.ask(client, b"use b", b"delete 1", b"use a")
        values = told(self.ask(client, b"stats-tube a"))
        self.assertEqual((values["total-jobs"], values["cmd-delete"]), ("0", "0"))

    def test_what_two_delete_is_counted_once(self) -> None:
        client, other = self.connect(b"use a", b"watch a"), self.connect()
        self.put(client)
        self.ask(client, b"reserve", b"bury 1 0")
        self.reading.holding = True  # both find it
        client.say(b"delete 1\r\n")
        other.say(b"delete 1\r\n")
        self.reading.let_go()
        self.turns()
        self.assertEqual((client.hear(), other.hear()), (b"DELETED\r\n", b"NOT_FOUND\r\n"))
        self.assertEqual(told(self.ask(client, b"stats-tube a"))["cmd-delete"], "1")

    def test_buried_jobs_keep_a_tube(self) -> None:
        client = self.connect(b"use a", b"watch a")
        self.put(client)
        self.ask(client, b"reserve", b"bury 1 0", b"ignore a", b"use default")
        self.assertEqual(self.tubes(client), ["default", "a"])
        self.ask(client, b"delete 1")
        self.assertEqual(self.tubes(client), ["default"])

    def test_queues_of_others_are_tubes_too(self) -> None:
        client = self.connect()
        self.submit("t", queue="native", run_at=WALL + 9999)
        self.assertEqual(self.tubes(client), ["default", "native"])
        self.assertEqual(told(self.ask(client, b"stats-tube native"))["current-jobs-delayed"], "1")

    def test_the_order_of_those_that_are_watched(self) -> None:
        """One that is ignored makes room for the last."""
        client = self.connect(b"watch a", b"watch b", b"watch c", b"ignore default")
        self.assertEqual(
            self.ask(client, b"list-tubes-watched"), b"OK 16\r\n---\n- c\n- a\n- b\n\r\n"
        )

    def test_very_many(self) -> None:
        """Their number is bounded, for all connections together."""
        self.service.reconfigure(self.adapt("limits", max_queues=100))
        client, other = self.connect(), self.connect()
        said = [b"watch t%d" % number for number in range(99)]
        heard = self.ask(client, *said)
        self.assertTrue(heard.endswith(b"WATCHING 100\r\n"))
        self.assertSays(other, b"watch another", b"OUT_OF_MEMORY")
        self.assertSays(other, b"use another", b"OUT_OF_MEMORY")
        self.assertSays(other, b"watch t5", b"WATCHING 2")
        client.go()
        self.assertSays(other, b"watch another", b"WATCHING 3")
