"""The life of a job, command by command, byte by byte."""

from __future__ import annotations

from taskqueue.core.task import State
from taskqueue.ids import numbered_id
from tests.frontends.beanstalkd.talking import BeanstalkdTestCase


class PutTests(BeanstalkdTestCase):
    def test_a_job_is_a_task(self) -> None:
        client = self.connect()
        self.assertSays(client, b"use mail", b"USING mail")
        heard = self.ask(client, b"put 1030 0 90 5", b"hello")
        self.assertEqual(heard, b"INSERTED 1\r\n")
        row = self.status(numbered_id(1))
        self.assertEqual(
            (row.type, row.queue, row.priority, row.options.lease_s, State(row.state)),
            ("beanstalkd", "mail", 255 - 1030, 90.0, State.PENDING),
        )
        self.assertEqual(self.result_of(self.service.payload(row.id)), b"hello")

    def test_inserted_is_said_when_it_is_stored(self) -> None:
        client = self.connect()
        self.writer.holding = True
        client.say(b"put 0 0 60 1\r\na\r\nput 0 0 60 1\r\nb\r\nlist-tube-used\r\n")
        self.turns()
        self.assertEqual(client.hear(), b"")
        self.writer.let_go()
        self.turns()
        self.assertEqual(client.hear(), b"INSERTED 1\r\nINSERTED 2\r\nUSING default\r\n")

    def test_what_is_no_job(self) -> None:
        client = self.connect()
        too_big = b"x" * 65_536
        self.assertEqual(self.ask(client, b"put 0 0 60 65536", too_big), b"JOB_TOO_BIG\r\n")
        self.assertEqual(
            self.ask(client, b"put 0 0 60 1", b"abc"), b"EXPECTED_CRLF\r\nUNKNOWN_COMMAND\r\n"
        )
        self.assertEqual(self.ask(client, b"put 0 0 60 65535", too_big[:-1]), b"INSERTED 1\r\n")

    def test_draining(self) -> None:
        """Puts are refused, whole, and everything else goes on."""
        client = self.connect()
        self.put(client)
        self.door.drain()
        self.door.drain()
        said = (b"put 0 0 60 1", b"a", b"put 0 0 60 1", b"bcd", b"reserve")
        self.assertEqual(
            self.ask(client, *said),
            b"DRAINING\r\nEXPECTED_CRLF\r\nUNKNOWN_COMMAND\r\nRESERVED 1 1\r\nx\r\n",
        )
        self.assertIn(b"\ndraining: true\n", self.ask(client, b"stats"))

    def test_no_room(self) -> None:
        """What may be done later is put off; the log says why."""
        self.service.reconfigure(self.adapt("broker", queue_depth_threshold=2))
        client = self.connect()
        said = [b"put 0 0 60 1", b"x"] * 3
        self.assertEqual(self.ask(client, *said), b"INSERTED 1\r\nINSERTED 2\r\nOUT_OF_MEMORY\r\n")
        self.assertEqual(
            self.ask(client, b"reserve", b"delete 1"), b"RESERVED 1 1\r\nx\r\nDELETED\r\n"
        )
        self.assertEqual(self.put(client), 3)

    def test_a_store_that_fails(self) -> None:
        """Nobody hears INSERTED for what may be lost; nothing new is accepted until it works."""
        client = self.connect()
        self.store.fail("commit")
        self.assertEqual(self.ask(client, b"put 0 0 60 1", b"x"), b"")
        other = self.connect()
        self.assertEqual(self.ask(other, b"put 0 0 60 1", b"y"), b"OUT_OF_MEMORY\r\n")
        self.pass_time(6)
        self.assertEqual(client.hear(), b"OUT_OF_MEMORY\r\n")
        self.store.work()
        self.pass_time(6)
        self.put(client)

    def test_while_somebody_waits_each_put_is_served_before_the_next(self) -> None:
        """However many come at once: else the most urgent of them would go first."""
        worker = self.connect()
        self.ask(worker, b"reserve")
        self.ask(self.connect(), b"put 9 0 60 1", b"a", b"put 1 0 60 1", b"b")
        self.assertEqual(worker.hear(), b"RESERVED 1 1\r\na\r\n")


class ReserveTests(BeanstalkdTestCase):
    def test_the_most_urgent_first_over_all_tubes(self) -> None:
        client = self.connect()
        for tube, pri in ((b"a", 5), (b"b", 7), (b"a", 4_294_967_295), (b"b", 0), (b"a", 5)):
            self.ask(client, b"use " + tube, b"watch " + tube)
            self.put(client, tube, pri=pri)
        said = [b"reserve-with-timeout 0"] * 6
        self.assertEqual(
            self.ask(client, *said),
            b"RESERVED 4 1\r\nb\r\nRESERVED 1 1\r\na\r\nRESERVED 5 1\r\na\r\n"
            b"RESERVED 2 1\r\nb\r\nRESERVED 3 1\r\na\r\nTIMED_OUT\r\n",
        )

    def test_only_from_tubes_that_are_watched(self) -> None:
        client = self.connect(b"use elsewhere")
        self.put(client)
        self.assertSays(client, b"reserve-with-timeout 0", b"TIMED_OUT")
        self.assertEqual(
            self.ask(client, b"watch elsewhere", b"ignore default", b"reserve"),
            b"WATCHING 2\r\nWATCHING 1\r\nRESERVED 1 1\r\nx\r\n",
        )

    def test_waiting_stops_what_comes_after_it(self) -> None:
        worker, producer = self.connect(), self.connect()
        self.assertEqual(self.ask(worker, b"reserve", b"list-tube-used", b"delete 1"), b"")
        self.put(producer, b"abc")
        self.turns()
        self.assertEqual(worker.hear(), b"RESERVED 1 3\r\nabc\r\nUSING default\r\nDELETED\r\n")

    def test_those_that_wait_are_served_in_turn(self) -> None:
        workers = [self.connect(b"reserve") for _ in range(3)]
        producer = self.connect()
        for number in range(1, 4):
            self.put(producer)
            heard = [worker.hear() for worker in workers]
            expected = [b""] * 3
            expected[number - 1] = b"RESERVED %d 1\r\nx\r\n" % number
            self.assertEqual(heard, expected)

    def test_a_time_out_is_exact(self) -> None:
        client = self.connect()
        self.assertSays(client, b"reserve-with-timeout 0", b"TIMED_OUT")
        for odd in (0.0, 0.137, 0.251):
            self.clock.advance(odd)
            client.say(b"reserve-with-timeout 1\r\n")
            self.clock.pump([0.001] * 999)
            self.assertEqual(client.hear(), b"")
            self.clock.pump([0.001] * 3)
            self.assertEqual(client.hear(), b"TIMED_OUT\r\n")

    def test_a_negative_time_out_is_none(self) -> None:
        client = self.connect()
        self.assertEqual(self.ask(client, b"reserve-with-timeout -1"), b"")
        self.pass_time(600)
        self.assertEqual(client.hear(), b"")
        self.put(self.connect())
        self.assertEqual(client.hear(), b"RESERVED 1 1\r\nx\r\n")

    def test_the_time_to_run_is_exact(self) -> None:
        """The job is ready again, in its place, and whoever waits for one gets it."""
        worker, other = self.connect(), self.connect()
        first = self.put(worker, b"a", ttr=0)
        self.put(worker, b"b", ttr=60)
        worker.say(b"reserve\r\n")
        self.clock.pump([0.001] * 998)
        self.assertSays(other, b"reserve-with-timeout 0", b"RESERVED 2 1\r\nb")
        self.assertIn(b"state: ready\n", self.ask(other, b"stats-job %d" % first))
        self.assertIn(b"timeouts: 1\n", self.ask(other, b"stats-job %d" % first))
        self.assertEqual(worker.hear(), b"RESERVED %d 1\r\na\r\n" % first)
        self.assertSays(worker, b"delete %d" % first, b"DELETED")

    def test_deadline_soon(self) -> None:
        """Nobody is made to wait in the last second of a reservation."""
        client = self.connect()
        self.put(client, ttr=2)
        client.say(b"reserve\r\nreserve-with-timeout 30\r\n")
        self.clock.pump([0.001] * 998)
        self.assertEqual(client.hear(), b"RESERVED 1 1\r\nx\r\n")
        self.clock.pump([0.001] * 4)
        self.assertEqual(client.hear(), b"DEADLINE_SOON\r\n")
        for said in (b"reserve", b"reserve-with-timeout 0", b"reserve-with-timeout 9"):
            self.assertSays(client, said, b"DEADLINE_SOON")
        self.assertSays(client, b"touch 1", b"TOUCHED")
        self.assertSays(client, b"reserve-with-timeout 0", b"TIMED_OUT")

    def test_a_job_that_is_there_comes_before_the_deadline(self) -> None:
        client = self.connect()
        self.put(client, b"a", ttr=1)
        self.put(client, b"b", ttr=60)
        said = [b"reserve-with-timeout 0"] * 4
        self.assertEqual(
            self.ask(client, *said),
            b"RESERVED 1 1\r\na\r\nRESERVED 2 1\r\nb\r\n" + b"DEADLINE_SOON\r\n" * 2,
        )

    def test_who_goes_gives_back_what_it_had(self) -> None:
        for farewell in ("close", "quit"):
            client, other = self.connect(), self.connect()
            number = self.put(client)
            self.ask(client, b"reserve", b"reserve-with-timeout 600")
            self.ask(other, b"reserve")
            if farewell == "quit":
                client.connection.resume_parsing("nothing")
            client.go()
            self.turns()
            self.assertEqual(other.hear(), b"RESERVED %d 1\r\nx\r\n" % number)
            self.assertSays(other, b"delete %d" % number, b"DELETED")

    def test_quit(self) -> None:
        """It closes the connection, after all that was said before is replied to."""
        client = self.connect()
        client.say(b"put 0 0 60 1\r\nx\r\nreserve\r\nquit\r\nstats\r\n")
        self.turns()
        self.assertEqual(client.hear(), b"INSERTED 1\r\nRESERVED 1 1\r\nx\r\n")
        self.assertTrue(self.closed(client))
        self.assertSays(self.connect(), b"reserve-with-timeout 0", b"RESERVED 1 1\r\nx")

    def test_who_says_no_more_is_not_made_to_wait(self) -> None:
        """A client whose direction is closed could not be told from one that is dead."""
        client = self.connect(b"reserve")
        client.say_no_more()
        self.turns()
        self.assertEqual(client.hear(), b"TIMED_OUT\r\n")
        self.assertTrue(self.closed(client))

    def test_nor_is_what_it_said_before_that(self) -> None:
        client = self.connect(b"reserve", b"reserve-with-timeout 9", b"reserve")
        client.say_no_more()
        self.turns()
        self.assertEqual(client.hear(), b"TIMED_OUT\r\n" * 3)
        self.assertTrue(self.closed(client))

    def test_who_said_it_all_at_once_hears_it_all(self) -> None:
        client = self.connect()
        client.say(b"put 0 0 60 1\r\nx\r\nreserve\r\nreserve\r\nuse foo\r\n")
        client.say_no_more()
        self.turns()
        self.assertEqual(
            client.hear(), b"INSERTED 1\r\nRESERVED 1 1\r\nx\r\nTIMED_OUT\r\nUSING foo\r\n"
        )
        self.assertTrue(self.closed(client))


class ReserveJobTests(BeanstalkdTestCase):
    def test_in_any_state_but_reserved(self) -> None:
        client, other = self.connect(), self.connect()
        ready, delayed, buried = self.put(client), self.put(client, delay=100), self.put(client)
        self.put(client, b"last")
        self.ask(client, b"reserve-job %d" % buried, b"bury %d 7" % buried)
        for number in (delayed, buried, ready):
            said = b"reserve-job %d" % number
            self.assertSays(client, said, b"RESERVED %d 1\r\nx" % number)
            self.assertSays(client, said, b"NOT_FOUND")
            self.assertSays(other, said, b"NOT_FOUND")
        self.assertSays(other, b"reserve-with-timeout 0", b"RESERVED 4 4\r\nlast")
        self.assertSays(other, b"reserve-job 5", b"NOT_FOUND")
        for number in (delayed, buried, ready):
            self.assertSays(client, b"release %d 0 0" % number, b"RELEASED")
        said_all = [b"reserve-with-timeout 0"] * 4
        self.assertEqual(
            self.ask(other, *said_all),
            b"RESERVED 1 1\r\nx\r\nRESERVED 2 1\r\nx\r\nRESERVED 3 1\r\nx\r\nTIMED_OUT\r\n",
        )

    def test_a_buried_one_is_not_kicked_by_that(self) -> None:
        client = self.connect()
        self.put(client)
        self.ask(client, b"reserve", b"bury 1 0")
        self.assertSays(client, b"reserve-job 1", b"RESERVED 1 1\r\nx")
        self.assertIn(b"\nburies: 1\nkicks: 0\n", self.ask(client, b"stats-job 1"))
        self.ask(client, b"bury 1 0", b"kick-job 1")
        self.assertIn(b"\nburies: 2\nkicks: 1\n", self.ask(client, b"stats-job 1"))

    def test_it_runs_out_of_time_like_any_other(self) -> None:
        client = self.connect()
        self.put(client, delay=5, ttr=1)
        self.assertSays(client, b"reserve-job 1", b"RESERVED 1 1\r\nx")
        self.assertSays(client, b"reserve-with-timeout 1", b"DEADLINE_SOON")
        self.assertIn(b"state: reserved\n", self.ask(client, b"stats-job 1"))
        self.pass_time(1)
        self.assertIn(b"state: ready\n", self.ask(client, b"stats-job 1"))


class DeleteTests(BeanstalkdTestCase):
    def test_in_every_state(self) -> None:
        client, other = self.connect(), self.connect()
        ready, delayed, buried, held = (self.put(client, delay=d) for d in (0, 100, 0, 0))
        self.ask(client, b"reserve-job %d" % buried, b"bury %d 0" % buried)
        self.ask(client, b"reserve-job %d" % held)
        self.assertSays(other, b"delete %d" % held, b"NOT_FOUND")
        for number in (ready, delayed, buried):
            self.assertSays(other, b"delete %d" % number, b"DELETED")
            self.assertSays(other, b"delete %d" % number, b"NOT_FOUND")
        self.assertSays(client, b"delete %d" % held, b"DELETED")
        self.assertSays(client, b"delete %d" % held, b"NOT_FOUND")
        for number in (0, 5, 2**48, 2**64 - 1):
            self.assertSays(client, b"delete %d" % number, b"NOT_FOUND")
        self.assertIs(self.state(numbered_id(held)), State.COMPLETED)
        self.assertIs(self.state(numbered_id(ready)), State.CANCELLED)
        self.assertIsNone(self.status(numbered_id(buried)))

    def test_the_same_one_twice_at_once(self) -> None:
        client = self.connect()
        self.put(client)
        self.assertEqual(
            self.ask(client, b"reserve", b"delete 1", b"delete 1", b"delete 1"),
            b"RESERVED 1 1\r\nx\r\nDELETED\r\nNOT_FOUND\r\nNOT_FOUND\r\n",
        )

    def test_what_is_forgotten_in_memory_is_not_there_either(self) -> None:
        client = self.connect()
        self.put(client)
        self.ask(client, b"reserve", b"delete 1")
        self.forget_ended()
        for said in (b"delete 1", b"peek 1", b"stats-job 1", b"reserve-job 1", b"kick-job 1"):
            self.assertSays(client, said, b"NOT_FOUND")

    def test_deleted_is_said_when_it_is_stored(self) -> None:
        client = self.connect()
        self.put(client)
        self.ask(client, b"reserve")
        self.writer.holding = True
        self.assertEqual(self.ask(client, b"delete 1", b"touch 1"), b"")
        self.writer.let_go()
        self.turns()
        self.assertEqual(client.hear(), b"DELETED\r\nNOT_FOUND\r\n")


class ReleaseTests(BeanstalkdTestCase):
    def test_with_another_priority(self) -> None:
        client = self.connect()
        self.put(client, b"a", pri=1)
        self.put(client, b"b", pri=5)
        self.assertSays(client, b"reserve", b"RESERVED 1 1\r\na")
        self.assertSays(client, b"release 1 9 0", b"RELEASED")
        self.assertSays(client, b"release 1 9 0", b"NOT_FOUND")
        self.assertSays(client, b"reserve", b"RESERVED 2 1\r\nb")
        self.assertSays(client, b"reserve", b"RESERVED 1 1\r\na")
        self.assertIn(b"\npri: 9\n", self.ask(client, b"stats-job 1"))
        self.assertIn(b"\nreleases: 1\n", self.ask(client, b"stats-job 1"))

    def test_after_a_while(self) -> None:
        client = self.connect()
        self.put(client)
        self.ask(client, b"reserve")
        self.assertSays(client, b"release 1 0 1", b"RELEASED")
        self.assertIn(b"\nstate: delayed\n", self.ask(client, b"stats-job 1"))
        client.say(b"reserve-with-timeout 2\r\n")
        self.clock.pump([0.001] * 960)
        self.assertEqual(client.hear(), b"")
        self.clock.pump([0.001] * 50)
        self.assertEqual(client.hear(), b"RESERVED 1 1\r\nx\r\n")

    def test_of_what_is_not_its_own(self) -> None:
        client, other = self.connect(), self.connect()
        self.put(client)
        self.ask(client, b"reserve")
        for said in (b"release 1 0 0", b"bury 1 0", b"touch 1", b"delete 1"):
            self.assertSays(other, said, b"NOT_FOUND")

    def test_no_number_of_releases_and_time_outs_is_too_many(self) -> None:
        client = self.connect()
        self.put(client, ttr=1)
        for _ in range(30):
            self.ask(client, b"reserve", b"release 1 0 0", b"reserve")
            self.pass_time(1.25)
        heard = self.ask(client, b"stats-job 1")
        self.assertIn(b"\nstate: ready\n", heard)
        self.assertIn(b"\nreserves: 60\ntimeouts: 30\nreleases: 30\nburies: 0\nkicks: 0\n", heard)


class BuryTests(BeanstalkdTestCase):
    def bury(self, client: object, number: int, pri: int = 0) -> None:
        self.ask(client, b"reserve-job %d" % number)
        self.assertSays(client, b"bury %d %d" % (number, pri), b"BURIED")

    def test_buried_jobs_are_kicked_in_the_order_in_which_they_were_buried(self) -> None:
        client = self.connect()
        for _ in range(5):
            self.put(client)
        for number in (4, 2, 5, 1):
            self.bury(client, number)
        self.assertSays(client, b"peek-buried", b"FOUND 4 1\r\nx")
        self.assertSays(client, b"kick 2", b"KICKED 2")
        self.assertSays(client, b"peek-buried", b"FOUND 5 1\r\nx")
        self.assertSays(client, b"kick-job 1", b"KICKED")
        self.assertSays(client, b"kick-job 1", b"NOT_FOUND")
        self.assertSays(client, b"kick 10", b"KICKED 1")
        self.assertSays(client, b"kick 10", b"KICKED 0")
        self.assertSays(client, b"peek-buried", b"NOT_FOUND")
        said = [b"reserve-with-timeout 0"] * 2
        self.assertEqual(self.ask(client, *said), b"RESERVED 1 1\r\nx\r\nRESERVED 2 1\r\nx\r\n")

    def test_delayed_jobs_are_kicked_where_none_is_buried(self) -> None:
        client = self.connect()
        for delay in (30, 10, 20, 0):
            self.put(client, delay=delay)
        self.bury(client, 4)
        self.assertSays(client, b"kick 9", b"KICKED 1")
        self.assertSays(client, b"kick 2", b"KICKED 2")
        self.assertSays(client, b"peek-delayed", b"FOUND 1 1\r\nx")
        self.assertSays(client, b"kick-job 1", b"KICKED")
        self.assertSays(client, b"kick-job 1", b"NOT_FOUND")
        self.assertSays(client, b"kick-job 9", b"NOT_FOUND")
        self.assertIn(b"\nkicks: 1\n", self.ask(client, b"stats-job 1"))
        self.assertIn(b"\nkicks: 1\n", self.ask(client, b"stats-job 4"))

    def test_kick_is_for_the_used_tube_only(self) -> None:
        client = self.connect()
        self.put(client, delay=100)
        self.assertEqual(self.ask(client, b"use other", b"kick 5"), b"USING other\r\nKICKED 0\r\n")

    def test_the_priority_it_was_buried_with(self) -> None:
        client = self.connect()
        self.put(client, b"a", pri=1)
        self.put(client, b"b", pri=5)
        self.bury(client, 1, 9)
        self.assertIn(b"\npri: 9\n", self.ask(client, b"stats-job 1"))
        self.assertSays(client, b"kick 1", b"KICKED 1")
        said = [b"reserve-with-timeout 0"] * 2
        self.assertEqual(self.ask(client, *said), b"RESERVED 2 1\r\nb\r\nRESERVED 1 1\r\na\r\n")

    def test_a_kicked_job_goes_to_who_waits(self) -> None:
        worker, client = self.connect(), self.connect()
        self.put(client)
        self.bury(client, 1)
        self.assertEqual(self.ask(worker, b"reserve"), b"")
        self.assertSays(client, b"kick 1", b"KICKED 1")
        self.assertEqual(worker.hear(), b"RESERVED 1 1\r\nx\r\n")


class PeekTests(BeanstalkdTestCase):
    def test_by_id_in_every_state(self) -> None:
        client, other = self.connect(), self.connect()
        ready, delayed, buried, held = (self.put(client, delay=d) for d in (0, 100, 0, 0))
        self.ask(client, b"reserve-job %d" % buried, b"bury %d 0" % buried)
        self.ask(client, b"reserve-job %d" % held)
        for number in (ready, delayed, buried, held):
            self.assertSays(other, b"peek %d" % number, b"FOUND %d 1\r\nx" % number)
        for number in (0, 5, 2**64 - 1):
            self.assertSays(other, b"peek %d" % number, b"NOT_FOUND")

    def test_the_first_of_a_tube(self) -> None:
        client = self.connect()
        for said in (b"peek-ready", b"peek-delayed", b"peek-buried"):
            self.assertSays(client, said, b"NOT_FOUND")
        for body, pri, delay in ((b"a", 5, 0), (b"b", 2, 0), (b"c", 0, 99), (b"d", 9, 5)):
            self.put(client, body, pri=pri, delay=delay)
        self.assertSays(client, b"peek-ready", b"FOUND 2 1\r\nb")
        self.assertSays(client, b"peek-delayed", b"FOUND 4 1\r\nd")
        self.ask(client, b"use other")
        for said in (b"peek-ready", b"peek-delayed", b"peek-buried"):
            self.assertSays(client, said, b"NOT_FOUND")


class PauseTests(BeanstalkdTestCase):
    def test_nobody_gets_a_job_for_so_long(self) -> None:
        client, other = self.connect(), self.connect()
        self.put(client)
        client.say(b"pause-tube default 1\r\n")
        other.say(b"reserve\r\n")
        self.clock.pump([0.001] * 995)
        self.assertEqual((client.hear(), other.hear()), (b"PAUSED\r\n", b""))
        self.clock.pump([0.001] * 15)
        self.assertEqual(other.hear(), b"RESERVED 1 1\r\nx\r\n")

    def test_a_pause_of_0_ends_one(self) -> None:
        client, other = self.connect(), self.connect()
        self.put(client)
        self.assertSays(client, b"pause-tube default 86400", b"PAUSED")
        heard = self.ask(client, b"stats-tube default")
        self.assertIn(b"\ncmd-pause-tube: 1\npause: 86400\npause-time-left: 86399\n", heard)
        self.assertEqual(self.ask(other, b"reserve"), b"")
        self.assertSays(client, b"pause-tube default 0", b"PAUSED")
        self.turns()
        self.assertEqual(other.hear(), b"RESERVED 1 1\r\nx\r\n")
        heard = self.ask(client, b"stats-tube default")
        self.assertIn(b"\ncmd-pause-tube: 2\npause: 0\npause-time-left: 0\n", heard)

    def test_of_a_tube_that_is_not_there(self) -> None:
        self.assertSays(self.connect(), b"pause-tube nowhere 1", b"NOT_FOUND")
