"""Tests of the bytes of the commit log, and of batches as bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import (
    Batch,
    HistoryRow,
    QueueRow,
    TaskRow,
    TaskUpdate,
    ValueRow,
)
from taskqueue.core.periodic import Periodic, PeriodicRow
from taskqueue.core.task import TaskOptions, Unique
from taskqueue.store import segment
from taskqueue.store.encoding import decode, encode_into
from taskqueue.store.segment import BODY_AT, HEADER_BYTES, Header, Record
from tests.store.rows import (
    EVERY_FIELD,
    HOURLY,
    NIGHTLY,
    NOW,
    VALUE,
    batch,
    lives,
    task,
    update,
)

examples = settings(derandomize=True, deadline=None, max_examples=50)
HEADER = Header(segment.FORMAT, 2**63 - 1, 7, 9)


def sealed(body: bytes, lsn: int) -> bytes:
    """A record."""
    record = bytearray(BODY_AT) + body
    segment.seal(record, lsn)
    return bytes(record)


def encoded(each: Batch) -> bytes:
    room = bytearray()
    encode_into(each, room, 3)
    return bytes(room[3:])


class HeaderTests(SynchronousTestCase):
    def test_thereAndBack(self) -> None:
        data = segment.pack_header(HEADER)
        self.assertEqual(len(data), HEADER_BYTES)
        self.assertEqual(segment.unpack_header(data + b"more"), HEADER)

    def test_anyFlippedBitIsNoticed(self) -> None:
        data = segment.pack_header(HEADER)
        for number in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[number // 8] ^= 1 << number % 8
            found = segment.unpack_header(bytes(flipped))
            self.assertTrue(found is None or found.version > segment.FORMAT, number)

    def test_tooShort(self) -> None:
        self.assertIsNone(segment.unpack_header(segment.pack_header(HEADER)[:-1]))


class RecordTests(SynchronousTestCase):
    @examples
    @given(st.lists(st.binary(max_size=50), max_size=5), st.binary(max_size=30))
    def test_thereAndBack(self, bodies: list[bytes], rest: bytes) -> None:
        """All whole records, and then no more."""
        data = b"".join(sealed(body, number) for number, body in enumerate(bodies, start=5))
        found = [(record.lsn, data[record.body]) for record in segment.records(data, 0)]
        self.assertEqual(found, list(enumerate(bodies, start=5)))
        torn = data + sealed(b"body" + rest, 99)[:-1]
        self.assertEqual(len(list(segment.records(torn, 0))), len(bodies))

    def test_zerosAreNoRecord(self) -> None:
        self.assertIsNone(segment.record_at(bytes(1000), 0))

    def test_anyFlippedBitIsNoticed(self) -> None:
        data = sealed(b"body", 258)
        for number in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[number // 8] ^= 1 << number % 8
            self.assertIsNone(segment.record_at(bytes(flipped), 0), number)

    @examples
    @given(st.binary(max_size=300), st.integers(1, 2**40), st.integers(1, 1000))
    def test_laterRecords(self, between: bytes, lsn: int, ahead: int) -> None:
        """Found wherever it begins, unless its number is not a later one."""
        broken = bytearray(sealed(b"broken", lsn))
        broken[0] ^= 1
        data = bytes(broken) + between
        self.assertIsNone(segment.later_record(data, 0, lsn))
        self.assertIsNone(segment.later_record(data + sealed(b"older", lsn - 1), 0, lsn))
        found = segment.later_record(data + sealed(b"later", lsn + ahead) + b"rest", 0, lsn)
        assert found is not None
        self.assertEqual((found.lsn, found.body.start), (lsn + ahead, len(data) + BODY_AT))

    def test_laterRecordWithinARunOfZeros(self) -> None:
        data = bytes(3000) + sealed(b"later", 3) + bytes(3000)
        found = segment.later_record(data, 0, 1)
        self.assertEqual(found and found.lsn, 3)

    def test_zerosAreNoRecords(self) -> None:
        """The room ahead of a young log's end is passed over, and not tried byte by byte."""
        tried: list[int] = []
        record_at = segment.record_at

        def counted(data: bytes, offset: int) -> Record | None:
            tried.append(offset)
            return record_at(data, offset)

        self.patch(segment, "record_at", counted)
        room = bytes(100_000)
        for after in (b"", b"\xff"):
            self.assertIsNone(segment.later_record(sealed(b"", 1) + room + after, 0, 1))
        self.assertLess(len(tried), 20)

    def test_laterRecordsWithZerosInTheirNumbersAndBodies(self) -> None:
        for lsn, ahead in ((0xFFFF, 1), (1, 0xFF), (0xFFFFFF, 1), (2**48 - 1, 1)):
            for body in (b"", bytes(3), b"x" + bytes(20)):
                data = bytes(3000) + sealed(body, lsn + ahead)
                for rest in (b"", bytes(5000)):
                    found = segment.later_record(data + rest, 0, lsn)
                    expected = (lsn + ahead, slice(3000 + BODY_AT, len(data)))
                    self.assertEqual(found, expected, (lsn, body))


class EncodingTests(SynchronousTestCase):
    @examples
    @given(lives())
    def test_thereAndBack(self, batches: list[Batch]) -> None:
        for each in batches:
            self.assertEqual(
                decode(encoded(each)), each._replace(periodics=[], dropped=[], values=[], unset=[])
            )

    def test_everyField(self) -> None:
        each = batch(
            [EVERY_FIELD, task(8)],
            [update(EVERY_FIELD)],
            [HistoryRow(1, NOW, "failed", 1, "w", 0.1 + 0.2, "Boom")],
            [QueueRow("a", True, None, 5)],
            [3],
            2**62,
            periodics=[HOURLY, NIGHTLY],
            dropped=["x"],
            values=[VALUE, VALUE._replace(key="k", expires_at=None)],
            unset=[("a", "ü\x00")],
        )
        found = decode(memoryview(encoded(each)))
        self.assertEqual(found, each)
        self.assertIs(type(found.inserts[0]), TaskRow)
        self.assertIs(type(found.inserts[0].options), TaskOptions)
        self.assertIs(type(found.updates[0]), TaskUpdate)
        self.assertIs(type(found.values[0]), ValueRow)

    def test_theOlderFormatIsRead(self) -> None:
        """A log that was left behind before there were values."""
        each = batch([EVERY_FIELD], periodics=[HOURLY], dropped=["x"])
        older = encoded(each[:9])  # type: ignore[arg-type]  # that is the older format
        self.assertEqual(decode(older), each)

    def test_whatDoesNotFitIsRefused(self) -> None:
        good = encoded(batch([task(1)]))
        short = Batch(*batch()[:7])[:7]
        for wrong in (
            good[:-1],
            good + b"\x00",
            encoded(short),  # type: ignore[arg-type]  # that is what is wrong
            encoded(batch()._replace(inserts=[task(1)[:-1]])),  # type: ignore[list-item]
            encoded(batch([task(1, token="t")])),
            encoded(batch(updates=[update(task(1), cancel_requested="no")])),
        ):
            self.assertRaises(ValueError, decode, wrong)

    def test_theFormatIsOfTheseFields(self) -> None:
        """Whoever changes one of them must change the version, and read the older one."""
        self.assertEqual(segment.FORMAT, 2)
        shapes = (
            *(TaskRow, TaskUpdate, HistoryRow, QueueRow, Batch, ValueRow),
            *(TaskOptions, Unique, Periodic, PeriodicRow),
        )
        counts = {shape.__name__: len(shape._fields) for shape in shapes}
        self.assertEqual(
            counts,
            {
                "TaskRow": 26,
                "TaskUpdate": 15,
                "HistoryRow": 7,
                "QueueRow": 4,
                "Batch": 11,
                "ValueRow": 5,
                "TaskOptions": 7,
                "Unique": 3,
                "Periodic": 14,
                "PeriodicRow": 8,
            },
        )
