"""Connections: limits, time-outs, back-pressure, and what is left of those that go."""

from time import perf_counter

from taskqueue.core.task import DEFAULT_OPTIONS, State
from taskqueue.errors import TooManyConnections
from taskqueue.frontends import factory as factory_module
from taskqueue.frontends.connection import LINGER_S, describe_peer
from taskqueue.wire import MessageType, encode
from tests.frontends.peers import FrontendTestCase, Peer

ACK, NACK, EVENT = MessageType.ACK, MessageType.NACK, MessageType.EVENT


class AdmissionTests(FrontendTestCase):
    def refused(self, peer):
        """The code that a peer was refused with; it must be on its way out."""
        message_type, header = peer.hear_one()
        self.assertEqual(message_type, NACK)
        self.assertTrue(peer.wire.half_closed)
        self.assertTrue(peer.connection.closing)
        return header

    def test_cap_of_all(self):
        self.limit(max_connections=2)
        first, second = self.connect("10.0.0.1"), self.connect_lines("10.0.0.2")
        refusal = self.refused(self.connect("10.0.0.3", greeted=False))
        self.assertEqual(refusal["code"], "TOO_MANY_CONNECTIONS")
        self.assertIn("max_connections", refusal["message"])
        self.assertEqual(refusal["retry_after_s"], 1.0)
        self.assertEqual(self.admission.count, 2)
        refusal = self.refused(self.connect_lines("10.0.0.3"))
        self.assertEqual((refusal["ok"], refusal["code"]), (False, "TOO_MANY_CONNECTIONS"))
        first.go()
        self.connect("10.0.0.3")
        second.vanish()
        self.connect("10.0.0.4")
        self.assertEqual(self.service.traffic.refused, {TooManyConnections.code: 2})
        self.assertEqual(self.service.traffic.accepted, {"framed": 3, "lines": 1})

    def test_cap_of_each_peer(self):
        self.limit(max_connections_per_peer=1)
        self.connect("10.0.0.1")
        refusal = self.refused(self.connect("10.0.0.1", greeted=False))
        self.assertIn("max_connections_per_peer", refusal["message"])
        self.connect("10.0.0.2")

    def test_refused_one_gives_no_slot_back(self):
        self.limit(max_connections=1)
        self.connect()
        for _ in range(3):
            self.connect(greeted=False).go()
        self.assertEqual(self.admission.count, 1)
        self.refused(self.connect(greeted=False))

    def test_slot_is_given_back_however_the_connection_goes(self):
        self.limit(max_connections=1)
        ways = {
            "closed": Peer.go,
            "broken": Peer.vanish,
            "bad frame": lambda peer: (peer.say_raw(bytes(4)), peer.go()),
            "cut off": lambda peer: (peer.say_raw(bytes(4)), self.pass_time(LINGER_S)),
            "no HELLO": lambda peer: (peer.say(MessageType.PING), peer.go()),
            "crash": self.crash_request,
            "silent": lambda peer: (self.pass_time(31), self.check_times(), peer.go()),
        }
        for way, leave in ways.items():
            peer = self.connect(greeted=False)
            self.assertEqual(self.admission.count, 1, way)
            leave(peer)
            self.assertEqual(self.admission.count, 0, way)
            self.assertFalse(peer.wire.connected, way)
            self.assertNothingLeft()

    def crash_request(self, peer):
        def crash(*_):
            raise ZeroDivisionError

        peer.connection.decode = crash
        peer.say(MessageType.HELLO)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(peer.wire.aborted)

    def test_peer_behind_a_proxy_is_known_at_its_first_data(self):
        self.framed.behind_proxy = True
        self.limit(max_connections_per_peer=1)
        peer = self.connect("10.9.9.9", greeted=False)
        self.assertEqual(self.admission.count, 0)
        peer.wire.peerAddr = type(peer.wire.peerAddr)("TCP", "192.0.2.7", 1234)
        peer.hello(client="shop")
        self.assertEqual(peer.connection.host, "192.0.2.7")
        self.assertEqual(peer.connection.session.holder.name, "shop at 192.0.2.7:1234")
        second = self.connect("10.9.9.9", greeted=False)
        second.wire.peerAddr = peer.wire.peerAddr
        second.say(MessageType.HELLO)
        self.assertEqual(self.refused(second)["code"], "TOO_MANY_CONNECTIONS")
        self.connect("10.9.9.9")
        peer.go()
        self.assertEqual(self.admission.count, 1)

    def test_peers_without_an_address(self):
        self.assertEqual(describe_peer(None), ("local", "local"))


class LingeringTests(FrontendTestCase):
    """One who is sent away gets to read why, and has to go."""

    def test_goes_when_the_peer_goes(self):
        peer = self.connect(greeted=False)
        peer.say_raw(bytes(4))
        self.assertEqual(peer.hear_one()[1]["code"], "BAD_FRAME")
        self.assertTrue(peer.wire.half_closed)
        self.assertFalse(peer.wire.disconnecting)
        peer.connection.readConnectionLost()
        self.assertTrue(peer.wire.disconnecting)
        peer.go()
        self.assertFalse(peer.wire.aborted)

    def test_is_cut_off_when_it_does_not_go(self):
        peer = self.connect(greeted=False)
        peer.say_raw(bytes(4))
        self.turn(LINGER_S)
        self.assertTrue(peer.wire.aborted)

    def test_what_it_sends_meanwhile_is_read_and_dropped(self):
        peer = self.connect(greeted=False)
        peer.say_raw(bytes(4))
        peer.hear()
        peer.say(MessageType.HELLO)
        peer.say_raw(bytes(100))
        self.assertEqual(peer.hear(), [])
        self.assertEqual(peer.wire.producerState, "producing")

    def test_peer_that_was_paused_is_read_until_it_goes(self):
        """Otherwise nobody would notice that it is gone, nor would it read why."""
        self.limit(max_inflight_requests=1)
        peer = self.connect()
        peer.say(MessageType.CLAIM_TASK, wait_s=30)
        self.assertEqual(peer.wire.producerState, "paused")
        closed = self.framed.close_connections()
        self.assertEqual(peer.wire.producerState, "producing")
        peer.go()
        self.successResultOf(closed)

    def test_close_of_all_fires_when_all_are_gone(self):
        first, second = self.connect(), self.connect()
        closed = self.framed.close_connections()
        first.go()
        self.assertNoResult(closed)
        second.go()
        self.successResultOf(closed)
        self.successResultOf(self.lines.close_connections())

    def test_close_of_all_cuts_off_who_stays(self):
        peers = [self.connect(), self.connect()]
        closed = self.framed.close_connections()
        self.turn(LINGER_S)
        self.successResultOf(closed)
        self.assertTrue(all(peer.wire.aborted for peer in peers))

    def test_close_that_is_given_up_cuts_off_at_once(self):
        peer = self.connect()
        closed = self.framed.close_connections()
        closed.cancel()
        self.assertTrue(peer.wire.aborted)
        self.successResultOf(closed)

    def test_stop_answers_and_closes(self):
        peer = self.connect()
        peer.say(MessageType.CLAIM_TASK, wait_s=30)
        peer.say(MessageType.SUBMIT_TASK, tasks=[{"type": "job"}], queue="x")
        peer.hear()
        peer.say(
            MessageType.SUBMIT_TASK, tasks=[{"type": "job", "queue": "other", "payload": b"x"}]
        )
        stopped = self.service.stopService()
        answers = [header for kind, header in peer.hear() if kind is ACK]
        self.assertEqual(len(answers), 2)
        self.assertNoResult(stopped)
        self.assertTrue(peer.wire.half_closed)
        peer.go()
        self.successResultOf(stopped)


class TimeTests(FrontendTestCase):
    def silent(self, seconds):
        self.turn(seconds)
        self.check_times()

    def ended(self, peer):
        """The error that a peer was sent away with, C{None} if it was not."""
        errors = [header for kind, header in peer.hear() if kind is NACK]
        self.assertEqual(bool(errors), peer.connection.closing)
        return errors[0] if errors else None

    def test_many_are_checked_some_at_a_time(self):
        """So that nobody waits while thousands are looked at."""
        self.patch(factory_module, "CHECKED_AT_A_TIME", 2)
        peers = [self.connect() for _ in range(5)]
        self.turn(30)
        ended = []
        for _ in range(3):
            more = self.framed.check_times()
            ended.append((sum(peer.connection.closing for peer in peers), more))
        self.assertEqual(ended, [(2, True), (4, True), (5, False)])

    def test_no_hello(self):
        peer = self.connect(greeted=False)
        self.silent(29.5)
        self.assertIsNone(self.ended(peer))
        peer.say_raw(encode(MessageType.HELLO, {})[:-1])
        self.silent(0.5)
        error = self.ended(peer)
        self.assertEqual(error["code"], "TIMEOUT")
        self.assertIn("HELLO", error["message"])

    def test_idle(self):
        peer = self.connect()
        self.silent(29.5)
        peer.say(MessageType.PING)
        peer.hear()
        self.silent(29.5)
        self.assertIsNone(self.ended(peer))
        self.silent(0.5)
        error = self.ended(peer)
        self.assertEqual(error["code"], "TIMEOUT")
        self.assertIn("PING", error["message"])

    def test_lines_need_no_hello_but_are_idle_too(self):
        peer = self.connect_lines()
        self.silent(29.5)
        peer.say(MessageType.PING)
        self.assertEqual(peer.hear_one()[0], ACK)
        self.silent(30)
        self.assertEqual(self.ended(peer)["code"], "TIMEOUT")

    def test_slow_upload_is_not_silence(self):
        self.limit(idle_timeout_s=5)
        peer = self.connect()
        frame = encode(MessageType.SUBMIT_TASK, {"tasks": [{"type": "job", "payload": bytes(100)}]})
        for byte in range(0, len(frame), 20):
            self.silent(4)
            peer.say_raw(frame[byte : byte + 20])
        self.turn()
        self.assertEqual(peer.hear_one()[0], ACK)

    def test_not_idle_while_a_claim_waits(self):
        peer = self.connect()
        peer.say(MessageType.CLAIM_TASK, wait_s=120)
        self.silent(100)
        self.assertIsNone(self.ended(peer))
        self.silent(25)
        self.assertEqual([kind for kind, _ in peer.hear()], [ACK])
        self.silent(30)
        self.assertIsNotNone(self.ended(peer))

    def test_not_idle_with_leases(self):
        self.submit("a", options=self.long_lease())
        peer = self.connect()
        peer.say(MessageType.CLAIM_TASK, wait_s=0)
        peer.hear()
        self.silent(100)
        self.assertIsNone(self.ended(peer))

    def long_lease(self):
        return DEFAULT_OPTIONS._replace(lease_s=1000.0)

    def test_not_idle_as_a_worker(self):
        peer = self.connect()
        peer.say(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        peer.hear()
        self.turn(20)
        peer.say(MessageType.HEARTBEAT, worker="w", incarnation=1)
        peer.hear()
        self.silent(29)
        self.assertIsNone(self.ended(peer))

    def test_worker_that_was_evicted_is_idle(self):
        peer = self.connect()
        peer.say(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        peer.hear()
        self.turn(31)
        self.silent(30)
        self.assertEqual(self.ended(peer)["code"], "TIMEOUT")

    def test_not_idle_while_it_watches(self):
        self.submit("11111111-1111-4111-8111-111111111111")
        tasks, queues = self.connect(), self.connect()
        tasks.say(MessageType.WATCH, tasks=["11111111-1111-4111-8111-111111111111"])
        queues.say(MessageType.WATCH, queues=["default"])
        for peer in (tasks, queues):
            peer.hear()
        self.silent(100)
        for peer in (tasks, queues):
            self.assertIsNone(self.ended(peer))
        self.report(self.take())
        self.assertEqual([kind for kind, _ in tasks.hear()], [EVENT])
        self.silent(30)
        self.assertIsNotNone(self.ended(tasks))


class PressureTests(FrontendTestCase):
    """No buffer is unbounded, whichever side does not keep up."""

    def test_unanswered_requests_pause_parsing(self):
        self.limit(max_inflight_requests=3)
        peer = self.connect()
        self.writer.holding = True
        task = {"tasks": [{"type": "job"}]}
        frames = [encode(MessageType.SUBMIT_TASK, {"id": i, **task}) for i in range(8)]
        peer.say_raw(b"".join(frames))
        self.turn()
        self.assertEqual(peer.connection.session.unanswered, 3)
        self.assertEqual(peer.connection.waiting, 5)
        self.assertEqual(peer.wire.producerState, "paused")
        self.assertEqual(len(self.service.broker.ledger.tasks), 3)
        self.writer.let_go()
        for _ in range(4):
            self.turn()
        self.assertEqual([header["id"] for _, header in peer.hear()], list(range(8)))
        self.assertEqual(peer.wire.producerState, "producing")

    def test_peer_that_does_not_read_is_not_read(self):
        peer = self.connect()
        peer.wire.buffer_bytes = len(peer.wire.value()) + 100
        peer.say_raw(encode(MessageType.PING, {"id": 1}) * 50)
        self.assertEqual(peer.wire.producerState, "paused")
        answered = self.service.traffic.requests["ping"]
        self.assertLess(answered, 10)
        peer.wire.read()
        self.assertGreater(self.service.traffic.requests["ping"], answered)
        while peer.wire.producerState == "paused":
            peer.wire.read()
        self.assertEqual(self.service.traffic.requests["ping"], 50)

    def test_peer_that_does_not_read_is_cut_off_in_time(self):
        peer = self.connect()
        peer.wire.buffer_bytes = 0
        peer.say(MessageType.PING)
        self.turn(29)
        self.check_times()
        self.assertTrue(peer.wire.connected)
        peer.wire.read()
        peer.say(MessageType.PING)
        self.turn(29)
        self.check_times()
        self.assertTrue(peer.wire.connected)
        self.turn(1)
        self.check_times()
        self.assertTrue(peer.wire.aborted)
        self.assertEqual(self.service.traffic.refused["SLOW_READER"], 1)

    def test_peer_that_does_not_read_is_cut_off_by_bytes(self):
        """Events go on while its requests are not read: they are bounded too."""
        self.limit(max_outbound_bytes=5000)
        peer = self.connect()
        peer.say(MessageType.WATCH, queues=["default"])
        peer.wire.buffer_bytes = 0
        for _ in range(4):
            self.complete(result=bytes(1000))
        self.assertTrue(peer.wire.connected)
        self.complete(result=bytes(1000))
        self.assertTrue(peer.wire.aborted)
        self.complete(result=bytes(1000))

    def test_outcomes_come_in_messages_that_can_be_read(self):
        """However many large results there are at once, no message is over the limit."""
        self.limit(max_frame_bytes=20_000, max_payload_bytes=8000)
        peer = self.connect()
        peer.say(MessageType.WATCH, queues=["default"])
        peer.hear()
        for _ in range(10):
            self.submit()
        reports = [self.reporting(d, result=bytes(3000)) for d in self.claim(limit=10)]
        self.turn()
        for report in reports:
            self.successResultOf(report)
        data = peer.wire.value()[peer._read :]
        sizes = [len(frame) for frame in type(peer._decoder)().feed(data)]
        self.assertEqual(sum(len(header["events"]) for _, header in peer.hear()), 10)
        self.assertLess(max(sizes), 20_000)
        self.assertLess(len(sizes), 10)

    def test_dribble_takes_linear_time(self):
        """Four times as many bytes, one at a time, take about four times as long."""
        peer = self.connect()
        self.dribble(peer, 1000)
        short_s = min(self.dribble(peer, 10_000) for _ in range(2))
        long_s = min(self.dribble(peer, 40_000) for _ in range(2))
        self.assertLess(long_s, 10 * short_s)

    def dribble(self, peer, size):
        """Send a task with a payload byte by byte; return the seconds that it took."""
        task = {"type": "job", "payload": bytes(size)}
        frame = encode(MessageType.SUBMIT_TASK, {"id": 1, "tasks": [task]})
        began = perf_counter()
        for start in range(len(frame)):
            peer.connection.dataReceived(frame[start : start + 1])
        took_s = perf_counter() - began
        self.turn()
        self.assertEqual(peer.hear_one()[0], ACK)
        return took_s


class LeavingTests(FrontendTestCase):
    """Connections that go at the worst moment leave nothing behind."""

    def tearDown(self):
        self.let_all_go()
        self.assertNothingLeft()

    def test_while_its_claim_is_served(self):
        """The claim of one peer is answered; in that moment the next one breaks."""
        first, second = self.connect(), self.connect()
        first.say(MessageType.CLAIM_TASK, wait_s=30)
        second.say(MessageType.CLAIM_TASK, wait_s=30)
        write = first.wire.write
        first.wire.write = lambda data: (write(data), second.vanish())
        self.result_of(self.submitting("a", "b"))
        self.assertEqual([kind for kind, _ in first.hear()], [ACK])
        self.assertEqual(self.state("a"), State.IN_PROGRESS)
        self.assertEqual(self.state("b"), State.PENDING)

    def test_while_its_claim_waits(self):
        peer = self.connect()
        peer.say(MessageType.CLAIM_TASK, wait_s=30)
        peer.vanish()
        self.assertEqual(len(self.service.broker.ledger.claims), 0)
        self.submit("a")
        self.assertEqual(self.state("a"), State.PENDING)

    def test_while_its_commit_is_held(self):
        """What it asked for was taken, and happens; nobody is told."""
        peer = self.connect()
        self.writer.holding = True
        peer.say(MessageType.SUBMIT_TASK, tasks=[{"type": "job"}], watch=True)
        self.turn()
        peer.vanish()
        self.writer.let_go()
        self.turn()
        self.assertEqual(len(self.store.inner._kept.rows), 1)

    def test_while_its_ids_are_looked_up(self):
        self.complete("11111111-1111-4111-8111-111111111111")
        self.forget_ended()
        peer = self.connect()
        self.reading.holding = True
        peer.say(
            MessageType.SUBMIT_TASK,
            tasks=[
                {"type": "job", "id": "11111111-1111-4111-8111-111111111111"},
                {"type": "job", "id": "22222222-2222-4222-8222-222222222222"},
            ],
            watch=True,
        )
        peer.say(MessageType.WATCH, tasks=["11111111-1111-4111-8111-111111111111"])
        peer.vanish()
        self.reading.let_go()
        self.turn()

    def test_with_leases(self):
        self.submit("a")
        peer = self.connect()
        peer.say(MessageType.CLAIM_TASK)
        self.assertEqual(self.state("a"), State.IN_PROGRESS)
        peer.vanish()
        row = self.status("a")
        self.assertEqual((State(row.state), row.losses), (State.PENDING, 1))

    def test_between_register_and_heartbeat(self):
        self.submit("a")
        peer = self.connect()
        peer.say(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        peer.say(MessageType.CLAIM_TASK)
        peer.say(MessageType.CLAIM_TASK, wait_s=30)
        peer.vanish()
        self.assertEqual(len(self.service.broker.ledger.claims), 0)
        self.assertEqual(self.state("a"), State.IN_PROGRESS)
        self.pass_time(11)
        self.assertEqual(self.state("a"), State.PENDING)
        self.assertEqual(len(self.service.broker.ledger.workers), 0)

    def test_worker_comes_back_on_another_connection(self):
        self.submit("a")
        first = self.connect()
        first.say(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        first.say(MessageType.CLAIM_TASK)
        [_, (_, claimed)] = first.hear()
        first.vanish()
        second = self.connect()
        second.say(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        _, header = second.hear_one()
        lease = claimed["tasks"][0]["lease"]
        self.assertEqual([held["lease"] for held in header["leases"]], [lease])
        result = {"task": claimed["tasks"][0]["id"], "lease": lease, "status": "completed"}
        # The id of the task is not a UUID here: only the service can be asked.
        self.assertEqual(result["task"], "a")
        self.pass_time(12)
        self.assertEqual(len(self.service.broker.ledger.workers), 1)

    def test_after_it_was_unknown_who_it_is(self):
        peer = self.connect(greeted=False)
        peer.vanish()

    def test_peer_that_said_all_gets_its_answers(self):
        peer = self.connect_lines()
        self.writer.holding = True
        peer.say(MessageType.CLAIM_TASK, wait_s=30, queues=["other"])
        peer.say(MessageType.SUBMIT_TASK, tasks=[{"type": "job", "payload": "x"}])
        self.turn()
        peer.connection.readConnectionLost()
        self.assertEqual(len(self.service.broker.ledger.claims), 0)
        self.assertFalse(peer.wire.disconnecting)
        self.writer.let_go()
        self.turn()
        self.assertEqual([kind for kind, _ in peer.hear()], [ACK, ACK])
        self.assertTrue(peer.wire.disconnecting)

    def test_peer_that_said_all_and_does_not_read(self):
        peer = self.connect_lines()
        peer.say(MessageType.PING)
        peer.connection.readConnectionLost()
        self.assertTrue(peer.wire.disconnecting)
        self.turn(30)
        self.assertTrue(peer.wire.aborted)


class ConversationTests(FrontendTestCase):
    def test_hello_first(self):
        peer = self.connect(greeted=False)
        peer.say(MessageType.PING)
        message_type, header = peer.hear_one()
        self.assertEqual((message_type, header["code"]), (NACK, "HELLO_REQUIRED"))
        self.assertTrue(peer.wire.half_closed)

    def test_versions(self):
        peer = self.connect(greeted=False)
        self.assertEqual(peer.hello(versions=[1, 7])["version"], 1)
        peer = self.connect(greeted=False)
        peer.say(MessageType.HELLO, versions=[2, 3])
        message_type, header = peer.hear_one()
        self.assertEqual((message_type, header["code"]), (NACK, "UNSUPPORTED_VERSION"))
        self.assertEqual(header["versions"], [1])
        self.assertTrue(peer.wire.half_closed)

    def test_waiting_claim_does_not_block_what_follows(self):
        peer = self.connect()
        claim = peer.say(MessageType.CLAIM_TASK, wait_s=30)
        ping = peer.say(MessageType.PING)
        submit = peer.say(MessageType.SUBMIT_TASK, tasks=[{"type": "job", "payload": b"\x00x"}])
        self.turn()
        answers = peer.hear()
        self.assertEqual([header["id"] for _, header in answers], [ping, claim, submit])
        self.assertEqual(answers[1][1]["tasks"][0]["payload"], b"\x00x")

    def test_bad_request_costs_only_itself(self):
        peer = self.connect()
        peer.say_raw(encode(MessageType.PING, {"id": 7, "nonsense": 1}))
        message_type, header = peer.hear_one()
        self.assertEqual((message_type, header["id"], header["code"]), (NACK, 7, "BAD_REQUEST"))
        peer.say_raw(b"\x00\x00\x00\x03\xff{}")
        self.assertEqual(peer.hear_one()[1]["code"], "UNKNOWN_OPERATION")
        peer.say_raw(b"\x00\x00\x00\x03\x12{x")
        self.assertEqual(peer.hear_one()[1]["code"], "BAD_REQUEST")
        peer.say(MessageType.PING)
        self.assertEqual(peer.hear_one()[0], ACK)

    def test_broken_stream_ends_after_what_came_before_it(self):
        peer = self.connect()
        peer.say_raw(encode(MessageType.PING, {"id": 1}) + b"\xff\xff\xff\xff" + bytes(10))
        (first, _), (second, header) = peer.hear()
        self.assertEqual((first, second, header["code"]), (ACK, NACK, "FRAME_TOO_LARGE"))
        other = self.connect()
        other.say(MessageType.PING)
        self.assertEqual(other.hear_one()[0], ACK)

    def test_numbers(self):
        peer = self.connect()
        peer.say(MessageType.PING)
        traffic = self.service.traffic
        self.assertEqual(traffic.requests, {"hello": 1, "ping": 1})
        self.assertEqual(traffic.open, {"framed": 1})
        self.assertEqual(traffic.bytes_out, len(peer.wire.value()))
        self.assertGreater(traffic.bytes_in, 0)

    def test_lines(self):
        peer = self.connect_lines()
        peer.say_raw(
            b'\r\n  \n{"op": "submit", "tasks": [{"type": "job", "payload": "h\xc3\xa9"}]}\r\n'
        )
        self.turn()
        _, header = peer.hear_one()
        self.assertEqual((header["ok"], len(header["tasks"])), (True, 1))
        peer.say_raw(b"help\n")
        self.assertEqual(peer.hear_one()[0], NACK)
        peer.say_raw(b'{"op": "claim"}\n')
        self.assertEqual(peer.hear_one()[1]["tasks"][0]["payload"], "h\u00e9")
