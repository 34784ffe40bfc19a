"""The load generator: its books, and every protocol against answers in arbitrary chunks."""

import struct
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.peers import amqp, beanstalk, gearman, jetstream, native, resp
from benchmarks.peers.course import PAYLOAD, Course, LoadFailed, numbered, percentile


class Transport:
    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data

    def taken(self):
        data, self.written = self.written, b""
        return data


class Claims:
    """The books of an open loop, as a worker sees them."""

    def __init__(self):
        self.claims: list[bytes] = []
        self.acks: list[int] = []
        self.done = 0

    def claimed(self, payload):
        self.claims.append(payload)

    def acked(self, number):
        self.acks.append(number)

    def finished(self):
        self.done += 1


def connected(connection):
    """A connection and its transport."""
    transport = Transport()
    connection.connection_made(transport)
    return connection, transport


def feed(connection, data, cuts):
    """Give it C{data} in pieces."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        if begin < end:
            connection.data_received(data[begin:end])


chunked = settings(derandomize=True, deadline=None, max_examples=40)
CUTS = st.lists(st.integers(0, 5000), max_size=8)


class CourseTests(SynchronousTestCase):
    def setUp(self):
        self.asked: list[str] = []

    def ask(self):
        self.asked.append("again")

    def test_no_more_than_the_backlog_is_unfinished(self):
        course = Course(100)
        self.assertTrue(course.take(60, self.ask))
        self.assertFalse(course.take(60, self.ask))
        self.assertEqual((course.sent, self.asked), (60, []))
        course.finished(30)
        self.assertEqual((course.done, self.asked), (30, ["again"]))
        self.assertTrue(course.take(60, self.ask))

    def test_who_was_told_to_ask_again_is_told_once(self):
        course = Course(10)
        course.take(10, self.ask)
        course.take(10, self.ask)
        course.finished(5)
        course.finished(5)
        self.assertEqual(self.asked, ["again"])

    def test_at_the_end_nothing_more_is_submitted(self):
        course = Course(100)
        course.take(100, self.ask)
        course.take(1, self.ask)
        course.close()
        course.finished(100)
        self.assertEqual(self.asked, [])
        self.assertFalse(course.take(1, self.ask))

    def test_percentiles(self):
        values = [float(number) for number in range(1000, 0, -1)]
        self.assertEqual([percentile(values, share) for share in (0.5, 0.99)], [501.0, 991.0])
        self.assertEqual(percentile([7.0], 0.999), 7.0)

    def test_a_payload_says_which_task_it_is(self):
        self.assertEqual(len(numbered(42)), len(PAYLOAD))
        self.assertEqual(int(numbered(42)[:10]), 42)


class BeanstalkTests(SynchronousTestCase):
    @chunked
    @given(CUTS)
    def test_a_worker_deletes_what_it_reserved_and_asks_for_more(self, cuts):
        course = Course(10)
        course.sent = 3
        worker, transport = connected(beanstalk.Worker(course, 3))
        self.assertEqual(transport.taken(), b"reserve-with-timeout 1\r\n")
        reserved = b"RESERVED %d 100\r\n" + PAYLOAD + b"\r\n"
        feed(worker, reserved % 7, cuts)
        self.assertEqual(transport.taken(), b"delete 7\r\n" + b"reserve-with-timeout 0\r\n" * 3)
        feed(worker, b"DELETED\r\n" + reserved % 8 + reserved % 9 + b"TIMED_OUT\r\n", cuts)
        self.assertEqual(course.done, 1)
        self.assertTrue(transport.taken().startswith(b"delete 8\r\ndelete 9\r\nreserve"))
        feed(worker, b"DELETED\r\nDELETED\r\n" + b"TIMED_OUT\r\n" * 3, cuts)
        self.assertEqual((course.done, transport.taken()), (3, b"reserve-with-timeout 1\r\n"))

    @chunked
    @given(CUTS)
    def test_a_producer_goes_on_when_its_batch_is_there(self, cuts):
        producer, transport = connected(beanstalk.Producer(Course(4), 2, 1))
        self.assertEqual(transport.taken().count(PAYLOAD), 2)
        feed(producer, b"INSERTED 1\r\n", cuts)
        self.assertEqual(transport.taken(), b"")
        feed(producer, b"INSERTED 2\r\n", cuts)
        self.assertEqual(transport.taken().count(PAYLOAD), 2)

    def test_what_is_refused_is_not_counted(self):
        producer, _ = connected(beanstalk.Producer(Course(4), 2, 1))
        self.assertRaises(LoadFailed, producer.data_received, b"JOB_TOO_BIG\r\n")
        worker, _ = connected(beanstalk.Worker(Course(4), 2))
        self.assertRaises(LoadFailed, worker.data_received, b"NOT_FOUND\r\nOUT\r\nERROR\r\n")

    @chunked
    @given(CUTS)
    def test_an_open_loop(self, cuts):
        books = Claims()
        waiter, transport = connected(beanstalk.Waiter(books))
        transport.taken()
        feed(waiter, b"RESERVED 5 100\r\n" + numbered(3) + b"\r\n", cuts)
        self.assertEqual(transport.taken(), b"delete 5\r\nreserve\r\n")
        feed(waiter, b"DELETED\r\n", cuts)
        self.assertEqual((books.claims, books.done), ([numbered(3)], 1))
        submitter, _ = connected(beanstalk.Submitter(books))
        submitter.submit(8)
        submitter.submit(9)
        feed(submitter, b"INSERTED 1\r\nINSERTED 2\r\n", cuts)
        self.assertEqual(books.acks, [8, 9])


class RespTests(SynchronousTestCase):
    def test_a_command(self):
        self.assertEqual(
            resp.command(b"RPUSH", b"q", b"12"), b"*3\r\n$5\r\nRPUSH\r\n$1\r\nq\r\n$2\r\n12\r\n"
        )

    def test_how_many_answers_a_submission_gets(self):
        data, answers = resp.submission("list", [b"a", b"b"])
        self.assertEqual((data, answers), (resp.command(b"RPUSH", b"queue", b"a", b"b"), 1))
        data, answers = resp.submission("stream", [b"a", b"b"])
        self.assertEqual((data.count(b"XADD"), answers), (2, 2))


def ack(header, attachments=b""):
    return native.frame(native.ACK, header, attachments)


class NativeTests(SynchronousTestCase):
    def greeted(self, connection):
        connection, transport = connected(connection)
        self.assertEqual(transport.taken(), native.GREETING)
        connection.data_received(ack(b'{"version":1,"id":0}'))
        return connection, transport

    def delivery(self, number, lease):
        return b'{"id":"0000-%d","type":"noop","attempt":1,"lease":%d,"size":100}' % (number, lease)

    @chunked
    @given(CUTS)
    def test_a_worker_completes_what_it_claimed_and_claims_more(self, cuts):
        course = Course(10)
        course.sent = 2
        worker, transport = self.greeted(native.Worker(course, 2))
        claim = transport.taken()
        self.assertEqual(claim, native.frame(native.CLAIM, b'{"id":0,"limit":2,"wait_s":5}'))
        tasks = b'{"tasks":[%b,%b],"id":0}' % (self.delivery(1, 11), self.delivery(2, 12))
        feed(worker, ack(tasks, PAYLOAD * 2), cuts)
        done = native.results([(b"0000-1", b"11"), (b"0000-2", b"12")])
        self.assertEqual(transport.taken(), done + claim)
        feed(worker, ack(b'{"states":["completed","completed"],"id":1}'), cuts)
        self.assertEqual((course.done, transport.taken()), (2, b""))
        feed(worker, ack(b'{"tasks":[],"id":0}'), cuts)
        self.assertEqual(transport.taken(), claim)

    def test_refusals_are_seen(self):
        producer, _ = self.greeted(native.Producer(Course(10), 2, 1))
        nack = native.frame(6, b'{"code":"QUEUE_FULL","message":"full","id":0}')
        self.assertRaises(LoadFailed, producer.data_received, nack)
        partly = ack(b'{"tasks":[null],"errors":[{"item":0}],"id":0}')
        self.assertRaises(LoadFailed, producer.data_received, partly)

    @chunked
    @given(CUTS)
    def test_an_open_loop(self, cuts):
        books = Claims()
        waiter, transport = self.greeted(native.Waiter(books))
        transport.taken()
        tasks = b'{"tasks":[%b],"id":0}' % self.delivery(1, 11)
        feed(waiter, ack(tasks, numbered(3)) + ack(b'{"states":["completed"],"id":1}'), cuts)
        self.assertEqual((books.claims, books.done), ([numbered(3)], 1))
        submitter, _ = self.greeted(native.Submitter(books))
        submitter.submit(8)
        feed(submitter, ack(b'{"tasks":["0000-1"],"id":8}'), cuts)
        self.assertEqual(books.acks, [8])


class GearmanTests(SynchronousTestCase):
    def packet(self, kind, body=b""):
        return struct.pack(">4sII", b"\0RES", kind, len(body)) + body

    @chunked
    @given(CUTS)
    def test_a_worker_completes_grabs_and_sleeps(self, cuts):
        course = Course(10)
        course.sent = 1
        worker, transport = connected(gearman.Worker(course, 2))
        grabs = gearman.packet(gearman.GRAB) * 2
        self.assertTrue(transport.taken().endswith(grabs))
        job = self.packet(gearman.ASSIGN, b"H:1\0noop\0" + PAYLOAD)
        feed(worker, job + self.packet(gearman.NO_JOB), cuts)
        self.assertEqual(transport.taken(), gearman.packet(gearman.COMPLETE, b"H:1", b"") + grabs)
        self.assertEqual(course.done, 1)
        feed(worker, self.packet(gearman.NOOP) + self.packet(gearman.NO_JOB) * 2, cuts)
        self.assertEqual(transport.taken(), gearman.packet(gearman.PRE_SLEEP))
        feed(worker, self.packet(gearman.NOOP), cuts)
        self.assertEqual(transport.taken(), grabs)

    def test_an_error_is_seen(self):
        producer, _ = connected(gearman.Producer(Course(10), 2, 1))
        self.assertRaises(LoadFailed, producer.data_received, self.packet(19, b"no\0no"))


class AmqpTests(SynchronousTestCase):
    def greeted(self, connection):
        connection, transport = connected(connection)
        for _, answer in connection._first:
            connection.data_received(amqp.method(answer, b"\0" * 8))
        return connection, transport

    def delivery(self, tag):
        said = amqp.short(b"worker") + struct.pack(">QB", tag, 0) + amqp.short(b"")
        return (
            amqp.method(amqp.DELIVERED, said + amqp.short(b"tasks"))
            + amqp.frame(amqp.HEADER, 1, b"\0" * 15)
            + amqp.frame(amqp.BODY, 1, PAYLOAD)
        )

    @chunked
    @given(CUTS)
    def test_a_worker_acknowledges_everything_that_came(self, cuts):
        course = Course(10)
        course.sent = 3
        worker, transport = self.greeted(amqp.Worker(course, 50))
        transport.taken()
        feed(worker, self.delivery(1) + self.delivery(2) + self.delivery(3), cuts)
        self.assertEqual(course.done, 3)
        self.assertTrue(transport.taken().endswith(amqp.acknowledgement(3)))

    @chunked
    @given(CUTS)
    def test_confirms_one_by_one_and_many_at_a_time(self, cuts):
        producer, transport = self.greeted(amqp.Producer(Course(8), 4, 1))
        self.assertEqual(transport.taken().count(amqp.MESSAGE), 4)
        single, many = struct.pack(">QB", 1, 0), struct.pack(">QB", 3, 1)
        feed(producer, amqp.method(amqp.CONFIRMED, single), cuts)
        feed(producer, amqp.method(amqp.CONFIRMED, many), cuts)
        self.assertEqual(transport.taken(), b"")
        feed(producer, amqp.method(amqp.CONFIRMED, struct.pack(">QB", 4, 0)), cuts)
        self.assertEqual(transport.taken().count(amqp.MESSAGE), 4)

    def test_a_refusal_is_seen(self):
        worker, _ = connected(amqp.Worker(Course(10), 50))
        self.assertRaises(LoadFailed, worker.data_received, amqp.method((10, 50), b"\2\x1d"))


class JetStreamTests(SynchronousTestCase):
    def test_lines(self):
        for line, expected in (
            (b"MSG tasks 2 100\r\n", (b"tasks", None, 100)),
            (b"MSG tasks 2 $JS.ACK.1 100\r\n", (b"tasks", b"$JS.ACK.1", 100)),
            (b"HMSG tasks 2 55 155\r\n", (b"tasks", None, 155)),
            (b"HMSG tasks 2 $JS.ACK.1 55 155\r\n", (b"tasks", b"$JS.ACK.1", 155)),
            (b"PING\r\n", (b"", None, None)),
        ):
            self.assertEqual(jetstream.line_at(line, 0)[:3], expected)
        self.assertIsNone(jetstream.line_at(b"MSG tasks 2 1", 0))

    @chunked
    @given(CUTS)
    def test_a_worker_counts_what_is_acknowledged_to_it(self, cuts):
        course = Course(10)
        course.sent = 2
        worker, transport = connected(jetstream.Worker(course, 2, 5))
        feed(worker, b"INFO {}\r\n", cuts)
        self.assertIn(b"MSG.NEXT.T.C tasks_for.5 ", transport.taken())
        message = b"MSG tasks 2 $JS.ACK.%d 100\r\n" + PAYLOAD + b"\r\n"
        feed(worker, message % 1 + b"PING\r\n" + message % 2, cuts)
        out = transport.taken()
        self.assertEqual(out.count(b"+ACK"), 2)
        self.assertIn(b"PONG\r\n", out)
        self.assertEqual(course.done, 0)
        feed(worker, b"MSG acks.5 1 0\r\n\r\n" * 2, cuts)
        self.assertEqual(course.done, 2)

    def test_a_batch_is_published_as_one(self):
        data = jetstream.atomic(b"b1", 3, b"acks.1")
        self.assertEqual(data.count(b"HPUB tasks "), 3)
        self.assertEqual((data.count(b"Commit: 1"), data.count(b"acks.1")), (1, 1))

    def test_a_refusal_is_seen(self):
        producer, _ = connected(jetstream.Producer(Course(10), "messages", 2, 1, 0))
        refused = b'{"error":{"code":400}}'
        told = b"INFO {}\r\nMSG acks.0 1 %d\r\n%b\r\n" % (len(refused), refused)
        self.assertRaises(LoadFailed, producer.data_received, told)
        other, _ = connected(jetstream.Producer(Course(10), "messages", 2, 1, 0))
        self.assertRaises(LoadFailed, other.data_received, b"-ERR 'Authorization'\r\n")
