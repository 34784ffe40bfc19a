"""
Permissions over HTTP: each endpoint with each permission; and what nobody learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from twisted.web.http_headers import Headers

from taskqueue.access.permissions import IMPLIED
from taskqueue.core.task import State
from taskqueue.web.api.root import ENDPOINTS
from tests.operations.keys import Keys
from tests.web.api.asking import NOTHING, TURNS, ApiTestCase
from tests.web.visitor import Answer, Visit

OWN, OTHER = "own", "other"

#: An id that no task has.
UNKNOWN = "019b74ff-0000-7000-8000-ffffffffffff"

#: The actions that can be allowed in a queue.
ACTIONS = ("submit", "claim", "read", "cancel", "values:read", "values:write")


def task_id(queue: str, number: int) -> str:
    """The id of a task of one of the queues."""
    return f"019b74ff-0000-7000-8000-{'1' if queue == OWN else '2'}{number:011d}"


class Asked(NamedTuple):
    """
    A request.

    @ivar needs: the actions that must be allowed in the queue, or C{"admin"}, or C{"read:*"}.
    @ivar path: with C{QUEUE} for the queue, and C{ID1} and so on for its tasks.
    """

    needs: tuple[str, ...]
    path: str
    body: Any = NOTHING

    def about(self, queue: str) -> tuple[str, Any]:
        """The path and the body, for one of the queues."""
        names = {f"ID{n}": task_id(queue, n) for n in range(1, 8)} | {"QUEUE": queue}
        return _filled(self.path, names), _filled(self.body, names)


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(name, text)
        return value
    if isinstance(value, dict):
        return {name: _filled(one, names) for name, one in value.items()}
    return [_filled(one, names) for one in value] if isinstance(value, list) else value


_READ, _FATE = ("read",), ("cancel",)
_BOTH = ("read", "cancel")
_VALUE = "/values/QUEUE/k"
_EVERY = {"type": "t", "every_s": 60, "queue": "QUEUE"}

#: Of each endpoint that is not open, a request.
REQUESTS: Mapping[tuple[str, str], Asked] = {
    ("POST", "/tasks"): Asked(("submit",), "/tasks", {"type": "t", "queue": "QUEUE"}),
    ("POST", "/tasks/batch"): Asked(
        ("submit",), "/tasks/batch", {"tasks": [{"type": "t", "queue": "QUEUE"}]}
    ),
    ("GET", "/tasks"): Asked(_READ, "/tasks?queue=QUEUE"),
    ("GET", "/tasks/{id}"): Asked(_READ, "/tasks/ID1?include=payload,history,dependents,result"),
    ("GET", "/tasks/{id}/payload"): Asked(_READ, "/tasks/ID1/payload"),
    ("GET", "/tasks/{id}/result"): Asked(_READ, "/tasks/ID4/result"),
    ("GET", "/tasks/{id}/outcome"): Asked(_READ, "/tasks/ID4/outcome"),
    ("POST", "/tasks/{id}/cancel"): Asked(_FATE, "/tasks/ID1/cancel"),
    ("POST", "/tasks/{id}/retry"): Asked(_FATE, "/tasks/ID5/retry"),
    ("POST", "/tasks/{id}/run-now"): Asked(_FATE, "/tasks/ID7/run-now"),
    ("DELETE", "/tasks/{id}"): Asked(_FATE, "/tasks/ID4"),
    ("POST", "/tasks/bulk"): Asked(
        _BOTH, "/tasks/bulk", {"action": "cancel", "filter": {"queue": "QUEUE"}}
    ),
    ("GET", "/dead-letters"): Asked(_READ, "/dead-letters?queue=QUEUE"),
    ("GET", "/dead-letters/groups"): Asked(_READ, "/dead-letters/groups?queue=QUEUE"),
    ("POST", "/dead-letters/retry"): Asked(
        _BOTH, "/dead-letters/retry", {"filter": {"queue": "QUEUE"}}
    ),
    ("POST", "/dead-letters/delete"): Asked(
        _BOTH, "/dead-letters/delete", {"filter": {"queue": "QUEUE"}, "dry_run": True}
    ),
    ("GET", "/queues"): Asked(_READ, "/queues"),
    ("GET", "/queues/{queue}"): Asked(_READ, "/queues/QUEUE"),
    ("PATCH", "/queues/{queue}"): Asked(_BOTH, "/queues/QUEUE", {"max_depth": 100}),
    ("POST", "/queues/{queue}/pause"): Asked(_BOTH, "/queues/QUEUE/pause"),
    ("POST", "/queues/{queue}/resume"): Asked(_BOTH, "/queues/QUEUE/resume"),
    ("POST", "/queues/{queue}/drain"): Asked(_BOTH, "/queues/QUEUE/drain"),
    ("POST", "/queues/{queue}/retry"): Asked(_FATE, "/queues/QUEUE/retry"),
    ("POST", "/queues/{queue}/purge"): Asked(_FATE, "/queues/QUEUE/purge", {"dry_run": True}),
    ("GET", "/workers"): Asked(_READ, "/workers"),
    ("GET", "/workers/{worker}"): Asked(_READ, "/workers/QUEUE-worker"),
    ("POST", "/workers/{worker}/quiet"): Asked(("admin",), "/workers/QUEUE-worker/quiet"),
    ("POST", "/workers/{worker}/terminate"): Asked(("admin",), "/workers/QUEUE-worker/terminate"),
    ("GET", "/periodics"): Asked(_READ, "/periodics"),
    ("GET", "/periodics/{name}"): Asked(_READ, "/periodics/QUEUE-daily"),
    ("PUT", "/periodics/{name}"): Asked(("submit", "read"), "/periodics/QUEUE-new", _EVERY),
    ("POST", "/periodics/{name}/pause"): Asked(_BOTH, "/periodics/QUEUE-daily/pause"),
    ("POST", "/periodics/{name}/resume"): Asked(_BOTH, "/periodics/QUEUE-daily/resume"),
    ("POST", "/periodics/{name}/trigger"): Asked(("submit",), "/periodics/QUEUE-daily/trigger"),
    ("DELETE", "/periodics/{name}"): Asked(_FATE, "/periodics/QUEUE-daily"),
    ("GET", "/values"): Asked(("values:read",), "/values"),
    ("GET", "/values/{namespace}"): Asked(("values:read",), "/values/QUEUE"),
    ("GET", "/values/{namespace}/{key}"): Asked(("values:read",), _VALUE),
    ("PUT", "/values/{namespace}/{key}"): Asked(("values:write",), _VALUE, {"value": "v"}),
    ("DELETE", "/values/{namespace}/{key}"): Asked(("values:write",), _VALUE),
    ("POST", "/values/{namespace}/{key}/take"): Asked(("values:write",), f"{_VALUE}/take"),
    ("POST", "/values/{namespace}/{key}/increase"): Asked(
        ("values:write",), "/values/QUEUE/number/increase"
    ),
    ("GET", "/stats"): Asked(("read:*",), "/stats"),
    ("GET", "/stats/breakdown"): Asked(_READ, "/stats/breakdown?by=queue"),
    ("GET", "/stats/failures"): Asked(_READ, "/stats/failures"),
    ("GET", "/stats/history"): Asked(("read:*",), "/stats/history"),
    ("GET", "/broker"): Asked(("read:*",), "/broker"),
    ("GET", "/events"): Asked(_READ, "/events?queue=QUEUE"),
}


def word_of(need: str) -> str:
    """A permission for the own queue."""
    return need if need in ("admin", "read:*") else f"{need}:{OWN}"


class RoomsTestCase(ApiTestCase):
    """
    Each of two queues has the same: tasks 1 and 2 that wait, 3 in progress, 4 completed, 5 dead, 6
    that waits for 1; worker C{<queue>-worker} and periodic task C{<queue>-daily}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.keys = Keys(self.desk.service.gate, admin=["admin"])
        self.number = 0
        for queue in (OWN, OTHER):
            self.furnish(queue)

    def furnish(self, queue: str) -> None:
        for number in (3, 4, 5, 1, 2):
            if number == 1:
                running, done, dead = self.desk.claim(queue, 3)
                self.desk.report(done, State.COMPLETED, result=f"result of {queue}".encode())
                self.desk.report(dead, State.FAILED, error=f"error of {queue}", permanent=True)
                self.assertEqual(running.id, task_id(queue, 3))
            body = {"type": "t", "queue": queue, "id": task_id(queue, number), "payload": queue}
            self.by("admin", "POST", "/tasks", body, 201)
        more = {"id": task_id(queue, 6), "depends_on": [task_id(queue, 1)]}
        self.by("admin", "POST", "/tasks", {"type": "t", "queue": queue, **more}, 201)
        daily = {"type": "t", "queue": queue, "cron": "0 3 * * *"}
        self.by("admin", "PUT", f"/periodics/{queue}-daily", daily, 201)
        self.register(f"{queue}-worker", queues=(queue,))
        self.by("admin", "PUT", f"/values/{queue}/k", {"value": queue}, 201)

    def asked(self, name: str, method: str, path: str, body: Any = NOTHING) -> Answer:
        """The answer to who has this key; of a stream, its head."""
        headers = {"authorization": f"Bearer {self.keys[name]}"}
        if path.startswith("/events"):
            return self.begun(method, path, headers)
        return self.desk.ask(method, path, body, **headers)

    def begun(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        visit: Visit = self.desk.begin(method, path, **headers)
        self.desk.turns(TURNS)
        head, _, rest = visit.received().partition(b"\r\n\r\n")
        visit.hang_up()
        self.desk.turns(TURNS)
        return Answer(int(head.split()[1]), Headers(), rest)

    def by(self, name: str, method: str, path: str, body: Any = NOTHING, status: int = 200) -> Any:
        """The JSON of an answer to who has this key, which must have this status."""
        answer = self.asked(name, method, path, body)
        self.assertEqual(answer.status, status, answer.body)
        return answer.json if answer.body else None

    def key(self, *words: str) -> str:
        """A key that allows this; its name."""
        self.number += 1
        name = f"key {self.number}"
        self.keys.add(name, *words)
        return name


class MatrixTests(RoomsTestCase):
    def test_every_endpoint_is_asked_for(self) -> None:
        closed = {(one.method, one.path) for one in ENDPOINTS if not one.open}
        self.assertEqual(closed - {("GET", "/session")}, set(REQUESTS))

    def test_without_a_key(self) -> None:
        for (method, _), request in REQUESTS.items():
            path, body = request.about(OWN)
            answer = self.desk.ask(method, path, body)
            self.assertEqual((answer.status, answer.json["code"]), (401, "UNAUTHENTICATED"), path)
            self.assertEqual(answer.header("www-authenticate"), 'Bearer realm="taskqueue"')
        self.assertEqual(self.desk.service.traffic.nacks["UNAUTHENTICATED"], len(REQUESTS))

    def test_with_what_is_needed(self) -> None:
        """Changes come last, as they change what others ask for."""
        order = sorted(REQUESTS.items(), key=lambda item: (item[0][0] != "GET", item[0]))
        for (method, template), request in order:
            path, body = request.about(OWN)
            name = self.key(*map(word_of, request.needs))
            answer = self.asked(name, method, path, body)
            self.assertIn(answer.status // 100, (2, 4), answer.body)
            self.assertNotIn(answer.status, (401, 403, 422), (template, answer.body))
            if method == "GET":
                self.assertEqual(answer.status, 200, (template, answer.body))

    def test_without_what_is_needed(self) -> None:
        """With all that can be allowed in the queue but one."""
        every = {*ACTIONS, "admin", "read:*"}
        for (method, template), request in REQUESTS.items():
            path, body = request.about(OWN)
            for missing in request.needs:
                left = {
                    one
                    for one in every - {missing, "admin"}
                    if not (one == "read:*" and missing == "read")
                    and one not in IMPLIED.get(missing, ())  # type: ignore[call-overload]  # words
                }
                name = self.key("metrics", *map(word_of, left))
                answer = self.asked(name, method, path, body)
                self.assertEqual(
                    (answer.status, answer.json["code"]), (403, "FORBIDDEN"), (template, missing)
                )
                action = missing.removesuffix(":*")
                self.assertEqual(answer.json["action"], action, (template, missing))

    def test_elsewhere(self) -> None:
        """With all that can be allowed in one queue, asked about the other."""
        name = self.key(*map(word_of, ACTIONS))
        for (method, template), request in REQUESTS.items():
            path, body = request.about(OTHER)
            answer = self.asked(name, method, path, body)
            told = (template, answer.status, answer.body)
            if template == "/tasks/batch":
                [item] = answer.json["tasks"]
                self.assertEqual(item["error"]["code"], "FORBIDDEN", told)
            elif answer.status == 200:
                self.assertNotIn("?queue", path)
                self.assertNotIn(OTHER.encode(), answer.body, told)
            else:
                self.assertIn(answer.status, (403, 404), told)
                self.assertIn(
                    answer.json["code"],
                    ("FORBIDDEN", "UNKNOWN_TASK", "UNKNOWN_WORKER", "UNKNOWN_PERIODIC"),
                    told,
                )

    def test_nothing_was_done_elsewhere(self) -> None:
        before = repr(self.by("admin", "GET", "/tasks?queue=other"))
        self.test_elsewhere()
        self.assertEqual(repr(self.by("admin", "GET", "/tasks?queue=other")), before)
        queue = self.by("admin", "GET", "/queues/other")
        self.assertEqual((queue["paused"], queue["max_depth"]), (False, None))


class EventTests(RoomsTestCase):
    def test_kinds(self) -> None:
        """Numbers, and workers, are of everything."""
        name = self.key("read:own")
        for query, status in (
            ("", 200),
            ("?kind=task,queue,periodic", 200),
            ("?kind=task,stats", 403),
            ("?kind=worker", 403),
            ("?queue=own", 200),
            ("?queue=own,other", 403),
            ("?task=" + task_id(OTHER, 1), 200),
        ):
            answer = self.asked(name, "GET", f"/events{query}")
            self.assertEqual(answer.status, status, query)
            head = self.asked(name, "HEAD", f"/events{query}")
            self.assertEqual(head.status, status, query)
        self.assertEqual(self.asked(self.key("read:*"), "GET", "/events?kind=stats").status, 200)

    def test_only_what_may_be_read(self) -> None:
        headers = {"authorization": f"Bearer {self.keys[self.key('read:own')]}"}
        visit = self.desk.begin("GET", "/events", **headers)
        self.desk.turns(TURNS)
        for queue in (OWN, OTHER):
            for number in (1, 5):
                what = "cancel" if number == 1 else "retry"
                self.by("admin", "POST", f"/tasks/{task_id(queue, number)}/{what}")
            self.by("admin", "POST", f"/queues/{queue}/pause")
        self.pass_time(2)
        told = visit.received()
        self.assertIn(task_id(OWN, 1).encode(), told)
        self.assertNotIn(b"other", told)
        self.assertNotIn(b"event: stats", told)
        visit.hang_up()


class UnknownTests(RoomsTestCase):
    def test_ids(self) -> None:
        """Whole answers: what may not be known is what there is not."""
        name = self.key(*map(word_of, ACTIONS))
        for (method, template), request in REQUESTS.items():
            for place, known, unknown in (
                ("{id}", task_id(OTHER, 1), UNKNOWN),
                ("{id}", task_id(OTHER, 3), UNKNOWN),
                ("{id}", task_id(OTHER, 4), UNKNOWN),
                ("{id}", task_id(OTHER, 5), UNKNOWN),
                ("{worker}", "other-worker", "nothing"),
                ("{name}", "other-daily", "nothing"),
            ):
                if place not in template or method == "PUT":
                    continue
                _, body = request.about(OTHER)
                answers = []
                for one in (known, unknown):
                    path = template.replace(place, one)
                    answer = self.asked(name, method, path, body)
                    answers.append((answer.status, answer.body.replace(one.encode(), b"ONE")))
                self.assertEqual(answers[0], answers[1], (template, known))

    def test_dependents(self) -> None:
        body = {"type": "t", "queue": OTHER, "depends_on": [task_id(OWN, 1)]}
        other = self.by("admin", "POST", "/tasks", body, 201)["id"]
        path = f"/tasks/{task_id(OWN, 1)}?include=dependents"
        every = self.by("admin", "GET", path)["dependents"]
        self.assertEqual(every, [task_id(OWN, 6), other])
        own = self.by(self.key("read:own"), "GET", path)["dependents"]
        self.assertEqual(own, [task_id(OWN, 6)])

    def test_lists(self) -> None:
        name = self.key("read:own")
        tasks = self.by(name, "GET", "/tasks?limit=1000")["tasks"]
        self.assertEqual({task["queue"] for task in tasks}, {OWN})
        self.assertEqual(len(tasks), 6)
        [group] = self.by(name, "GET", "/dead-letters/groups")["groups"]
        self.assertEqual((group["error_group"], group["count"]), ("error of own", 1))
        [dead] = self.by(name, "GET", "/dead-letters")["tasks"]
        self.assertEqual(dead["id"], task_id(OWN, 5))
        [queue] = self.by(name, "GET", "/queues")["queues"]
        self.assertEqual(queue["name"], OWN)
        [worker] = self.by(name, "GET", "/workers")["workers"]
        self.assertEqual(worker["id"], "own-worker")
        [periodic] = self.by(name, "GET", "/periodics")["periodics"]
        self.assertEqual(periodic["name"], "own-daily")
        [row] = self.by(name, "GET", "/stats/breakdown?by=queue")["rows"]
        self.assertEqual((row["name"], row["depth"]), (OWN, 3))
        [row] = self.by(name, "GET", "/stats/breakdown?by=type")["rows"]
        self.assertEqual(row["depth"], 3)
        [failure] = self.by(name, "GET", "/stats/failures")["failures"]
        self.assertEqual(failure["task"], task_id(OWN, 5))
        rows = self.by(name, "GET", "/stats/breakdown?by=tier")["rows"]
        self.assertEqual(sum(row["depth"] for row in rows), 3)
        self.assertNotIn("wait_s", rows[1])

    def test_bulk(self) -> None:
        """An empty filter is for all that one may touch."""
        self.pass_time(1)
        name = self.key("read:*", "cancel:own")
        body = {"action": "cancel", "filter": {}, "dry_run": True}
        found = self.by(name, "POST", "/tasks/bulk", body)
        self.assertEqual((found["count"], {one["queue"] for one in found["sample"]}), (3, {OWN}))
        found = self.by(name, "POST", "/tasks/bulk", {**body, "dry_run": False})
        self.assertEqual(found["done"] + found["changed_meanwhile"], 3)
        self.assertEqual(found["refusals"], 0)
        states = self.by("admin", "GET", "/tasks?queue=other&state=cancelled")["tasks"]
        self.assertEqual(states, [])

    def test_bulk_is_audited(self) -> None:
        """Which filter, what came of it, and what was refused; not what was only counted."""
        self.pass_time(1)
        told: list[tuple[Any, ...]] = []

        def record(who: Any, operation: str, **more: Any) -> None:
            told.append((who.kind, operation, *map(more.get, ("what", "count", "outcome"))))

        name, blind = self.key("read:*", "cancel:own"), self.key("read:*")
        self.patch(self.desk.service.gate.audit, "record", record)
        own, other = ({"action": "cancel", "filter": {"queue": queue}} for queue in (OWN, OTHER))
        self.by(name, "POST", "/tasks/bulk", {**own, "dry_run": True})
        self.by(name, "POST", "/tasks/bulk", {**other, "dry_run": True}, status=403)
        self.assertEqual(told, [])
        done = self.by(name, "POST", "/tasks/bulk", own)["done"]
        self.assertGreater(done, 0)
        self.by(name, "POST", "/tasks/bulk", own)
        self.by(name, "POST", "/tasks/bulk", other, status=403)
        self.by(blind, "POST", "/dead-letters/retry", {"ids": [UNKNOWN]}, status=403)
        self.assertEqual([one[:2] for one in told[:1]], [("key", "cancel_task")])
        what = '{"filter":{"queue":"%s"}}'
        self.assertEqual(
            told[1:],
            [
                ("key", "bulk_cancel", what % OWN, done, "ok"),
                ("key", "bulk_cancel", what % OWN, 0, "ok"),
                ("key", "bulk_cancel", what % OTHER, None, "FORBIDDEN"),
                ("key", "bulk_retry", '{"ids":1}', None, "FORBIDDEN"),
            ],
        )

    def test_bulk_by_ids(self) -> None:
        ids = [task_id(queue, number) for queue in (OWN, OTHER) for number in (1, 2)]
        body = {"action": "cancel", "ids": [*ids, UNKNOWN]}
        name = self.key("read:*", "cancel:own")
        found = self.by(name, "POST", "/tasks/bulk", {**body, "dry_run": True})
        self.assertEqual(found["count"], 2)
        found = self.by(name, "POST", "/tasks/bulk", body)
        self.assertEqual(found["done"], 2)
        codes = [one["code"] for one in found["refused"]]
        self.assertEqual(codes, ["FORBIDDEN", "FORBIDDEN", "UNKNOWN_TASK"])
        found = self.by(self.key("read:own", "cancel:own"), "POST", "/tasks/bulk", body)
        self.assertEqual({one["code"] for one in found["refused"]}, {"CONFLICT", "UNKNOWN_TASK"})
