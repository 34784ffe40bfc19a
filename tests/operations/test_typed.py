"""
Tests of L{taskqueue.operations.typed}: what is read straight into typed values means what
the untyped operations read, and all else is left to them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.fair_use import FairUse
from taskqueue.config import BrokerConfig, Config, LimitsConfig
from taskqueue.core.changes import TaskRow
from taskqueue.core.delivery import Delivery
from taskqueue.core.intake import Accepted
from taskqueue.core.leases import Holder
from taskqueue.core.moments import Now
from taskqueue.core.task import ENDED_STATES, State
from taskqueue.errors import TaskQueueError
from taskqueue.frontends.native.session import _is_request_id
from taskqueue.operations import typed_events, typed_tasks, typed_work
from taskqueue.operations.table import OPERATIONS
from taskqueue.operations.typed import PREPARE
from taskqueue.operations.typed_values import are_task_ids
from taskqueue.operations.views import view_delivery, view_outcomes
from taskqueue.wire import MessageType, decode, encode
from taskqueue.wire.typed import Reply, encode_reply
from tests.store.rows import task

SUBMIT, CLAIM, RESULT = (
    MessageType.SUBMIT_TASK,
    MessageType.CLAIM_TASK,
    MessageType.TASK_RESULT,
)

UUID = "019b74ff-0000-7000-8000-00000000000a"

#: Few enough for a generated request to pass them.
CONFIG = Config(
    broker=BrokerConfig(max_batch_submit=4, max_batch_results=4),
    limits=LimitsConfig(max_payload_bytes=100),
)


class Service:
    """Notes what it is asked to do."""

    config = CONFIG
    fair_use = FairUse(CONFIG.limits, float)
    total = 0

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def moments(self) -> Now:
        return Now(1_767_225_600.0, 0.0)

    def submit_new(self, items: Any) -> list[Any]:
        self.asked.append(("submit", *items))
        return [Accepted(UUID, State.PENDING) for _ in items]

    def submit(self, items: Any, listener: Any) -> Any:
        self.asked.append(("submit and watch", *items))
        raise TaskQueueError

    def new_claim(self, *values: Any, **more: Any) -> Any:
        return (values, more)

    def take(self, claim: Any, wait_s: float, reply: Any) -> list[Any]:
        self.asked.append(("claim", claim, wait_s))
        return []

    def report_now(self, outcomes: Any) -> tuple[list[Any], list[str]]:
        self.asked.append(("report", *outcomes))
        return [State.COMPLETED for _ in outcomes], []

    @property
    def watches(self) -> Any:
        return self

    def count(self, listener: Any) -> int:
        return 0


class Caller:
    """A connection without a worker."""

    worker = None
    restricted = None
    holder = Holder("caller")
    claims_waiting = 0
    open = True

    def __init__(self) -> None:
        self.service = Service()


def read_typed(body: bytes) -> tuple[Any, list[Any]] | None:
    """
    What the typed operation makes of a request.

    @return: its id, and what the service is asked to do; C{None} where it is left to
        the untyped one.
    """
    caller: Any = Caller()
    prepared = PREPARE[body[0]][1](caller, body)
    if prepared is None:
        return None
    _, error = run(prepared.run, caller, *prepared.arguments)
    return prepared.id, [*caller.service.asked, error]


def read_untyped(body: bytes) -> tuple[Any, list[Any]]:
    """What the untyped one makes of it, each item accepted."""
    caller: Any = Caller()
    kind, header = decode(body)
    request_id = header.pop("id", None)
    if request_id is not None and not _is_request_id(request_id):
        raise AssertionError(request_id)
    operation = OPERATIONS[kind]
    answer, error = run(operation.run, caller, operation.form.parse(header))
    refused = getattr(answer, "header", {}).get("errors")
    if refused:
        raise AssertionError(refused)
    return request_id, [*caller.service.asked, error]


def run(command: Any, *arguments: Any) -> tuple[Any, str | None]:
    """What a command returns, and why the request as a whole is refused."""
    try:
        return command(*arguments), None
    except TaskQueueError as error:
        return None, f"{error.code} {error} {error.fields}"


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal down to their types and signs."""
    return repr(left) == repr(right)


def body_of(kind: MessageType, header: bytes, attached: bytes = b"") -> bytes:
    return bytes([kind]) + header + (b"\n" + attached if attached else b"")


# --- requests, right and wrong --------------------------------------------------------

#: Values that one reader might take and another not, or not for the same.
ODD = [
    *("null", "true", "false", "0", "1", "-0", "-0.0", "-1", "0.5", "1.0", "1e0", "1e3", "01"),
    "1.",
    *("9007199254740991", "9007199254740992", "18446744073709551616", "1" * 400),
    *("1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity", "-", "3155760000"),
    *("3155760000.0000005", "3155760001", "2.5e-324", "0.1e1", "1E5", "+1"),
    *('""', '"a"', '"a b"', '"a,b"', '"a\\n"', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"'),
    *('"\\udc00\\ud800"', '"\\u0000"', '"é"', '"a\tb"', '"\\x"', '"' + "a" * 129 + '"'),
    *(f'"{UUID}"', f'"{UUID.upper()}"', f'"{UUID[:-1]}"', f'"{UUID},{UUID}"', f'"{UUID}a"'),
    *("[]", "{}", "[[]]", '["a"]', '[""]', '[1,"a"]', '{"a":1}', '{"type":"t"}', "", "nul"),
]

names = st.sampled_from(['"t"', '"resize"', '"a.b:c/d-e_f"', '"' + "a" * 128 + '"'])
ids = st.sampled_from([f'"{UUID}"', f'"{UUID[:-1]}b"', "null"])
counts = st.sampled_from(["0", "1", "5", "100", "101"])
seconds = st.sampled_from(["0", "1.5", "30", "3155760000", "null"])
flags = st.sampled_from(["true", "false"])


def lists(items: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=most).map(lambda texts: f"[{','.join(texts)}]")


@st.composite
def objects(
    draw: st.DrawFn, fields: dict[str, st.SearchStrategy[str]], always: tuple[str, ...] = ()
) -> str:
    """
    The text of an object that mostly has what it may have, each field mostly as it may
    be; now and then one twice, or one that nobody knows.
    """
    chosen = [*always, *draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))]
    if not draw(st.integers(0, 15)):
        chosen.append(draw(st.sampled_from([*sorted(fields), "nobody", "payload", "result", "Id"])))
    pairs = []
    for name in dict.fromkeys(chosen) if draw(st.booleans()) else chosen:
        odd = not draw(st.integers(0, 15))
        value = draw(st.sampled_from(ODD) if odd else fields.get(name, names))
        pairs.append(f'"{name}":{value}')
    space = draw(st.sampled_from(["", "", "", " ", "\t\r", "\v", "\x00"]))
    return "{" + f",{space}".join(pairs) + space + "}"


shared = {
    "type": names,
    "queue": names,
    "priority": st.sampled_from(["0", "255", "256", "7"]),
    "run_at": seconds,
    "run_in_s": seconds,
    "expires_at": seconds,
    "headers": st.just('{"a":"b"}'),
    "depends_on": lists(ids, 2),
    "unique_until": st.just('"start"'),
    "unique_for_s": seconds,
    "max_retries": counts,
    "lease_s": seconds,
    "on_dependency_failure": st.just('"run"'),
}
detailed = {
    **shared,
    "unique": st.sampled_from(['"key"', "null"]),
    "expires_in_s": seconds,
    "max_lost": counts,
    "retry_delay_s": seconds,
    "retry_jitter": st.sampled_from(["0", "1", "0.5", "null"]),
}
usual = {"size": counts, "id": ids, "type": names, "queue": names, "priority": shared["priority"]}
items = st.one_of(
    objects(usual, ("type",)), objects(usual), objects({**detailed, **usual}, ("type",))
)
request_ids = st.sampled_from(["1", "0", '"one"', "null", "9007199254740991"])
HEADERS = {
    SUBMIT: objects(
        {"id": request_ids, "tasks": lists(items, 5), "common": objects(shared), "watch": flags},
        ("tasks",),
    ),
    CLAIM: objects(
        {
            "id": request_ids,
            "queues": lists(names, 3),
            "types": st.one_of(lists(names, 3), st.just("null")),
            "limit": st.sampled_from(["1", "1000", "50"]),
            "wait_s": st.sampled_from(["0", "5.0", "300", "0.001"]),
            "lease_s": seconds,
        }
    ),
    RESULT: objects(
        {
            "id": request_ids,
            "results": lists(
                objects(
                    {
                        "task": ids,
                        "lease": st.sampled_from(["1", "9007199254740991"]),
                        "status": st.sampled_from(['"completed"', '"failed"', '"cancelled"']),
                        "result_size": counts,
                        "error": st.sampled_from(['"no"', "null", '"' + "é" * 65_537 + '"']),
                        "permanent": flags,
                        "retry_in_s": seconds,
                    },
                    ("task", "lease", "status"),
                ),
                5,
            ),
        },
        ("results",),
    ),
}


def attached_to(header: bytes, slack: int) -> bytes:
    """As many bytes as the sizes of the items ask for, and C{slack} more or fewer."""
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        return b""
    listed = [found.get(name) for name in ("tasks", "results")] if type(found) is dict else []
    sizes = [
        item.get(name)
        for some in listed
        if type(some) is list
        for item in some
        if type(item) is dict
        for name in ("size", "result_size")
    ]
    total = sum(size for size in sizes if type(size) is int and 0 <= size < 10_000)
    return bytes(index % 251 for index in range(max(0, total + slack)))


class MeansTheSame(SynchronousTestCase):
    """Whatever is taken is taken as the untyped operations take it."""

    def check(self, kind: MessageType, text: str, slack: int = 0) -> bool:
        header = text.encode("utf-8", "surrogatepass")
        body = body_of(kind, header, attached_to(header, slack))
        found = read_typed(body)
        if found is not None:
            expected = read_untyped(body)
            self.assertTrue(same(found, expected), f"{body!r}: {found} is not {expected}")
        return found is not None

    @given(HEADERS[SUBMIT], st.sampled_from([0, 0, 0, 0, 1, -1]))
    @settings(derandomize=True, deadline=None, max_examples=600)
    def test_submissions(self, text: str, slack: int) -> None:
        self.check(SUBMIT, text, slack)

    @given(HEADERS[CLAIM], st.sampled_from([0, 0, 0, 0, 1]))
    @settings(derandomize=True, deadline=None, max_examples=600)
    def test_claims(self, text: str, slack: int) -> None:
        self.check(CLAIM, text, slack)

    @given(HEADERS[RESULT], st.sampled_from([0, 0, 0, 0, 1, -1]))
    @settings(derandomize=True, deadline=None, max_examples=600)
    def test_results(self, text: str, slack: int) -> None:
        self.check(RESULT, text, slack)

    def test_everyOddValueOfEveryField(self) -> None:
        task = f'"task":"{UUID}","lease":1,"status":"completed"'
        frames = {
            SUBMIT: [
                '{{"tasks":{}}}',
                '{{"tasks":[{}]}}',
                '{{"id":{},"tasks":[]}}',
                '{{"tasks":[],"watch":{}}}',
                '{{"tasks":[{{"type":"t"}}],"common":{}}}',
                '{{"tasks":[{{}}],"common":{{"type":{}}}}}',
                '{{"tasks":[{{}}],"common":{{"type":"t","queue":{}}}}}',
                '{{"tasks":[{{}}],"common":{{"type":"t","lease_s":{}}}}}',
                '{{"tasks":[{{}}],"common":{{"type":"t","run_at":{}}}}}',
                *(
                    f'{{{{"tasks":[{{{{"type":"t","{name}":{{}}}}}}]}}}}'
                    for name in (*usual, *shared, "unique", "expires_in_s", "max_lost")
                ),
                *(
                    f'{{{{"tasks":[{{{{"type":"t","{name}":{{}}}}}}]}}}}'
                    for name in ("retry_delay_s", "retry_max_delay_s", "retry_jitter")
                ),
                '{{"tasks":[{{"type":"t","depends_on":[{}]}}]}}',
                '{{"tasks":[{{"type":"t","headers":{{"a":{}}}}}]}}',
                '{{"tasks":[{{"type":"t","unique":"k","unique_until":"window","queue":{}}}]}}',
                '{{"tasks":[{{"type":"t"}}]}}{}',
                '{{"tasks":[{{"type":"t"}}]{}',
                '{{"tasks":[{{"type":"t"}}],"tasks":{}}}',
            ],
            CLAIM: [
                *(
                    f'{{{{"{name}":{{}}}}}}'
                    for name in ("id", "queues", "types", "limit", "wait_s", "lease_s")
                ),
                '{{"queues":["t",{}]}}',
                '{{"types":["t",{}]}}',
            ],
            RESULT: [
                '{{"results":{}}}',
                '{{"results":[{}]}}',
                *(
                    f'{{{{"results":[{{{{{task},"{name}":{{}}}}}}]}}}}'
                    for name in (
                        *("task", "lease", "status", "result_size"),
                        *("error", "permanent", "retry_in_s"),
                    )
                ),
            ],
        }
        taken = sum(
            self.check(kind, frame.format(value))
            for kind, some in frames.items()
            for frame in some
            for value in ODD
        )
        self.assertTrue(taken > 100, taken)


class TakesTheUsual(SynchronousTestCase):
    """What clients send all day is read straight."""

    def assertTaken(self, kind: MessageType, header: dict[str, Any]) -> None:
        body = encode(kind, header)[4:]
        found = read_typed(body)
        self.assertIsNotNone(found, header)
        self.assertTrue(same(found, read_untyped(body)))

    def test_aBatchThatSharesATypeAndOptions(self) -> None:
        items = [{"payload": b"one"}, {"payload": b""}, {"payload": b"three"}]
        common = {"type": "t", "queue": "q", "max_retries": 1, "run_at": 5, "headers": {"a": "b"}}
        self.assertTaken(SUBMIT, {"id": 5, "tasks": items, "common": common})
        self.assertTaken(SUBMIT, {"tasks": [{"id": UUID, **items[0]}], "common": common})
        self.assertTaken(SUBMIT, {"tasks": items, "common": {"type": "t"}, "watch": True})

    def test_itemsThatDiffer(self) -> None:
        items = [
            {"type": "t", "payload": b"one"},
            {"type": "u", "queue": "q", "priority": 0, "id": UUID, "payload": b"two"},
        ]
        self.assertTaken(SUBMIT, {"tasks": items})
        self.assertTaken(SUBMIT, {"tasks": items, "common": {"type": "v", "priority": 255}})
        for odd in ({"type": "u"}, {"queue": "q"}, {"priority": 0}):
            self.assertTaken(SUBMIT, {"tasks": [{}, odd], "common": {"type": "v"}})

    def test_itemsWithDetails(self) -> None:
        task = {"type": "t"}
        commons = (
            {},
            {"run_at": 1, "expires_at": 2, "max_retries": 3, "lease_s": 4, "retry_jitter": 0.5},
            {"headers": {"a": "b"}, "depends_on": [UUID], "unique_until": "start"},
            {"unique_for_s": 5, "on_dependency_failure": "run", "queue": "q"},
        )
        details = (
            *({"run_at": 6}, {"run_at": None}, {"run_in_s": 7}, {"run_at": None, "run_in_s": 8}),
            *({"expires_at": 9, "expires_in_s": None}, {"expires_at": None, "expires_in_s": 10}),
            *({"max_retries": 11}, {"max_retries": None, "max_lost": 12}, {"lease_s": 13}),
            *({"retry_delay_s": 14, "retry_max_delay_s": 15.5}, {"retry_jitter": 0}),
            *({"headers": {"c": "é\u2028"}}, {"headers": {}}, {"depends_on": []}),
            {"depends_on": [UUID[:-1] + "b", UUID], "on_dependency_failure": "dead_letter"},
            *({"unique": "key"}, {"unique": None}, {"unique": "k", "unique_until": "window"}),
            *({"unique_for_s": None}, {"unique_for_s": 16}, {}),
        )
        for common in commons:
            clash = {"run_at", "expires_at"} & common.keys()
            fit = [d for d in details if not clash or d.keys().isdisjoint(("run_in_s",))]
            for start in range(0, len(fit), 4):
                items = [{**task, "payload": b"a", **d} for d in fit[start : start + 4]]
                self.assertTaken(SUBMIT, {"tasks": items, "common": common})

    def test_nothingAtAll(self) -> None:
        self.assertTaken(SUBMIT, {"tasks": []})
        self.assertTaken(CLAIM, {})
        self.assertTaken(RESULT, {"results": []})

    def test_claims(self) -> None:
        wanted = {"id": "a", "queues": ["a", "b"], "types": ["t"], "limit": 50, "wait_s": 5}
        self.assertTaken(CLAIM, wanted)
        self.assertTaken(CLAIM, {"types": None, "lease_s": 30.5, "wait_s": 0})

    def test_results(self) -> None:
        delivery = {"task": UUID, "lease": 3}
        told = [
            {**delivery, "status": "completed", "result": b"done"},
            {**delivery, "status": "completed"},
            {**delivery, "status": "failed", "error": "no", "permanent": True},
            {**delivery, "status": "failed", "retry_in_s": 5},
        ]
        self.assertTaken(RESULT, {"id": 1, "results": told})
        self.assertTaken(RESULT, {"results": [{**delivery, "status": "cancelled"}]})


class LeavesTheRest(SynchronousTestCase):
    """What needs care, or is wrong, is left to the untyped operations."""

    def assertLeft(self, kind: MessageType, **header: Any) -> None:
        self.assertIsNone(read_typed(encode(kind, header)[4:]), header)

    def test_ids_of_requests(self) -> None:
        empty: dict[MessageType, dict[str, Any]] = {
            SUBMIT: {"tasks": []},
            CLAIM: {},
            RESULT: {"results": []},
        }
        for kind, header in empty.items():
            for wrong in (-1, 2**53, 1.5, "a" * 65, True, []):
                self.assertLeft(kind, id=wrong, **header)

    def test_submissions(self) -> None:
        task = {"type": "t"}
        for items in (
            [task] * 5,
            [{**task, "payload": bytes(101)}],
            [{**task, "id": UUID.upper()}],
            [{**task, "max_retries": 1001}],
            [{**task, "on_dependency_failure": None}],
            [{**task, "headers": {"a": "b" * 8192}}],
            [{**task, "headers": None}],
            [{**task, "depends_on": [UUID.upper()]}],
            [{**task, "depends_on": [UUID] * 1001}],
            [{**task, "run_at": 1, "run_in_s": 1}],
            [{**task, "expires_at": 1, "expires_in_s": 1}],
            [{**task, "unique": ""}],
            [{**task, "unique": "a" * 257}],
            [{**task, "unique_until": "end"}],
            [{**task, "type": None}],
            [{}],
        ):
            self.assertLeft(SUBMIT, tasks=items)
        for common in (
            {"run_in_s": 1},
            {"expires_in_s": None},
            {"id": UUID},
            {"headers": {"a": "b" * 1024}},
            {"nothing": 1},
        ):
            self.assertLeft(SUBMIT, tasks=[task], common=common)

    def test_claims(self) -> None:
        for wrong in ({"queues": ["a b"]}, {"types": ["a\n"]}, {"limit": 0}, {"wait_s": -1}):
            self.assertLeft(CLAIM, **wrong)

    def test_results(self) -> None:
        told = {"task": UUID, "lease": 1, "status": "completed"}
        for results in (
            [told] * 5,
            [{**told, "result": bytes(101)}],
            [{**told, "task": UUID.upper()}],
            [{**told, "status": "failed", "result": b"a"}],
            [{**told, "status": "pending"}],
            [{**told, "error": "a" * 65_537}],
        ):
            self.assertLeft(RESULT, results=results)

    def test_headers_that_are_too_long(self) -> None:
        padded = b'\x02{"limit":1' + b" " * 4_194_304 + b"}"
        self.assertIsNone(read_typed(padded))
        self.assertIsNotNone(read_typed(padded.replace(b" " * 100, b"")))


class Ids(SynchronousTestCase):
    """L{are_task_ids}."""

    def test_none(self) -> None:
        self.assertTrue(are_task_ids([]))

    def test_twoThatAreRightTogetherOnly(self) -> None:
        for cut in (0, 1, 18, 35, 37, 72):
            both = f"{UUID},{UUID}"
            self.assertFalse(are_task_ids([both[:cut], both[cut + 1 :]]), cut)
        self.assertTrue(are_task_ids([UUID, UUID]))

    def test_wrongOnes(self) -> None:
        for wrong in ("", UUID.upper(), UUID[1:], UUID + "a", UUID.replace("-", ","), "\ud800"):
            self.assertFalse(are_task_ids([UUID, wrong]), wrong)
            self.assertFalse(are_task_ids([wrong]), wrong)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tokens = st.integers(0, 2**53 - 1)
floats = st.floats(min_value=0, max_value=1e12)
deliveries = st.builds(
    Delivery,
    id=st.just(UUID),
    type=texts,
    queue=texts,
    priority=st.integers(0, 255),
    payload=st.binary(max_size=10),
    attempt=tokens,
    lease=tokens,
    lease_s=floats,
    headers=st.none() | st.just('{"a":"b\\"é"}'),
    submitted_at=floats,
    failures=tokens,
    losses=tokens,
)


rows = st.builds(
    task,
    seq=st.just(1),
    state=st.sampled_from(ENDED_STATES).map(int),
    worker=st.none() | texts,
    error=st.none() | texts,
    result=st.none() | st.binary(max_size=10),
    ended_at=floats,
)


class Answers(SynchronousTestCase):
    """Typed answers say what untyped ones say."""

    def assertSays(self, reply: Any, header: dict[str, Any]) -> None:
        self.assertIsInstance(reply, Reply)
        reply.header.id = header["id"] = 7
        expected = encode(MessageType.ACK, header)
        written = encode_reply(MessageType.ACK, reply)
        self.assertEqual(decode(written[4:]), decode(expected[4:]))
        names = json.loads(expected[5:].partition(b"\n")[0])
        self.assertEqual(json.dumps(json.loads(written[5:].partition(b"\n")[0])), json.dumps(names))

    @given(st.lists(deliveries, max_size=3))
    @settings(derandomize=True, deadline=None)
    def test_claimed(self, some: list[Delivery]) -> None:
        self.assertSays(
            typed_work._reply_claimed(some), {"tasks": [view_delivery(d) for d in some]}
        )

    def test_accepted(self) -> None:
        answers: list[Any] = [Accepted(UUID, State.PENDING), Accepted(UUID, State.PENDING)]
        self.assertSays(typed_tasks._reply_accepted(answers), {"tasks": [UUID, UUID]})

    def test_states(self) -> None:
        answers: list[Any] = [State.COMPLETED, State.DEAD_LETTER]
        self.assertSays(typed_work._reply_states(answers), {"states": ["completed", "dead_letter"]})

    @given(st.lists(rows, max_size=3))
    @settings(derandomize=True, deadline=None)
    def test_outcomes(self, some: list[TaskRow]) -> None:
        self.assertSays(typed_events.reply_outcomes(some), view_outcomes(some))

    def test_whatIsUnusualIsLeftToTheUntypedViews(self) -> None:
        error = TaskQueueError("no")
        new = Accepted(UUID, State.PENDING)
        for odd in (error, Accepted(UUID, State.SCHEDULED), Accepted(UUID, State.PENDING, True)):
            self.assertIs(type(typed_tasks._reply_accepted([new, odd])), dict)
        self.assertEqual(
            typed_work._reply_states([State.COMPLETED, error]),
            {
                "states": ["completed", None],
                "errors": [{"item": 1, "code": "ERROR", "message": "no"}],
            },
        )
