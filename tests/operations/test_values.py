"""Values over a connection, in frames and in lines."""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import BrokerConfig, LimitsConfig
from taskqueue.operations.fields import LARGEST_INTEGER
from taskqueue.wire import MessageType, encode
from tests.operations.rooms import OTHER, OWN, TwoRooms
from tests.operations.world import LANGUAGES, NEW_YEAR, World

ACK, NACK = MessageType.ACK, MessageType.NACK


class ValuesTestCase(SynchronousTestCase):
    def setUp(self):
        self.begin()

    def begin(self, **sections):
        self.world = World(**sections)
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()

    def ask(self, kind, peer=None, **header):
        answer_kind, answer = (peer or self.peer).ask(kind, namespace="n", **header)
        self.assertIs(answer_kind, ACK, answer)
        return answer

    def refused(self, kind, code, peer=None, **header):
        answer_kind, answer = (peer or self.peer).ask(kind, **header)
        self.assertEqual((answer_kind, answer.get("code")), (NACK, code), answer)
        return answer["message"]

    def put(self, *items, peer=None):
        items = [{"namespace": "n", **item} for item in items]
        kind, answer = (peer or self.peer).ask(MessageType.PUT_VALUES, values=items)
        self.assertIs(kind, ACK, answer)
        return answer

    def get(self, *keys, peer=None):
        return self.ask(MessageType.GET_VALUES, peer, keys=list(keys))["values"]

    def tearDown(self):
        self.assertEqual(self.world.problems(), [])


class RequestTests(ValuesTestCase):
    def test_there_and_back(self):
        for language in LANGUAGES:
            peer = self.world.connect(language)
            value, text = b"\x00\xff" * 100, b"caf\xc3\xa9"
            answer = self.put(
                {"key": "a", "value": value},
                {"key": "ü\x06", "value": text, "expires_s": 10},
                {"key": "empty", "value": b""},
                peer=peer,
            )
            first, second, third = answer["versions"]
            self.assertLess(first, second)
            self.assertNotIn("errors", answer)
            self.assertEqual(
                self.get("ü\x06", "x", "a", "empty", peer=peer),
                [
                    {"key": "ü\x06", "version": second, "expires_at": NEW_YEAR + 10, "value": text}
                    | {"expires_at": self.world.service.broker.ledger.values.held("n", "ü\x06")[4]},
                    None,
                    {"key": "a", "version": first, "expires_at": None, "value": value},
                    {"key": "empty", "version": third, "expires_at": None, "value": b""},
                ],
            )

    def test_each_item_by_itself(self):
        answer = self.put(
            {"key": "a", "value": b"1", "only_if": "present"},
            {"key": "a", "value": b"2", "only_if": "absent", "version": 1},
            {"key": ""},
            {"key": "a", "value": b"3"},
            {"key": "b", "nonsense": 1},
        )
        self.assertEqual([v is None for v in answer["versions"]], [True, True, True, False, True])
        self.assertEqual([e["item"] for e in answer["errors"]], [1, 2, 4])
        self.assertIn("give one of them", answer["errors"][0]["message"])
        self.assertEqual(self.get("a")[0]["value"], b"3")

    def test_keys(self):
        for key in ("", "\x00", "ü" * 257, 5, None):
            message = self.refused(
                MessageType.GET_VALUES, "BAD_REQUEST", namespace="n", keys=["k", key]
            )
            self.assertIn("keys[1]", message)
        self.get("ü" * 256)
        message = self.refused(
            MessageType.GET_VALUES, "BATCH_TOO_LARGE", namespace="n", keys=["k"] * 1001
        )
        self.assertIn("1001", message)
        self.refused(MessageType.GET_VALUES, "BAD_REQUEST", namespace="a b", keys=["k"])
        self.refused(MessageType.PUT_VALUES, "BATCH_TOO_LARGE", values=[{}] * 1001)

    def test_long_values(self):
        self.begin(limits=LimitsConfig(max_payload_bytes=10))
        [error] = self.put({"key": "a", "value": bytes(11)})["errors"]
        self.assertEqual((error["code"], error["limit"]), ("PAYLOAD_TOO_LARGE", 10))
        self.put({"key": "a", "value": bytes(10)})

    def test_no_room(self):
        self.begin(limits=LimitsConfig(max_values=1))
        answer = self.put({"key": "a"}, {"key": "b"}, {"key": "a"})
        [error] = answer["errors"]
        self.assertEqual((error["item"], error["code"]), (1, "VALUES_FULL"))
        self.assertEqual(error["retry_after_s"], 1.0)
        self.assertIn("limits.max_values", error["message"])
        self.refused(MessageType.INCREASE_VALUE, "VALUES_FULL", namespace="n", key="c")

    def test_as_many_as_fit_into_an_answer(self):
        limits = LimitsConfig(max_frame_bytes=65_536, max_payload_bytes=32_768)
        self.begin(limits=limits)
        for key in "abcd":
            self.put({"key": key, "value": bytes(15_000)})
        self.assertEqual(len(self.get("a", "b", "x", "c", "d")), 3)
        self.put({"key": "e", "value": bytes(32_768)})
        self.assertEqual(len(self.get("e", "a")), 1)
        answer = self.ask(MessageType.LIST_VALUES)
        self.assertEqual(([v["key"] for v in answer["values"]], answer["next"]), (["a", "b"], "b"))
        answer = self.ask(MessageType.LIST_VALUES, bytes=False)
        self.assertEqual([v["bytes"] for v in answer["values"]], [15_000] * 4 + [32_768])
        known = dict.fromkeys("abcde", 0)
        told = self.ask(MessageType.WAIT_VALUES, known=known)["values"]
        self.assertEqual([value["key"] for value in told], ["a", "b"])

    def test_taking_and_deleting(self):
        version = self.put({"key": "a", "value": b"1"})["versions"][0]
        for expected in (b"1", None):
            [found] = self.ask(MessageType.TAKE_VALUE, key="a")["values"]
            self.assertEqual(found and found["value"], expected)
        [newer] = self.put({"key": "a"})["versions"]
        self.assertGreater(newer, version)
        for given, deleted in ((version, 0), (newer, 1), (newer, 0)):
            answer = self.ask(MessageType.DELETE_VALUES, keys=["a"], version=given)
            self.assertEqual(answer, {"deleted": deleted})
        self.put({"key": "a"}, {"key": "b"})
        self.assertEqual(self.ask(MessageType.DELETE_VALUES, keys=["a", "b", "c"])["deleted"], 2)
        message = self.refused(
            MessageType.DELETE_VALUES, "BAD_REQUEST", namespace="n", keys=["a", "b"], version=1
        )
        self.assertIn("one value", message)

    def test_counting(self):
        self.assertEqual(self.ask(MessageType.INCREASE_VALUE, key="c")["count"], 1)
        answer = self.ask(MessageType.INCREASE_VALUE, key="c", by=-5, expires_s=10)
        self.assertEqual(answer["count"], -4)
        [view] = self.get("c")
        self.assertEqual((view["value"], view["version"]), (b"-4", answer["version"]))
        self.put({"key": "c", "value": b"text"})
        header = {"namespace": "n", "key": "c"}
        self.assertIn("4 bytes", self.refused(MessageType.INCREASE_VALUE, "CONFLICT", **header))
        self.put({"key": "c", "value": b"%d" % LARGEST_INTEGER})
        self.refused(MessageType.INCREASE_VALUE, "CONFLICT", **header)

    def test_listing(self):
        for number in range(5):
            self.put({"key": f"k{number}"})
        self.put({"key": "other"})
        found, after = [], None
        while True:
            answer = self.ask(MessageType.LIST_VALUES, prefix="k", limit=2, after=after)
            found.append([view["key"] for view in answer["values"]])
            after = answer["next"]
            if after is None:
                break
        self.assertEqual(found, [["k0", "k1"], ["k2", "k3"], ["k4"]])
        _, answer = self.peer.ask(MessageType.LIST_NAMESPACES)
        self.assertEqual(answer, {"namespaces": [{"namespace": "n", "count": 6}], "next": None})

    def test_namespaces_in_pages(self):
        for name in "cab":
            self.put({"namespace": name, "key": "k"})
        pages, after = [], None
        while True:
            _, answer = self.peer.ask(MessageType.LIST_NAMESPACES, limit=2, after=after)
            pages.append([view["namespace"] for view in answer["namespaces"]])
            after = answer["next"]
            if after is None:
                break
        self.assertEqual(pages, [["a", "b"], ["c"]])

    def test_nothing_is_told_that_is_not_stored(self):
        """Answers to who puts and to who reads come when the group is stored, in one go."""
        self.peer.connection.dataReceived(
            encode(MessageType.PUT_VALUES, {"id": 1, "values": [{"namespace": "n", "key": "k"}]})
            + encode(MessageType.GET_VALUES, {"id": 2, "namespace": "n", "keys": ["k"]})
            + encode(MessageType.LIST_VALUES, {"id": 3, "namespace": "n"})
            + encode(MessageType.GET_VALUES, {"id": 4, "namespace": "n", "keys": ["other"]})
        )
        self.assertEqual([header["id"] for _, header in self.peer.new()], [4])
        self.world.settle()
        answers = {header["id"]: header for _, header in self.peer.new()}
        self.assertEqual(set(answers), {1, 2, 3})
        [version] = answers[1]["versions"]
        self.assertEqual([view["version"] for view in answers[2]["values"]], [version])

    def test_short_names_in_lines(self):
        peer = self.world.connect("lines")
        self.put({"key": "k", "value": b"text"})
        peer.send_bytes(b'{"op":"values","namespace":"n"}\n{"op":"namespaces"}\n')
        [(_, listed), (_, namespaces)] = peer.new()
        self.assertEqual(listed["values"][0]["value"], b"text")
        self.assertEqual(namespaces["namespaces"][0]["count"], 1)


class WaitTests(ValuesTestCase):
    def wait(self, peer, number=77, **more):
        peer.send(MessageType.WAIT_VALUES, {"id": number, "namespace": "n", **more})

    def counts(self, peer):
        session = peer.connection.session
        return session.claims_waiting, session.unanswered, len(self.world.ledger.values.waits)

    def test_told_as_soon_as_it_changes(self):
        for language in LANGUAGES:
            peer = self.world.connect(language)
            known = {key: view["version"] for key in "ab" for view in self.get(key) if view}
            self.wait(peer, known={"a": 0, "b": 0} | known, wait_s=60)
            self.assertEqual(self.counts(peer), (1, 1, 1))
            [version] = self.put({"key": "b", "value": b"\xff"})["versions"]
            [(kind, answer)] = peer.new()
            self.assertEqual((kind, answer["id"], answer["gone"]), (ACK, 77, []))
            [view] = answer["values"]
            self.assertEqual((view["key"], view["version"], view["value"]), ("b", version, b"\xff"))
            self.assertEqual(self.counts(peer), (0, 0, 0))

    def test_not_longer_than_asked(self):
        self.wait(self.peer, known={"a": 0}, wait_s=2)
        self.world.pass_time(1.5)
        self.assertEqual(self.peer.new(), [])
        self.world.pass_time(1)
        self.assertEqual(self.peer.new(), [(ACK, {"values": [], "gone": [], "id": 77})])
        self.begin(broker=BrokerConfig(claim_wait_s=2.0, claim_wait_max_s=5.0))
        header = {"namespace": "n", "known": {"a": 0}}
        message = self.refused(MessageType.WAIT_VALUES, "BAD_REQUEST", **header, wait_s=6)
        self.assertIn("claim_wait_max_s", message)
        self.wait(self.peer, known={"a": 0})
        self.world.pass_time(3)
        self.assertEqual(len(self.peer.new()), 1)

    def test_what_is_gone(self):
        [version] = self.put({"key": "a", "expires_s": 2})["versions"]
        self.wait(self.peer, known={"a": version})
        self.world.pass_time(3)
        [(_, answer)] = self.peer.new()
        self.assertEqual((answer["values"], answer["gone"]), ([], ["a"]))

    def test_the_connection_goes(self):
        other = self.world.connect()
        self.wait(other, known={"a": 0})
        other.leave()
        self.assertEqual(len(self.world.ledger.values.waits), 0)
        self.put({"key": "a"})
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_it_says_no_more(self):
        """As a claim: who sends no more could be dead."""
        for language in LANGUAGES:
            peer = self.world.connect(language)
            self.wait(peer, known={"a": 0})
            peer.connection.readConnectionLost()
            self.world.settle()
            [(kind, answer)] = peer.new()
            self.assertEqual((kind, answer["values"]), (ACK, []))
            self.assertTrue(peer.over)

    def test_it_may_do_so_no_longer(self):
        """Where permissions change, whoever waits is answered with nothing, and asks again."""
        rooms = TwoRooms()
        self.addCleanup(rooms.close)
        rooms.keys.add("reader", "values:read:own")
        peer = rooms.enter("reader")
        peer.send(MessageType.WAIT_VALUES, {"id": 7, "namespace": OWN, "known": {"a": 0}})
        self.assertEqual(peer.new(), [])
        rooms.keys.allow("reader", "values:read:other")
        rooms.settle()
        self.assertEqual(peer.answer(7), (ACK, {"values": [], "gone": []}))
        rooms.admin.ask(
            MessageType.PUT_VALUES, values=[{"namespace": OWN, "key": "a", "value": b""}]
        )
        self.assertEqual(peer.new(), [])

    def test_wrong_versions(self):
        for known in ({}, {"a": -1}, {"a": None}, {"": 0}, [], {"k" * 500: 1.5}):
            message = self.refused(
                MessageType.WAIT_VALUES, "BAD_REQUEST", namespace="n", known=known
            )
            self.assertIn("known", message)
            self.assertLess(len(message), 300)
        many = {f"k{number}": 0 for number in range(1001)}
        self.refused(MessageType.WAIT_VALUES, "BATCH_TOO_LARGE", namespace="n", known=many)
        self.assertEqual(len(self.world.ledger.values.waits), 0)


class PermissionTests(SynchronousTestCase):
    def setUp(self):
        self.rooms = TwoRooms()
        self.addCleanup(self.rooms.close)

    def enter(self, *words):
        name = " ".join(words)
        self.rooms.keys.add(name, *words)
        return self.rooms.enter(name)

    def put(self, peer, *namespaces):
        items = [{"namespace": each, "key": "k", "value": b"1"} for each in namespaces]
        kind, answer = peer.ask(MessageType.PUT_VALUES, values=items)
        errors = [answer] if kind is NACK else answer.get("errors", ())
        return [error["code"] for error in errors]

    def test_who_submits_or_works_keeps_values_beside(self):
        for word in ("submit:own", "claim:own", "values:write:own"):
            peer = self.enter(word)
            self.assertEqual(self.put(peer, OWN, OTHER), ["FORBIDDEN"])
            kind, _ = peer.ask(MessageType.GET_VALUES, namespace=OWN, keys=["k"])
            self.assertIs(kind, ACK)
            kind, _ = peer.ask(MessageType.GET_VALUES, namespace=OTHER, keys=["k"])
            self.assertIs(kind, NACK)

    def test_who_reads_does_not_write(self):
        self.put(self.rooms.admin, OWN, OTHER)
        peer = self.enter("values:read:own")
        self.assertEqual(self.put(peer, OWN), ["FORBIDDEN"])
        kind, answer = peer.ask(MessageType.TAKE_VALUE, namespace=OWN, key="k")
        self.assertEqual((kind, answer["action"], answer["namespace"]), (NACK, "values:write", OWN))
        self.assertIn("values:write:own", answer["message"])
        _, answer = peer.ask(MessageType.LIST_NAMESPACES)
        self.assertEqual(answer["namespaces"], [{"namespace": OWN, "count": 1}])

    def test_who_reads_tasks_reads_no_values(self):
        peer = self.enter("read:*")
        kind, _ = peer.ask(MessageType.GET_VALUES, namespace=OWN, keys=["k"])
        self.assertIs(kind, NACK)
