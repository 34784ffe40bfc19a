"""
The audit of administrative actions: who, what, how many, from where, and how it ended.
"""

import json

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.operations.needs import NEEDS
from taskqueue.wire import MessageType
from tests.operations.rooms import OTHER, OWN, UNKNOWN, TwoRooms, requests_about, task_id


class AuditingTests(SynchronousTestCase):
    def setUp(self):
        self.rooms = TwoRooms()
        self.addCleanup(self.rooms.close)
        self.path = self.mktemp()
        audit = self.rooms.service.gate.audit
        audit.path = self.path
        self.addCleanup(audit.reopen)

    def told(self):
        """The entries since the last look."""
        with open(self.path, "a+", encoding="ascii") as file:
            file.seek(0)
            entries = [json.loads(line) for line in file]
            file.truncate(0)
        return entries

    def test_each_administrative_action(self):
        """And nothing else."""
        for language in ("framed", "lines"):
            rooms = self.rooms = TwoRooms()
            self.addCleanup(rooms.close)
            rooms.service.gate.audit.path = self.path
            peer = rooms.enter("admin", language)
            self.told()
            for kind, header in requests_about(OWN, rooms.leases).items():
                peer.ask(kind, **header)
                entries = self.told()
                self.assertEqual(len(entries), int(NEEDS[kind].audited), kind)
                for entry in entries:
                    self.assertEqual(entry["operation"], kind.name.lower())
                    self.assertEqual((entry["who"], entry["kind"]), ("admin", "key"))
                    claimed = kind is MessageType.CANCEL_TASK  # by the claim before it
                    outcome = "1 refused: CONFLICT" if claimed else "ok"
                    self.assertEqual((entry["door"], entry["outcome"]), (language, outcome))
                    self.assertEqual(entry["peer"], peer.connection.host)
            rooms.service.gate.audit.reopen()

    def test_how_many(self):
        ask = self.rooms.admin.ask
        ids = [task_id(OWN, n) for n in range(1, 8)]
        ask(MessageType.CANCEL_TASK, tasks=[*ids, UNKNOWN])
        [entry] = self.told()
        self.assertEqual(entry["count"], 3)
        self.assertEqual(entry["outcome"], "5 refused: CONFLICT, UNKNOWN_TASK")
        self.assertEqual(entry["what"], f"tasks {', '.join(ids[:5])} and 3 more")
        ask(MessageType.PURGE_QUEUE, queue=OTHER)
        [entry] = self.told()
        self.assertEqual((entry["what"], entry["count"]), ("queue other", 3))
        ask(MessageType.DELETE_TASK, tasks=ids[3:5])
        [entry] = self.told()
        self.assertEqual(entry["count"], 2)

    def test_what_is_refused(self):
        self.rooms.keys.add("viewer", "read:*")
        peer = self.rooms.enter("viewer")
        [made] = self.told()
        self.assertEqual(made["operation"], "change_keyring")
        for kind, header, what in (
            (MessageType.PAUSE_QUEUE, {"queue": OWN, "for_s": 5}, "queue own; for_s 5.0"),
            (MessageType.ORDER_WORKER, {"worker": "w", "order": "quiet"}, "worker w; order quiet"),
            (MessageType.CANCEL_TASK, {"tasks": [UNKNOWN]}, f"tasks {UNKNOWN}"),
            (MessageType.BACKUP, {"name": "b"}, "name b"),
        ):
            peer.ask(kind, **header)
            [entry] = self.told()
            self.assertEqual((entry["who"], entry["outcome"]), ("viewer", "FORBIDDEN"))
            self.assertEqual((entry["what"], entry["count"]), (what, None))

    def test_what_fails(self):
        self.rooms.admin.ask(MessageType.ORDER_WORKER, worker="none", order="quiet")
        self.rooms.admin.ask(MessageType.RESUME_QUEUE, queue="none")
        outcomes = [entry["outcome"] for entry in self.told()]
        self.assertEqual(outcomes, ["UNKNOWN_WORKER", "UNKNOWN_QUEUE"])

    def test_what_cannot_be_read_is_not_asked(self):
        self.rooms.admin.ask(MessageType.PAUSE_QUEUE, queue=7)
        self.assertEqual(self.told(), [])
