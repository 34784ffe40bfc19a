"""
Whatever somebody asks, by whichever door: nothing of a queue that may not be read is ever said.
"""

import json
import re
from itertools import chain

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.web.site import make_site
from taskqueue.wire import MessageType, encode, encode_line
from tests.operations.keys import Keys
from tests.operations.world import World
from tests.web.visitor import Visit

#: Whatever is of the other queue has this in it.
MARK = "zz"
OWN, OTHER = "own-mail", f"{MARK}-other"

#: Ids that the peers know, whether or not there are such tasks; and others that they do not.
KNOWN = {
    queue: [f"019b74ff-0000-7000-8000-{digit * 4}{n:08d}" for n in range(4)]
    for queue, digit in ((OWN, "1"), (OTHER, "2"))
}
SECRET = [f"019b74ff-0000-7000-8000-{'dead' * 2}{n:04d}" for n in range(4)]
NOWHERE = "019b74ff-0000-7000-8000-ffffffffffff"

WORDS = ("submit:own-*", "claim:own-*", "read:own-*", "cancel:own-*")

_queues = st.sampled_from((OWN, OTHER, "default"))
_ids = st.sampled_from((*KNOWN[OWN], *KNOWN[OTHER], NOWHERE))
_id_lists = st.lists(_ids, max_size=3)
_names = st.sampled_from(("own-daily", f"{MARK}-daily", "own-worker", f"{MARK}-worker"))
_booleans = st.booleans()


def fields(**values):
    """Headers with these fields."""
    return st.fixed_dictionaries({}, optional=values) if values else st.just({})


def needed(optional=None, **values):
    """Headers with all these fields, and perhaps those."""
    return st.fixed_dictionaries(values, optional=optional or {})


_task = needed(
    {
        "id": _ids,
        "queue": _queues,
        "depends_on": _id_lists,
        "unique": st.sampled_from(("own-key", f"{MARK}-key")),
        "run_in_s": st.just(5),
    },
    type=st.just("job"),
)
_lease = {"task": _ids, "lease": st.integers(1, 12)}
_status = st.sampled_from(("completed", "failed", "cancelled"))

#: What a peer may ask, by any of the two languages.
ASKED = {
    MessageType.SUBMIT_TASK: needed(
        {"watch": _booleans, "common": fields(queue=_queues)},
        tasks=st.lists(_task, min_size=1, max_size=3),
    ),
    MessageType.CLAIM_TASK: needed(
        {"queues": st.lists(_queues, min_size=1, max_size=2, unique=True)}, wait_s=st.just(0)
    ),
    MessageType.TASK_RESULT: needed(results=st.lists(needed(**_lease, status=_status), max_size=2)),
    MessageType.EXTEND_LEASE: needed(leases=st.lists(needed(**_lease), max_size=2)),
    MessageType.RELEASE_TASK: needed(leases=st.lists(needed(**_lease), max_size=2)),
    MessageType.BURY_TASK: needed(leases=st.lists(needed(**_lease), max_size=2)),
    MessageType.REPORT_PROGRESS: needed(
        reports=st.lists(needed(**_lease, progress=st.just(1)), max_size=2)
    ),
    MessageType.REGISTER_WORKER: needed(
        worker=_names, incarnation=st.integers(1, 3), queues=st.lists(_queues, min_size=1)
    ),
    MessageType.HEARTBEAT: needed(worker=_names, incarnation=st.integers(1, 3)),
    MessageType.DEREGISTER_WORKER: fields(worker=_names),
    MessageType.QUERY_STATUS: needed({"history": _booleans, "result": _booleans}, tasks=_id_lists),
    MessageType.WATCH: fields(tasks=_id_lists, queues=st.lists(_queues, max_size=2)),
    MessageType.GET_PAYLOAD: needed(task=_ids),
    MessageType.LIST_TASKS: fields(
        queue=_queues,
        type=st.sampled_from(("job", f"{MARK}-type")),
        limit=st.integers(1, 30),
        error_contains=st.sampled_from(("", "error")),
    ),
    MessageType.LIST_QUEUES: fields(limit=st.integers(1, 2)),
    MessageType.LIST_WORKERS: fields(limit=st.integers(1, 2)),
    MessageType.LIST_PERIODIC: fields(limit=st.integers(1, 2)),
    MessageType.GET_STATS: fields(),
    MessageType.CANCEL_TASK: needed({"running": _booleans}, tasks=_id_lists),
    MessageType.RETRY_TASK: needed(tasks=_id_lists),
    MessageType.RUN_NOW: needed(tasks=_id_lists),
    MessageType.DELETE_TASK: needed(tasks=_id_lists),
    MessageType.PURGE_QUEUE: needed(queue=_queues),
    MessageType.RETRY_QUEUE: needed(queue=_queues),
    MessageType.PAUSE_QUEUE: needed(queue=_queues),
    MessageType.RESUME_QUEUE: needed(queue=_queues),
    MessageType.SET_QUEUE: needed(queue=_queues, max_depth=st.sampled_from((None, 5))),
    MessageType.PUT_PERIODIC: needed(
        periodics=st.lists(
            needed(name=_names, type=st.just("job"), queue=_queues, every_s=st.just(60)),
            max_size=2,
        )
    ),
    MessageType.DELETE_PERIODIC: needed(name=_names),
    MessageType.PAUSE_PERIODIC: needed(name=_names, paused=_booleans),
    MessageType.TRIGGER_PERIODIC: needed(name=_names),
    MessageType.AUDIT: fields(),
}

_said = st.one_of(*[st.tuples(st.just(kind), header) for kind, header in ASKED.items()])

_PARTS = "?include=payload,result,history,dependents"

#: What a peer may ask over HTTP.
_visited = st.one_of(
    st.tuples(
        st.just("GET"),
        st.one_of(
            _ids.map(lambda one: f"/tasks/{one}{_PARTS}"),
            _ids.map(lambda one: f"/tasks/{one}/payload"),
            _ids.map(lambda one: f"/tasks/{one}/result"),
            _queues.map(lambda queue: f"/queues/{queue}"),
            _names.map(lambda name: f"/periodics/{name}"),
            _names.map(lambda name: f"/workers/{name}"),
            st.sampled_from(
                (
                    "/tasks",
                    "/tasks?limit=2&order=oldest",
                    "/tasks?error_contains=error",
                    f"/tasks?queue={OTHER}",
                    "/dead-letters",
                    "/dead-letters/groups",
                    "/queues",
                    "/workers",
                    "/periodics",
                    "/stats",
                    "/stats/breakdown?by=queue",
                    "/stats/breakdown?by=type",
                    "/stats/failures",
                    "/stats/history",
                    "/broker",
                )
            ),
        ),
        st.none(),
    ),
    st.tuples(st.just("POST"), st.just("/tasks"), _task),
    st.tuples(
        st.just("POST"),
        st.just("/tasks/bulk"),
        st.one_of(
            needed({"dry_run": _booleans}, action=st.just("cancel"), filter=fields(queue=_queues)),
            needed(
                {"dry_run": _booleans},
                action=st.sampled_from(("cancel", "retry", "delete")),
                ids=st.lists(_ids, min_size=1, max_size=3),
            ),
        ),
    ),
)

#: What happens in the other queue, by number.
_happens = st.integers(0, 7)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("framed"), _said),
        st.tuples(st.just("lines"), _said),
        st.tuples(st.just("http"), _visited),
        st.tuples(st.just("other"), _happens),
    ),
    min_size=5,
    max_size=25,
)

_permitted = st.one_of(st.just(WORDS), st.lists(st.sampled_from(WORDS), min_size=1, unique=True))


#: What is asked in the end, whatever was before: what shows most.
IN_THE_END = [
    *[
        (door, (kind, {}))
        for door in ("framed", "lines")
        for kind in (
            MessageType.LIST_TASKS,
            MessageType.LIST_QUEUES,
            MessageType.LIST_WORKERS,
            MessageType.LIST_PERIODIC,
            MessageType.GET_STATS,
        )
    ],
    *[
        ("http", ("GET", path, None))
        for path in (
            "/tasks?limit=1000",
            "/dead-letters",
            "/dead-letters/groups",
            "/queues",
            "/workers",
            "/periodics",
            "/stats/breakdown?by=queue",
            "/stats/breakdown?by=type",
            "/stats/failures",
            *(f"/tasks/{one}{_PARTS}" for one in KNOWN[OWN]),
        )
    ],
    *[
        (door, (MessageType.SUBMIT_TASK, {"tasks": [{"type": "job", "queue": OWN, **more}]}))
        for door in ("framed", "lines")
        for more in ({"unique": f"{MARK}-key"}, {"depends_on": [KNOWN[OTHER][0]]})
    ],
]


def texts_of(value):
    """Every text in a request."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set(chain.from_iterable(texts_of(one) for one in value.values()))
    if isinstance(value, (list, tuple)):
        return set(chain.from_iterable(map(texts_of, value)))
    return set()


class House:
    """A broker with both queues; two peers and a visitor with one key, who may see one queue."""

    def __init__(self, words):
        self.world = World()
        self.keys = Keys(self.world.service.gate, admin=["admin"], own=words)
        self.admin, self.worker = self.enter("admin"), self.enter("admin")
        self.peers = {language: self.enter("own", language) for language in ("framed", "lines")}
        self.site = make_site(self.world.service)
        kinds = MessageType
        self.worker.ask(
            kinds.REGISTER_WORKER, worker=f"{MARK}-worker", incarnation=1, queues=[OTHER]
        )
        self.admin.ask(
            kinds.PUT_PERIODIC,
            periodics=[
                {"name": f"{MARK}-daily", "type": f"{MARK}-type", "queue": OTHER, "every_s": 60},
                {"name": "own-daily", "type": "job", "queue": OWN, "every_s": 60},
            ],
        )
        for queue, ids in ((OWN, KNOWN[OWN][:3]), (OTHER, [*KNOWN[OTHER][:3], *SECRET[:3]])):
            word = "job" if queue == OWN else MARK
            tasks = [{"type": f"{word}-type", "id": one, "payload": word.encode()} for one in ids]
            tasks[0]["unique"] = "own-key" if queue == OWN else f"{MARK}-key"
            self.admin.ask(kinds.SUBMIT_TASK, tasks=tasks, common={"queue": queue})
        self.hear_all()

    def enter(self, name, language="framed"):
        peer = self.world.meet(language)
        kind, answer = peer.ask(MessageType.HELLO, key=self.keys[name])
        assert kind is MessageType.ACK, answer
        return peer

    def hear_all(self):
        """What the peers have heard since the last time."""
        self.world.settle()
        heard = b"".join(peer.wire.value() for peer in self.peers.values())
        for peer in self.peers.values():
            peer.wire.clear()
        return heard

    def say(self, language, kind, header):
        if language == "lines":
            data = encode_line(kind, header)
        else:
            data = encode(kind, header)
        peer = self.peers[language]
        if peer.over:
            raise AssertionError("the connection has ended")
        peer.send_bytes(data)
        return self.hear_all()

    def visit(self, method, path, body):
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: broker"]
        lines.append(f"Authorization: Bearer {self.keys['own']}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        visit = Visit(self.site)
        visit.send("\r\n".join([*lines, "", ""]).encode() + data)
        self.world.settle()
        answer = visit.received()
        assert answer.startswith(b"HTTP/1.1 "), (path, answer)
        visit.hang_up()
        return answer + self.hear_all()

    def happen(self, number):
        """Something in the other queue."""
        kinds, ask = MessageType, self.admin.ask
        if number < 4:
            _, answer = self.worker.ask(kinds.CLAIM_TASK, queues=[OTHER], wait_s=0)
            for task in answer.get("tasks", ()):
                lease = {"task": task["id"], "lease": task["lease"]}
                progress = {**lease, "progress": f"{MARK}-progress"}
                self.worker.ask(kinds.REPORT_PROGRESS, reports=[progress])
                end = {
                    1: {"status": "completed", "result": f"{MARK}-result".encode()},
                    2: {"status": "failed", "error": f"{MARK} error", "permanent": True},
                    3: {"status": "failed", "error": f"{MARK} error"},
                }.get(number)
                if end is not None:
                    self.worker.ask(kinds.TASK_RESULT, results=[{**lease, **end}])
        elif number == 4:
            task = {"type": f"{MARK}-type", "queue": OTHER, "id": SECRET[3]}
            ask(kinds.SUBMIT_TASK, tasks=[{**task, "depends_on": [KNOWN[OTHER][0]]}])
        elif number == 5:
            ask(kinds.CANCEL_TASK, tasks=[SECRET[0], KNOWN[OTHER][1]])
        elif number == 6:
            ask(kinds.TRIGGER_PERIODIC, name=f"{MARK}-daily")
        else:
            ask(kinds.PAUSE_QUEUE, queue=OTHER)
            ask(kinds.RESUME_QUEUE, queue=OTHER)
        self.admin.new()
        return self.hear_all()

    def ids(self):
        """The ids of all tasks in the other queue."""
        store = self.world.service.store
        rows = [*self.world.ledger.tasks.values(), *store._kept.rows.values()]
        return {row.id for row in rows if row.queue == OTHER}


class LeakTests(SynchronousTestCase):
    def assertNothingIsSaid(self, house, heard, request):
        text = heard.decode("utf-8", "replace")
        for known in sorted(texts_of(request), key=len, reverse=True):
            text = text.replace(known, "")
        self.assertNotIn(MARK, re.sub(r"tq_\w+", "", text), request)
        found = {one for one in house.ids() if one in text}
        self.assertEqual(found, set(), request)

    @settings(
        derandomize=True,
        deadline=None,
        max_examples=80,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=[Phase.generate],  # each example is a broker: shrinking one takes minutes
    )
    @given(_permitted, steps)
    def test_nothing_of_the_other_queue(self, words, steps):
        house = House(words)
        try:
            for door, step in [*steps, *IN_THE_END]:
                if door == "other":
                    self.assertNothingIsSaid(house, house.happen(step), ())
                elif door == "http":
                    _, path, body = step
                    names = re.split(r"[/?=&]", path)
                    self.assertNothingIsSaid(house, house.visit(*step), [names, body])
                else:
                    kind, header = step
                    before = json.loads(json.dumps(header))
                    self.assertNothingIsSaid(house, house.say(door, kind, header), before)
            self.assertEqual(house.world.problems(), [])
        finally:
            house.world.close()
        self.assertEqual(self.flushLoggedErrors(), [])
