"""Unique keys and periodic tasks, as clients see them, in both languages."""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.wire import MessageType
from tests.operations.world import FIRST, LANGUAGES, SECOND, World

ACK, NACK = MessageType.ACK, MessageType.NACK


class TalkingTests(SynchronousTestCase):
    def setUp(self):
        self.begin()

    def begin(self, language="framed"):
        self.world = World()
        self.addCleanup(self.world.close)
        self.peer = self.world.connect(language)

    def ask(self, operation, expected=ACK, /, **fields):
        kind, answer = self.peer.ask(MessageType[operation], **fields)
        self.assertIs(kind, expected, answer)
        return answer


class UniqueTests(TalkingTests):
    def submit(self, *items, **fields):
        return self.ask("SUBMIT_TASK", tasks=[{"type": "t", **item} for item in items], **fields)

    def test_the_existing_task_is_given_back(self):
        for language in LANGUAGES:
            self.begin(language)
            self.submit({"id": FIRST, "unique": "k"})
            answer = self.submit({"type": "u"}, {"id": SECOND, "unique": "k"})
            self.assertEqual(answer["tasks"][1], FIRST)
            self.assertEqual(answer["existing"], [1])
            self.assertNotIn("errors", answer)

    def test_modes(self):
        """What C{common} says holds for every item; an item says otherwise for itself."""
        items = [{"unique": "a"}, {"unique": "b", "unique_until": "window", "unique_for_s": 60}]
        ids = self.submit(*items, common={"unique_until": "start"})["tasks"]
        self.ask("CLAIM_TASK", limit=5)
        again = self.submit(*items, common={"unique_until": "start"})
        self.assertEqual(again["existing"], [1])
        self.assertEqual(again["states"], {"1": "in_progress"})
        self.assertNotEqual(again["tasks"][0], ids[0])

    def test_view(self):
        item = {"unique": "ключ", "unique_until": "window", "unique_for_s": 60}
        [task] = self.submit(item)["tasks"]
        [view] = self.ask("QUERY_STATUS", tasks=[task])["tasks"]
        self.assertEqual((view["unique"], view["unique_until"]), ("ключ", "window"))
        self.assertEqual(view["unique_ends_at"], view["submitted_at"] + 60)
        [bare] = self.ask("QUERY_STATUS", tasks=self.submit({})["tasks"])["tasks"]
        self.assertEqual([name for name in bare if name.startswith("unique")], [])

    def test_refused(self):
        answer = self.submit(
            {"unique": "k", "unique_until": "window"}, {"unique": ""}, {"unique": "x" * 257}, {}
        )
        self.assertEqual(
            [(error["item"], error["field"]) for error in answer["errors"]],
            [(0, "unique_for_s"), (1, "unique"), (2, "unique")],
        )
        self.assertIsNotNone(answer["tasks"][3])

    def test_retried_while_another_holds_the_key(self):
        self.submit({"id": FIRST, "unique": "k", "max_retries": 0})
        [task] = self.ask("CLAIM_TASK")["tasks"]
        result = {"task": FIRST, "lease": task["lease"], "status": "failed"}
        self.ask("TASK_RESULT", results=[result])
        self.submit({"id": SECOND, "unique": "k"})
        [error] = self.ask("RETRY_TASK", tasks=[FIRST])["errors"]
        self.assertEqual((error["code"], error["holder"]), ("CONFLICT", SECOND))


class PeriodicTests(TalkingTests):
    def put(self, *items):
        items = [{"type": "t", **item} for item in items]
        return self.ask("PUT_PERIODIC", periodics=items)

    def test_payload_and_all(self):
        for language in LANGUAGES:
            self.begin(language)
            item = {"name": "p", "every_s": 60, "payload": b"\x00\xff", "headers": {"a": "b"}}
            answer = self.put({**item, "queue": "q", "priority": 9, "max_retries": 2})
            [view] = answer["periodics"]
            self.assertEqual((view["name"], view["paused"]), ("p", False))
            self.world.pass_time(61)
            [task] = self.ask("CLAIM_TASK", queues=["q"])["tasks"]
            self.assertEqual((task["payload"], task["headers"]), (b"\x00\xff", {"a": "b"}))
            self.assertEqual((task["type"], task["priority"]), ("t", 9))
            [listed] = self.ask("LIST_PERIODIC")["periodics"]
            self.assertEqual((listed["fired"], listed["last_task"]), (1, task["id"]))
            self.assertEqual(listed["next_at"], view["next_at"] + 60)
            self.assertEqual((listed["payload_bytes"], listed["max_retries"]), (2, 2))
            self.assertNotIn("max_lost", listed)

    def test_by_hand(self):
        self.put({"name": "p", "cron": "0 3 * * *", "tz": "Europe/Paris", "overlap": False})
        task = self.ask("TRIGGER_PERIODIC", name="p")["task"]
        refused = self.ask("TRIGGER_PERIODIC", NACK, name="p")
        self.assertEqual((refused["code"], refused["holder"]), ("CONFLICT", task))
        self.assertIsNone(self.ask("PAUSE_PERIODIC", name="p", paused=True)["next_at"])
        self.assertIsNotNone(self.ask("PAUSE_PERIODIC", name="p", paused=False)["next_at"])
        self.ask("DELETE_PERIODIC", name="p")
        refused = self.ask("DELETE_PERIODIC", NACK, name="p")
        self.assertEqual((refused["code"], refused["name"]), ("UNKNOWN_PERIODIC", "p"))

    def test_page_by_page(self):
        self.put(*({"name": f"p{n}", "every_s": 60} for n in range(5)))
        names, after = [], None
        while True:
            answer = self.ask("LIST_PERIODIC", limit=2, after=after)
            names += [view["name"] for view in answer["periodics"]]
            after = answer["next"]
            if after is None:
                break
        self.assertEqual(names, [f"p{n}" for n in range(5)])

    def test_refused(self):
        """Each by itself, with the field where one is at fault."""
        answer = self.put(
            {"name": "a"},
            {"name": "b", "cron": "* * * * *", "every_s": 60},
            {"name": "c", "cron": "x"},
            {"name": "d", "cron": "* * * * *", "tz": "Mars/Base"},
            {"name": "e", "every_s": 0.5},
            {"name": "f", "every_s": 60, "payload": bytes(65_537)},
            {"name": "g", "every_s": 60, "depends_on": []},
            {"every_s": 60},
            {"name": "h", "every_s": 60},
        )
        self.assertEqual(
            [(e["item"], e["code"], e.get("field")) for e in answer["errors"]],
            [
                (0, "BAD_REQUEST", None),
                (1, "BAD_REQUEST", None),
                (2, "BAD_REQUEST", "cron"),
                (3, "BAD_REQUEST", "tz"),
                (4, "BAD_REQUEST", "every_s"),
                (5, "PAYLOAD_TOO_LARGE", None),
                (6, "BAD_REQUEST", "depends_on"),
                (7, "BAD_REQUEST", "name"),
            ],
        )
        self.assertEqual(answer["periodics"][:8], [None] * 8)
        self.assertEqual(answer["periodics"][8]["name"], "h")
