"""What the client reads and writes as typed values means what the careful way makes of it."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client.messages import Delivery, Outcome, Report
from taskqueue.client.typed import encode_reports, read_message
from taskqueue.core.task import STATES_BY_WORD, State
from taskqueue.errors import TaskQueueError
from taskqueue.wire import Header, MessageType, decode, encode

TASK = {
    "id": "019b74ff-0000-7000-8000-000000000001",
    "type": "t",
    "queue": "default",
    "priority": 150,
    "attempt": 1,
    "lease": 2**40,
    "lease_s": 30,
    "submitted_at": 1795000000.5,
    "failures": 0,
    "losses": 0,
    "payload": b"\x00\n{",
}
EVENT = {
    "event": "outcome",
    "task": TASK["id"],
    "type": "t",
    "queue": "default",
    "state": "completed",
    "attempt": 2,
    "ended_at": 1795000001.5,
    "worker": "w",
    "result": b"done\n",
}

odd = st.one_of(
    st.none(), st.integers(-1, 2**64), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3), st.booleans(), st.dictionaries(st.text(max_size=2), st.text(max_size=2)),
    st.just({"a": 1}), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@st.composite
def items(draw: Any, right: Header, bytes_of: str) -> Header:
    """An item, most often right."""
    item = right | {bytes_of: draw(st.binary(max_size=5))}
    change = draw(st.sampled_from(["none", "none", "headers", "odd", "more", "less"]))
    if change == "headers":
        item["headers"] = draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
    elif change == "odd":
        item[draw(st.sampled_from([name for name in right if name != bytes_of]))] = draw(odd)
    elif change == "more":
        item[draw(st.sampled_from(["size", "result_size", "new", "error"]))] = draw(odd)
    elif change == "less":
        del item[draw(st.sampled_from(list(right)))]
    return item


def frame_of(kind: MessageType, header: Header) -> bytes:
    return encode(kind, header)[4:]


def either(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except TaskQueueError as error:
        return str(error)


class Reading(SynchronousTestCase):
    def test_deliveries(self) -> None:
        frame = frame_of(
            MessageType.ACK, {"id": 3, "tasks": [TASK, TASK | {"headers": {"a": "b"}}]}
        )
        kind, header = read_message(frame)
        self.assertEqual((kind, header["id"]), (MessageType.ACK, 3))
        self.assertEqual([type(task) for task in header["tasks"]], [Delivery, Delivery])
        self.assertEqual(Delivery.all_of(header), Delivery.all_of(decode(frame)[1]))
        self.assertEqual([task.headers for task in header["tasks"]], [{}, {"a": "b"}])

    def test_outcomes(self) -> None:
        failed = EVENT | {"state": "dead_letter", "error": "why"}
        del failed["result"], failed["worker"]
        frame = frame_of(MessageType.EVENT, {"events": [EVENT, failed]})
        kind, header = read_message(frame)
        self.assertEqual(kind, MessageType.EVENT)
        self.assertEqual([type(event) for event in header["events"]], [Outcome, Outcome])
        self.assertEqual(
            header["events"], [Outcome.from_wire(e) for e in decode(frame)[1]["events"]]
        )

    def test_all_else(self) -> None:
        for kind, header in (
            (MessageType.ACK, {"id": 1, "tasks": []}),
            (MessageType.ACK, {"id": 1, "tasks": ["a"]}),
            (MessageType.ACK, {"id": 1, "tasks": [None], "errors": [{"item": 0, "code": "X"}]}),
            (MessageType.ACK, {"id": 1, "tasks": [{"payload": b"x"}]}),
            (MessageType.ACK, {}),
            (MessageType.NACK, {"id": 1, "code": "X"}),
            (MessageType.EVENT, {"events": [EVENT, {"event": "cancel", "task": "a", "lease": 1}]}),
            (MessageType.EVENT, {"events": [EVENT | {"state": "sublime"}]}),
            (MessageType.EVENT, {}),
        ):
            frame = frame_of(kind, header)
            self.assertEqual(read_message(frame), decode(frame), header)
        for frame in (b"", b"\x05", b"\x05{", b"\xff{}", b'\x05{"tasks":[]}\nmore'):
            self.assertEqual(either(read_message, frame), either(decode, frame))

    @settings(derandomize=True, deadline=None)
    @given(st.lists(items(TASK, "payload"), max_size=3), st.binary(max_size=1))
    def test_deliveries_mean_the_same(self, tasks: list[Header], more: bytes) -> None:
        frame = frame_of(MessageType.ACK, {"id": 1, "tasks": tasks}) + more
        read, careful = either(read_message, frame), either(decode, frame)
        if isinstance(careful, str):
            self.assertEqual(read, careful)
        else:
            self.assertEqual(Delivery.all_of(read[1]), Delivery.all_of(careful[1]))

    @settings(derandomize=True, deadline=None)
    @given(st.lists(items(EVENT, "result"), max_size=3), st.sampled_from(sorted(STATES_BY_WORD)))
    def test_outcomes_mean_the_same(self, events: list[Header], state: str) -> None:
        if events and events[0].get("state") == "completed":
            events[0]["state"] = state
        frame = frame_of(MessageType.EVENT, {"events": events})
        read, careful = either(read_message, frame), either(decode, frame)
        if isinstance(careful, str) or read == careful:
            self.assertEqual(read, careful)
        else:
            outcomes = [Outcome.from_wire(event) for event in careful[1]["events"]]
            self.assertEqual(read[1]["events"], outcomes)


class Writing(SynchronousTestCase):
    def careful(self, reports: list[Report]) -> bytes:
        told = {"id": 5, "results": [report.item() for report in reports]}
        return encode(MessageType.TASK_RESULT, told)

    def same(self, *reports: Report) -> None:
        written, careful = either(encode_reports, reports, 5), either(self.careful, list(reports))
        if isinstance(careful, bytes):
            written, careful = decode(written[4:]), decode(careful[4:])
        self.assertEqual(written, careful)

    def test_results(self) -> None:
        self.same(
            Report("a", 7, State.COMPLETED, b"x\ny"),
            Report("b", 8, State.COMPLETED),
            Report("c", 9, State.FAILED, error="é", permanent=True),
            Report("d", 10, State.FAILED, b"left out", error="", retry_in_s=2),
            Report("e", 11, State.CANCELLED, retry_in_s=0.5),
        )
        self.same()

    def test_what_cannot_be_sent(self) -> None:
        good = Report("a", 7, State.COMPLETED, b"x")
        for changes in (
            {"result": "text"},
            {"result": None},
            {"status": State.FAILED, "retry_in_s": math.nan},
            {"status": State.FAILED, "retry_in_s": math.inf},
            {"status": State.FAILED, "error": "half \ud800"},
            {"status": State.FAILED, "error": object()},
            {"task": "half \udc00"},
        ):
            self.same(good, good._replace(**changes))

    @settings(derandomize=True, deadline=None)
    @given(
        st.lists(
            st.builds(
                Report,
                st.text(max_size=3),
                st.integers(0, 2**70),
                st.sampled_from([State.COMPLETED, State.FAILED, State.CANCELLED]),
                st.binary(max_size=3),
                st.none() | st.text(st.characters(), max_size=5),
                st.booleans(),
                st.none() | st.floats(),
            ),
            max_size=3,
        )
    )
    def test_results_mean_the_same(self, reports: list[Report]) -> None:
        self.same(*reports)
