"""
Permissions in frames and in lines: what is allowed, what is not, and what nobody learns.
"""

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from taskqueue import operations
from taskqueue.access.permissions import IMPLIED, Action
from taskqueue.operations.needs import NEEDS, Where
from taskqueue.operations.table import OPERATIONS
from taskqueue.operations.visibility import NOBODY
from taskqueue.wire import MessageType, encode
from tests.operations.rooms import ALL_OWN, OTHER, OWN, UNKNOWN, TwoRooms, requests_about, task_id
from tests.operations.world import LANGUAGES

ACK, NACK = MessageType.ACK, MessageType.NACK

#: What a key of each action may do in the queue of its own.
WORDS = {
    Action.SUBMIT: "submit:own",
    Action.CLAIM: "claim:own",
    Action.READ: "read:own",
    Action.CANCEL: "cancel:own",
    Action.METRICS: "metrics",
    Action.ADMIN: "admin",
    Action.VALUES_READ: "values:read:own",
    Action.VALUES_WRITE: "values:write:own",
}

#: What needs a lease or a worker of one's own, which a matrix of single requests has not.
OWNED = {
    *(kind for kind, need in NEEDS.items() if need.where is Where.LEASES),
    MessageType.DEREGISTER_WORKER,
}


def refusals(answer):
    """The codes with which items were refused."""
    return [error["code"] for error in answer.get("errors", ())]


class RoomsTestCase(SynchronousTestCase):
    def setUp(self):
        self.rooms = TwoRooms()
        self.addCleanup(self.rooms.close)

    def key(self, name, *words):
        self.rooms.keys.add(name, *words)
        return name

    def refused(self, peer, kind, code="FORBIDDEN", **header):
        answer_kind, answer = peer.ask(kind, **header)
        self.assertEqual((answer_kind, answer.get("code")), (NACK, code), answer)
        return answer

    def done(self, peer, kind, **header):
        answer_kind, answer = peer.ask(kind, **header)
        self.assertIs(answer_kind, ACK, answer)
        return answer


class MatrixTests(RoomsTestCase):
    """Each operation with a key of each action."""

    def test_every_operation_is_asked_for(self):
        asked = set(requests_about(OWN, self.rooms.leases))
        self.assertEqual(set(OPERATIONS) - asked, {MessageType.HELLO, MessageType.BACKUP})

    def check(self, language, action, queue, kind, header):
        need = NEEDS[kind]
        word = WORDS[action]
        peer = self.rooms.enter(f"only {action.value}", language)
        answer_kind, answer = peer.ask(kind, **header)
        told = f"{language} {word} {kind.name} {queue}: {answer}"
        everything = action is Action.ADMIN or need.action is None
        is_it = action is need.action or action in IMPLIED.get(need.action, ())
        if not everything and (not is_it or need.where is Where.BROKER):
            self.assertEqual((answer_kind, answer.get("code")), (NACK, "FORBIDDEN"), told)
            self.assertEqual(answer["action"], need.action, told)
        elif everything or queue == OWN:
            if kind not in OWNED or action is Action.ADMIN:
                self.assertIs(answer_kind, ACK, told)
                # it has ended before
                released = kind in (MessageType.RELEASE_TASK, MessageType.BURY_TASK)
                self.assertEqual(refusals(answer), ["LEASE_LOST"] if released else [], told)
        else:
            self.check_elsewhere(need, answer_kind, answer, told)
        peer.leave()

    def check_elsewhere(self, need, answer_kind, answer, told):
        """The right action, in the wrong queue: nothing is done, and nothing is told."""
        if need.where in (Where.QUEUE, Where.QUEUES):
            self.assertEqual((answer_kind, answer.get("code")), (NACK, "FORBIDDEN"), told)
            self.assertEqual(answer["queue"], OTHER)
        elif need.where is Where.NAMESPACE:
            self.assertEqual((answer_kind, answer.get("code")), (NACK, "FORBIDDEN"), told)
            self.assertEqual(answer["namespace"], OTHER)
        elif need.where is Where.ITEMS:
            self.assertEqual(refusals(answer), ["FORBIDDEN"], told)
        elif need.where is Where.LEASES:
            self.assertEqual(refusals(answer), ["LEASE_LOST"], told)
        elif answer_kind is NACK:
            known = {"UNKNOWN_TASK", "UNKNOWN_PERIODIC", "UNKNOWN_WORKER", "FORBIDDEN"}
            self.assertIn(answer["code"], known, told)
        else:
            self.assertEqual([found for found in answer.get("tasks", ()) if found], [], told)
            self.assertNotIn({"namespace": OTHER}, answer.get("namespaces", ()), told)
            self.assertEqual(set(refusals(answer)) - {"UNKNOWN_TASK"}, set(), told)

    def run_matrix(self, language, queue):
        for action in Action:
            rooms = self.rooms = TwoRooms()
            self.addCleanup(rooms.close)
            self.key(f"only {action.value}", WORDS[action])
            for kind, header in requests_about(queue, rooms.leases).items():
                if kind is MessageType.DEREGISTER_WORKER:
                    rooms.admin.ask(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
                self.check(language, action, queue, kind, header)
                if kind is MessageType.DEREGISTER_WORKER and action is not Action.ADMIN:
                    rooms.admin.ask(kind, worker="w")
            self.assertEqual(rooms.problems(), [])

    def test_frames(self):
        self.run_matrix("framed", OWN)

    def test_frames_elsewhere(self):
        self.run_matrix("framed", OTHER)

    def test_lines(self):
        self.run_matrix("lines", OWN)

    def test_lines_elsewhere(self):
        self.run_matrix("lines", OTHER)

    def test_a_refusal_names_the_permission(self):
        peer = self.rooms.enter(self.key("mailer", "submit:own"))
        answer = self.refused(peer, MessageType.PURGE_QUEUE, queue=OTHER)
        self.assertEqual(
            answer["message"],
            "key 'mailer' may not do this: it needs the permission cancel:other",
        )
        self.assertEqual((answer["action"], answer["queue"]), ("cancel", OTHER))
        answer = self.refused(peer, MessageType.GET_STATS)
        self.assertIn("needs the permission read:*", answer["message"])
        self.assertNotIn("queue", answer)
        answer = self.refused(peer, MessageType.BACKUP, name="b")
        self.assertIn("needs the permission admin", answer["message"])


class UnknownTests(RoomsTestCase):
    """Whole answers: what may not be known is what there is not."""

    def setUp(self):
        super().setUp()
        self.key("own", *ALL_OWN)

    def compare(self, make):
        """
        @param make: of an id: a kind and a header.
        """
        for language in LANGUAGES:
            for forget in (False, True):
                if forget:
                    self.rooms.forget_ended()
                for number in (1, 3, 4, 5):
                    peer = self.rooms.enter("own", language)
                    there = task_id(OTHER, number)
                    answers = [
                        repr(peer.ask(kind, **header)).replace(one, "ID")
                        for one in (there, UNKNOWN)
                        for kind, header in [make(one)]
                    ]
                    self.assertEqual(answers[0], answers[1])
                    peer.leave()

    def test_status(self):
        self.compare(
            lambda one: (
                MessageType.QUERY_STATUS,
                {"tasks": [one], "history": True, "result": True},
            )
        )

    def test_payload(self):
        self.compare(lambda one: (MessageType.GET_PAYLOAD, {"task": one}))

    def test_watch(self):
        self.compare(lambda one: (MessageType.WATCH, {"tasks": [one]}))
        self.assertEqual(len(self.rooms.service.watches), 0)

    def test_cancel(self):
        self.compare(lambda one: (MessageType.CANCEL_TASK, {"tasks": [one], "running": True}))
        _, answer = self.rooms.admin.ask(MessageType.QUERY_STATUS, tasks=[task_id(OTHER, 1)])
        self.assertEqual(answer["tasks"][0]["state"], "pending")

    def test_retry(self):
        self.compare(lambda one: (MessageType.RETRY_TASK, {"tasks": [one]}))

    def test_run_now(self):
        self.compare(lambda one: (MessageType.RUN_NOW, {"tasks": [one]}))

    def test_delete(self):
        self.compare(lambda one: (MessageType.DELETE_TASK, {"tasks": [one]}))

    def test_depending(self):
        self.compare(
            lambda one: (
                MessageType.SUBMIT_TASK,
                {"tasks": [{"type": "t", "queue": OWN, "depends_on": [one]}]},
            )
        )

    def test_results(self):
        for token in (self.rooms.leases[OTHER], 1, 2, 3, 4, 5, 6, 10**6):
            result = {"lease": token, "status": "completed", "result": b"of other"}
            self.compare(
                lambda one, result=result: (
                    MessageType.TASK_RESULT,
                    {"results": [{**result, "task": one}]},
                )
            )

    def test_leases(self):
        lease = {"lease": self.rooms.leases[OTHER]}
        for kind, field, more in (
            (MessageType.EXTEND_LEASE, "leases", {"lease_s": 50}),
            (MessageType.RELEASE_TASK, "leases", {"priority": 200}),
            (MessageType.BURY_TASK, "leases", {}),
            (MessageType.REPORT_PROGRESS, "reports", {"progress": 1}),
        ):
            self.compare(
                lambda one, kind=kind, field=field, more=more: (
                    kind,
                    {field: [{"task": one, **lease, **more}]},
                )
            )
        self.assertIn(self.rooms.leases[OTHER], self.rooms.ledger.leases.by_token)

    def test_it_takes_the_same_way(self):
        """What is not to be known is looked for in the store, as what is not there."""
        peer = self.rooms.enter("own")
        asked = []
        records = self.rooms.service.reader.records

        def note(ids):
            asked.append(list(ids))
            return records(ids)

        self.rooms.service.reader.records = note
        for kind, field in (
            (MessageType.QUERY_STATUS, "tasks"),
            (MessageType.CANCEL_TASK, "tasks"),
            (MessageType.RETRY_TASK, "tasks"),
            (MessageType.RUN_NOW, "tasks"),
            (MessageType.DELETE_TASK, "tasks"),
        ):
            counts = []
            for one in (task_id(OTHER, 1), UNKNOWN):
                asked.clear()
                peer.ask(kind, **{field: [one]})
                counts.append([len(ids) for ids in asked])
            self.assertEqual(counts[0], counts[1], kind)
            self.assertTrue(counts[0], kind)

    def test_what_may_be_seen_only(self):
        """Who may read a task is told that more is forbidden."""
        peer = self.rooms.enter(self.key("partly", "read:*", "cancel:own"))
        kinds = MessageType
        for kind in (kinds.CANCEL_TASK, kinds.RETRY_TASK, kinds.RUN_NOW, kinds.DELETE_TASK):
            answer = self.done(peer, kind, tasks=[task_id(OTHER, 1), UNKNOWN])
            self.assertEqual(refusals(answer), ["FORBIDDEN", "UNKNOWN_TASK"])

    def test_periodics(self):
        peer = self.rooms.enter("own")
        for kind, more in (
            (MessageType.DELETE_PERIODIC, {}),
            (MessageType.PAUSE_PERIODIC, {"paused": True}),
            (MessageType.TRIGGER_PERIODIC, {}),
        ):
            answers = [
                repr(peer.ask(kind, name=name, **more)).replace(name, "NAME")
                for name in ("other-daily", "nothing")
            ]
            self.assertEqual(answers[0], answers[1])
            self.assertIn("UNKNOWN_PERIODIC", answers[0])
        [error] = self.done(
            peer,
            MessageType.PUT_PERIODIC,
            periodics=[{"name": "other-daily", "type": "t", "queue": OWN, "every_s": 60}],
        )["errors"]
        self.assertEqual(error["code"], "CONFLICT")
        self.assertNotIn("own", self.rooms.ledger.periodics["other-daily"].definition.queue)


class ListTests(RoomsTestCase):
    def setUp(self):
        super().setUp()
        self.peer = self.rooms.enter(self.key("own", *ALL_OWN))

    def test_only_what_may_be_read(self):
        self.peer.ask(MessageType.REGISTER_WORKER, worker="both", incarnation=1, queues=[OWN])
        tasks = self.done(self.peer, MessageType.LIST_TASKS)["tasks"]
        self.assertEqual({task["queue"] for task in tasks}, {OWN})
        self.assertEqual(len(tasks), 7)
        queues = self.done(self.peer, MessageType.LIST_QUEUES)["queues"]
        self.assertEqual([queue["name"] for queue in queues], [OWN])
        workers = self.done(self.peer, MessageType.LIST_WORKERS)["workers"]
        self.assertEqual([worker["id"] for worker in workers], ["both", "own-worker"])
        periodics = self.done(self.peer, MessageType.LIST_PERIODIC)["periodics"]
        self.assertEqual([periodic["name"] for periodic in periodics], ["own-daily"])

    def test_pages_are_full(self):
        """What is left out takes no place on a page."""
        found, after = [], None
        while True:
            answer = self.done(self.peer, MessageType.LIST_TASKS, limit=2, after=after)
            found += answer["tasks"]
            after = answer["next"]
            if after is None:
                break
            self.assertEqual(len(answer["tasks"]), 2)
        self.assertEqual(len(found), 7)
        for number in range(5):
            self.rooms.admin.ask(MessageType.PAUSE_QUEUE, queue=f"a{number}")
        answer = self.done(self.peer, MessageType.LIST_QUEUES, limit=1)
        self.assertEqual([queue["name"] for queue in answer["queues"]], [OWN])

    def test_a_queue_by_its_name(self):
        self.assertTrue(self.done(self.peer, MessageType.LIST_TASKS, queue=OWN)["tasks"])
        for queue in (OTHER, "nothing"):
            self.refused(self.peer, MessageType.LIST_TASKS, queue=queue)
        self.refused(self.peer, MessageType.WATCH, queues=[OWN, OTHER])

    def test_a_worker_of_both_queues(self):
        self.rooms.admin.ask(
            MessageType.REGISTER_WORKER, worker="both", incarnation=1, queues=[OWN, OTHER]
        )
        workers = self.done(self.peer, MessageType.LIST_WORKERS)["workers"]
        self.assertEqual([worker["id"] for worker in workers], ["own-worker"])

    def test_watching(self):
        self.done(self.peer, MessageType.WATCH, tasks=[task_id(OWN, 1)], queues=[OWN])
        for queue in (OWN, OTHER):
            self.done(self.rooms.admin, MessageType.CANCEL_TASK, tasks=[task_id(queue, 1)])
        self.rooms.settle()
        events = [h for kind, h in self.peer.new() if kind is MessageType.EVENT]
        told = [event["task"] for header in events for event in header["events"]]
        self.assertIn(task_id(OWN, 1), told)
        self.assertEqual([one for one in told if one.startswith(task_id(OTHER, 1)[:-11])], [])


class SubmittingTests(RoomsTestCase):
    def submit(self, peer, *tasks, **more):
        return self.done(peer, MessageType.SUBMIT_TASK, tasks=list(tasks), **more)

    def test_each_item_by_itself(self):
        for language in LANGUAGES:
            peer = self.rooms.enter(self.key(language, "submit:own"), language)
            answer = self.submit(
                peer, {"type": "t", "queue": OWN}, {"type": "t", "queue": OTHER}, {"type": "t"}
            )
            self.assertEqual(refusals(answer), ["FORBIDDEN", "FORBIDDEN"])
            self.assertEqual([error["item"] for error in answer["errors"]], [1, 2])
            self.assertEqual([task is None for task in answer["tasks"]], [False, True, True])
            self.assertEqual(answer["errors"][1]["queue"], "default")

    def test_sent_again_by_who_may_only_submit(self):
        peer = self.rooms.enter(self.key("producer", "submit:own"))
        item = {"type": "t", "queue": OWN, "id": UNKNOWN}
        self.assertNotIn("existing", self.submit(peer, item))
        self.assertEqual(self.submit(peer, item)["existing"], [0])

    def test_an_id_that_is_taken(self):
        peer = self.rooms.enter(self.key("producer", *ALL_OWN))
        for number in (1, 4):
            item = {"type": "t", "queue": OWN, "id": task_id(OTHER, number)}
            for forget in (False, True):
                if forget:
                    self.rooms.forget_ended()
                answer = self.submit(peer, item)
                self.assertEqual(refusals(answer), ["CONFLICT"], answer)
                [error] = answer["errors"]
                self.assertNotIn(OTHER, error["message"].replace("another", ""))

    def test_a_key_that_is_taken(self):
        peer = self.rooms.enter(self.key("producer", *ALL_OWN))
        answer = self.submit(
            peer,
            {"type": "t", "queue": OWN, "unique": "key-other", "id": UNKNOWN},
            {"type": "t", "queue": OWN, "depends_on": [UNKNOWN]},
        )
        self.assertEqual(refusals(answer), ["CONFLICT", "UNKNOWN_DEPENDENCY"])
        self.assertNotIn(task_id(OTHER, 7), repr(answer))
        answer = self.submit(peer, {"type": "t", "queue": OWN, "unique": "key-own"})
        self.assertEqual((answer["tasks"], answer["existing"]), ([task_id(OWN, 7)], [0]))

    def test_a_key_held_by_what_has_ended(self):
        window = {"unique": "w", "unique_until": "window", "unique_for_s": 3600}
        peer = self.rooms.enter(self.key("producer", *ALL_OWN))
        for queue in (OWN, OTHER):
            item = {"type": "t", "queue": queue, **window, "unique": f"w-{queue}"}
            [task] = self.submit(self.rooms.admin, item)["tasks"]
            self.done(self.rooms.admin, MessageType.CANCEL_TASK, tasks=[task])
        self.rooms.forget_ended()
        answer = self.submit(
            peer,
            {"type": "t", "queue": OWN, **window, "unique": "w-own"},
            {"type": "t", "queue": OWN, **window, "unique": "w-other"},
        )
        self.assertEqual((refusals(answer), answer["existing"]), (["CONFLICT"], [0]))

    def test_reviving_what_lost_its_key(self):
        """Who holds the key of a dead letter is told to whom may know."""
        admin = self.rooms.admin
        dead = task_id(OWN, 5)
        self.submit(admin, {"type": "t", "queue": "q", "id": UNKNOWN, "unique": "k"})
        self.done(admin, MessageType.CANCEL_TASK, tasks=[UNKNOWN])
        task = self.submit(admin, {"type": "k", "queue": OWN, "unique": "k2"})["tasks"][0]
        worker = self.rooms.enter("admin")
        _, claimed = worker.ask(MessageType.CLAIM_TASK, queues=[OWN], types=["k"], wait_s=0)
        lease = claimed["tasks"][0]["lease"]
        failed = {"task": task, "lease": lease, "status": "failed", "permanent": True}
        worker.ask(MessageType.TASK_RESULT, results=[failed])
        [holder] = self.submit(admin, {"type": "t", "queue": OTHER, "unique": "k2"})["tasks"]
        peer = self.rooms.enter(self.key("own", *ALL_OWN))
        [error] = self.done(peer, MessageType.RETRY_TASK, tasks=[task])["errors"]
        self.assertEqual(error["code"], "CONFLICT")
        self.assertNotIn(holder, repr(error))
        [error] = self.done(admin, MessageType.RETRY_TASK, tasks=[task])["errors"]
        self.assertEqual(error["holder"], holder)
        self.assertNotEqual(dead, task)

    def test_depending_on_what_is_submitted_too(self):
        peer = self.rooms.enter(self.key("producer", "submit:own"))
        first, second = UNKNOWN, UNKNOWN[:-1] + "e"
        answer = self.submit(
            peer,
            {"type": "t", "queue": OWN, "id": second, "depends_on": [first]},
            {"type": "t", "queue": OWN, "id": first},
        )
        self.assertEqual((refusals(answer), answer["states"]), ([], {"0": "blocked"}))
        answer = self.submit(peer, {"type": "t", "queue": OWN, "depends_on": [task_id(OWN, 1)]})
        self.assertEqual(refusals(answer), ["UNKNOWN_DEPENDENCY"])

    def test_depending_on_an_item_that_is_refused(self):
        """The id of another's task becomes no way to it by being in the batch."""
        peer = self.rooms.enter(self.key("producer", *ALL_OWN))
        there = task_id(OTHER, 1)
        for items in (
            [{"type": "t", "queue": OWN, "id": there}],
            [{"type": "t", "queue": OTHER, "id": there}],
        ):
            dependent = {"type": "t", "queue": OWN, "depends_on": [there]}
            for tasks in ([*items, dependent], [dependent, *items]):
                answer = self.submit(peer, *tasks)
                self.assertIn("UNKNOWN_DEPENDENCY", refusals(answer))
                self.assertEqual(len(refusals(answer)), 2)

    def test_watching_needs_reading(self):
        item = {"type": "t", "queue": OWN}
        peer = self.rooms.enter(self.key("producer", "submit:own"))
        self.refused(peer, MessageType.SUBMIT_TASK, tasks=[item], watch=True)
        peer = self.rooms.enter(self.key("both", "submit:own", "read:own"))
        [task] = self.submit(peer, item, watch=True)["tasks"]
        self.done(self.rooms.admin, MessageType.CANCEL_TASK, tasks=[task])
        self.rooms.settle()
        self.assertTrue(any(kind is MessageType.EVENT for kind, _ in peer.new()))


class OwnershipTests(RoomsTestCase):
    def setUp(self):
        super().setUp()
        self.mine = self.rooms.enter(self.key("mine", "claim:own"))
        self.theirs = self.rooms.enter(self.key("theirs", "claim:own"))

    def claim(self, peer, **more):
        [task] = self.done(peer, MessageType.CLAIM_TASK, queues=[OWN], wait_s=0, **more)["tasks"]
        return {"task": task["id"], "lease": task["lease"]}

    def test_a_lease_of_somebody_else(self):
        lease = self.claim(self.mine)
        result = {**lease, "status": "completed"}
        for language in LANGUAGES:
            peer = self.rooms.enter("theirs", language)
            for kind, header in (
                (MessageType.TASK_RESULT, {"results": [result]}),
                (MessageType.EXTEND_LEASE, {"leases": [lease]}),
                (MessageType.RELEASE_TASK, {"leases": [lease]}),
                (MessageType.REPORT_PROGRESS, {"reports": [{**lease, "progress": 1}]}),
            ):
                self.assertEqual(refusals(self.done(peer, kind, **header)), ["LEASE_LOST"], kind)
        again = self.rooms.enter("mine")
        answer = self.done(again, MessageType.TASK_RESULT, results=[result])
        self.assertEqual(answer["states"], ["completed"])
        answer = self.done(again, MessageType.TASK_RESULT, results=[result])
        self.assertEqual(answer["states"], ["completed"], "said twice, it counts once")

    def test_nobody_is_nobody(self):
        """What stands for the tasks that one may not touch is no id that anybody can choose."""
        chosen = NOBODY.lower()
        items = [{"type": "t", "queue": OWN, "id": chosen, "priority": 255}]
        self.done(self.rooms.admin, MessageType.SUBMIT_TASK, tasks=items)
        lease = self.claim(self.mine)
        self.assertEqual(lease["task"], chosen)
        for task in (task_id(OWN, 2), chosen, NOBODY):
            result = {"task": task, "lease": lease["lease"], "status": "completed"}
            for kind, header in (
                (MessageType.TASK_RESULT, {"results": [result]}),
                (MessageType.RELEASE_TASK, {"leases": [{**lease, "task": task}]}),
            ):
                answer = self.done(self.theirs, kind, **header)
                self.assertEqual(refusals(answer), ["LEASE_LOST"], task)
        self.assertIn(lease["lease"], self.rooms.ledger.leases.by_token)
        reader = self.rooms.enter(self.key("reader", "read:own"))
        asked = [task_id(OTHER, 1), chosen]
        answer = self.done(reader, MessageType.QUERY_STATUS, tasks=asked)
        self.assertEqual([one and one["id"] for one in answer["tasks"]], [None, chosen])

    def test_who_may_do_everything(self):
        result = {**self.claim(self.mine), "status": "completed"}
        answer = self.done(self.rooms.admin, MessageType.TASK_RESULT, results=[result])
        self.assertEqual(answer["states"], ["completed"])

    def test_a_worker_of_somebody_else(self):
        worker = {"worker": "w", "incarnation": 5, "queues": [OWN]}
        self.done(self.mine, MessageType.REGISTER_WORKER, **worker)
        lease = self.claim(self.mine)
        for incarnation in (5, 6):
            for kind in (MessageType.REGISTER_WORKER, MessageType.HEARTBEAT):
                header = {**worker, "incarnation": incarnation}
                self.refused(self.theirs, kind, "WORKER_EXISTS", **header)
        answers = [
            repr(
                self.refused(self.theirs, MessageType.DEREGISTER_WORKER, "UNKNOWN_WORKER", worker=n)
            )
            for n in ("w", "v")
        ]
        self.assertEqual(answers[0].replace("'w'", "'v'"), answers[1])
        self.assertIn(lease["lease"], self.rooms.ledger.leases.by_token)
        self.mine.leave()
        same = self.rooms.enter("mine")
        held = self.done(same, MessageType.REGISTER_WORKER, **worker)["leases"]
        self.assertEqual(held, [lease])

    def test_what_a_restart_left(self):
        """Nobody owns it: whoever may claim all of it may go on."""
        worker = {"worker": "w", "incarnation": 5, "queues": [OWN]}
        self.done(self.mine, MessageType.REGISTER_WORKER, **worker)
        lease = self.claim(self.mine)
        known = self.rooms.ledger.workers.find("w")
        known.owner, known.recovered, known.link = None, True, None
        elsewhere = self.rooms.enter(self.key("elsewhere", "claim:other"))
        header = {**worker, "queues": [OTHER]}
        self.refused(elsewhere, MessageType.REGISTER_WORKER, "WORKER_EXISTS", **header)
        answer = self.done(elsewhere, MessageType.EXTEND_LEASE, leases=[lease])
        self.assertEqual(refusals(answer), ["LEASE_LOST"])
        answer = self.done(self.theirs, MessageType.EXTEND_LEASE, leases=[lease])
        self.assertEqual(refusals(answer), [])
        self.done(self.mine, MessageType.HEARTBEAT, **worker)
        answer = self.done(self.theirs, MessageType.EXTEND_LEASE, leases=[lease])
        self.assertEqual(refusals(answer), ["LEASE_LOST"])

    def test_queues_of_a_worker(self):
        for kind in (MessageType.REGISTER_WORKER, MessageType.HEARTBEAT):
            for queues in ({"queues": [OWN, OTHER]}, {}):
                answer = self.refused(self.mine, kind, worker="w", incarnation=1, **queues)
                self.assertEqual(answer["queue"], queues.get("queues", ["", "default"])[1])
        self.done(self.mine, MessageType.HEARTBEAT, worker="w", incarnation=1, queues=[OWN])
        self.done(self.mine, MessageType.HEARTBEAT, worker="w", incarnation=1)
        self.claim(self.mine)
        self.refused(self.mine, MessageType.CLAIM_TASK, queues=[OWN, OTHER], wait_s=0)


class CostTests(RoomsTestCase):
    """Whoever may do everything pays nothing for it that others may not."""

    def called(self, peer, kind, header):
        """The modules of functions that were called."""
        files = set()

        def note(frame, event, _):
            if event == "call":
                files.add(Path(frame.f_code.co_filename).name)

        data = encode(kind, header)
        sys.setprofile(note)
        try:
            peer.connection.dataReceived(data)
        finally:
            sys.setprofile(None)
        self.rooms.settle()
        return files

    def test_nothing_is_asked(self):
        folder = Path(operations.__file__).parent
        asked = {"authorization.py", "visibility.py", "ownership.py", "submission_checks.py"}
        self.assertEqual(asked - {path.name for path in folder.iterdir()}, set())
        self.key("own", *ALL_OWN)
        tasks = [{"type": "t", "queue": OWN, "payload": b"x"} for _ in range(10)]
        token = self.rooms.leases[OWN]
        result = {"task": task_id(OWN, 3), "lease": token, "status": "completed"}
        for kind, header in (
            (MessageType.SUBMIT_TASK, {"tasks": tasks}),
            (MessageType.CLAIM_TASK, {"queues": [OWN], "limit": 10, "wait_s": 0}),
            (MessageType.TASK_RESULT, {"results": [result]}),
        ):
            files = self.called(self.rooms.admin, kind, header)
            self.assertIn("session.py", files)
            self.assertEqual(files & (asked | {"permissions.py", "gate.py"}), set(), kind)
            files = self.called(self.rooms.enter("own"), kind, header)
            self.assertNotEqual(files & asked, set(), kind)
