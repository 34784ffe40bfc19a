"""
The page of the protocol is true: its tables name what the code has, its limits
are the code's, and its examples are what a broker says.
"""

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors, wire
from taskqueue.config import Config
from taskqueue.core.changes import EVENTS
from taskqueue.core.task import ENDED_STATES, State
from taskqueue.errors import ClientError, FatalClientError, by_code
from taskqueue.frontends import listening
from taskqueue.operations import administration, periodics, tasks, values, work
from taskqueue.operations.table import OPERATIONS
from taskqueue.wire import MessageType
from tests.operations import page
from tests.operations.keys import Keys
from tests.operations.world import FIRST, World

ACK, NACK, EVENT = MessageType.ACK, MessageType.NACK, MessageType.EVENT

#: The forms of items, which the forms of requests do not know.
ITEMS = {
    MessageType.SUBMIT_TASK: {"tasks": tasks.TASK},
    MessageType.TASK_RESULT: {"results": work.RESULT},
    MessageType.EXTEND_LEASE: {"leases": work.EXTENSION},
    MessageType.RELEASE_TASK: {"leases": work.RELEASE},
    MessageType.BURY_TASK: {"leases": work.BURIAL},
    MessageType.REPORT_PROGRESS: {"reports": work.PROGRESS},
    MessageType.PUT_PERIODIC: {"periodics": periodics.PERIODIC},
    MessageType.PUT_VALUES: {"values": values.VALUE},
}

#: Lists in answers: by operation and field, whose table has the fields of their items.
NESTED = {
    (MessageType.CLAIM_TASK, "tasks"): (MessageType.CLAIM_TASK, "Items of the answer's tasks"),
    (MessageType.QUERY_STATUS, "tasks"): (MessageType.QUERY_STATUS, "A task's view"),
    (MessageType.LIST_TASKS, "tasks"): (MessageType.QUERY_STATUS, "A task's view"),
    (MessageType.GET_STATS, "stats"): (MessageType.GET_STATS, "Fields of stats"),
    (MessageType.LIST_QUEUES, "queues"): (
        MessageType.LIST_QUEUES,
        "Items of the answer's queues",
    ),
    (MessageType.LIST_WORKERS, "workers"): (
        MessageType.LIST_WORKERS,
        "Items of the answer's workers",
    ),
    (MessageType.LIST_PERIODIC, "periodics"): (
        MessageType.LIST_PERIODIC,
        "Items of the answer's periodics",
    ),
    **{
        (kind, "values"): (MessageType.GET_VALUES, "Items of the answer's values")
        for kind in (MessageType.GET_VALUES, MessageType.TAKE_VALUE, MessageType.WAIT_VALUES)
    },
    (MessageType.LIST_VALUES, "values"): (
        MessageType.LIST_VALUES,
        "Items of the answer's values",
    ),
    (MessageType.LIST_NAMESPACES, "namespaces"): (
        MessageType.LIST_NAMESPACES,
        "Items of the answer's namespaces",
    ),
}

#: What the numbers on the page count.
UNITS = {"": 1, " s": 1, " MiB": 2**20}

#: An id that no task has.
UNKNOWN = FIRST[:-1] + "f"


class TableTests(SynchronousTestCase):
    tables = page.tables()

    def assertDescribes(self, fields, form, what):
        self.assertEqual([f.name for f in fields], list(dict.fromkeys(f.name for f in fields)))
        self.assertEqual({f.name for f in fields}, set(form.fields), what)
        required = {f.name for f in fields if f.default == "required"}
        self.assertEqual(required, set(form.required), what)

    def test_requests(self):
        for kind, operation in OPERATIONS.items():
            fields = self.tables[kind].get("Request", [])
            self.assertDescribes(fields, operation.form, kind.name)
            for name, form in ITEMS.get(kind, {}).items():
                self.assertDescribes(self.tables[kind][f"Items of {name}"], form, kind.name)

    def test_common_fields(self):
        """As the page says: a task's, but no id, key and payload, and none required."""
        own = {"id", "unique", "payload"}
        self.assertEqual(set(tasks.COMMON.fields), set(tasks.TASK.fields) - own)
        self.assertEqual(tasks.COMMON.required, ())

    def test_items_are_all_there(self):
        """Where a request has items, the page has a table of their fields."""
        for kind, titles in self.tables.items():
            lists = {f.name for f in titles.get("Request", ()) if f.value.startswith("items")}
            self.assertEqual(lists, set(ITEMS.get(kind, ())), kind.name)

    def test_operations(self):
        self.assertEqual(set(self.tables), set(OPERATIONS))

    def test_message_types(self):
        rows = {}
        for number, name, short, sender, _ in page.rows_under("## Messages", 5)[1:]:
            rows[name] = int(number), short.strip("`"), sender
        self.assertEqual({n: r[0] for n, r in rows.items()}, {k.name: k.value for k in MessageType})
        aliases = {k: a for a, k in wire.OPERATIONS.items() if a != k.name.lower()}
        for kind in MessageType:
            _, short, sender = rows[kind.name]
            self.assertEqual(short, aliases.get(kind, ""))
            self.assertEqual(sender, "client" if kind in OPERATIONS else "broker")

    def test_states(self):
        rows = page.rows_under("## A task's life", 3)[1:]
        self.assertEqual(
            {word.strip("`"): ended == "yes" for word, _, ended in rows},
            {state.word: state in ENDED_STATES for state in State},
        )

    def test_words(self):
        text = page.TEXT
        for word in (*EVENTS, *administration.FEATURES):
            self.assertIn(f"`{word}`", text)
        self.assertEqual(set(administration.VERSIONS), {1})

    def test_links(self):
        heads = re.findall(r"^#+ (.*)$", page.TEXT, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9_ -]", "", h.lower()).replace(" ", "-") for h in heads}
        links = set(re.findall(r"\]\(#([^)]*)\)", page.TEXT))
        self.assertEqual(links - anchors, set())


class ErrorTests(SynchronousTestCase):
    def classes(self):
        """What goes over the wire: code to class."""
        return {
            code: cls
            for code, cls in by_code().items()
            if issubclass(cls, ClientError | FatalClientError)
        }

    def documented(self):
        rows = [r for r in page.rows_under("## Errors", 4) if r[0] != "code"]
        return {code.strip("`"): (fields, meaning) for code, fields, meaning, _ in rows}

    def test_codes(self):
        self.assertEqual(set(self.documented()), set(self.classes()))

    def test_which_end_the_connection(self):
        goes_on, ends = page.TEXT.split("\nThese end the connection:\n")
        for code, cls in self.classes().items():
            row = f"\n| `{code}` |"
            self.assertIn(row, ends if issubclass(cls, FatalClientError) else goes_on, code)

    def test_codes_that_are_never_sent(self):
        self.assertEqual(listening.CannotListen.code, "CANNOT_LISTEN")
        (sentence,) = re.findall(r"^The classes of errors that never .*$", page.TEXT, re.MULTILINE)
        named = set(re.findall(r"`([A-Z_]+)`", sentence))
        own = {
            cls.code
            for cls in vars(errors).values()
            if isinstance(cls, type) and issubclass(cls, errors.TaskQueueError)
        }
        self.assertEqual(named, own - set(self.classes()) | {"CANNOT_LISTEN"})


class LimitTests(SynchronousTestCase):
    """Every number on the page that the code has too."""

    def configured(self):
        """Default values by key."""
        found = {}
        config = Config()
        for section in ("broker", "workers", "limits", "store"):
            for name, value in vars(getattr(config, section)).items():
                found.setdefault(name, value)
        return found

    def test_defaults_in_the_text(self):
        configured = self.configured()
        pattern = re.compile(r"`(?:limits\.)?(\w+)`[,;]? \(?(\d[\d.]*)( s| MiB)?\b")
        found = [
            (name, float(number) * UNITS[unit or ""])
            for name, number, unit in pattern.findall(page.TEXT)
            if name in configured
        ]
        self.assertTrue(len(found) > 15, found)
        for name, value in found:
            self.assertEqual(value, configured[name], name)

    def test_bounds_in_the_tables(self):
        """ "integer 1 to 1000" of a limit that is `limits.max_batch_claim`, and so on."""
        broker = Config().broker
        fields = {f.name: f for f in page.tables()[MessageType.CLAIM_TASK]["Request"]}
        for name, most, default in (
            ("limit", broker.max_batch_claim, 1),
            ("wait_s", broker.claim_wait_max_s, broker.claim_wait_s),
        ):
            self.assertTrue(fields[name].value.endswith(f" to {most:g}"), name)
            self.assertEqual(fields[name].default, f"`{default:g}`")
        for kind, title in (
            (MessageType.CLAIM_TASK, "Request"),
            (MessageType.SUBMIT_TASK, "Items of tasks"),
            (MessageType.EXTEND_LEASE, "Items of leases"),
        ):
            (lease_s,) = [f for f in page.tables()[kind][title] if f.name == "lease_s"]
            bounds = f"number {broker.lease_min_s:g} to {broker.lease_max_s:g} or null"
            self.assertEqual(lease_s.value, bounds)

    def test_defaults_of_a_task(self):
        fields = {f.name: f for f in page.tables()[MessageType.SUBMIT_TASK]["Items of tasks"]}
        broker = Config().broker
        for name in ("max_retries", "max_lost", "lease_s", "retry_delay_s", "retry_max_delay_s"):
            self.assertEqual(fields[name].default, f"the queue's, {getattr(broker, name):g}")
        self.assertEqual(fields["retry_jitter"].default, f"the queue's, {broker.retry_jitter}")

    def test_other_limits(self):
        self.assertIn(f"header has at most {wire.MAX_HEADER_BYTES} bytes", page.TEXT)
        self.assertIn(f"may watch {tasks.MOST_WATCHED} tasks", page.TEXT)

    def test_defaults_that_can_be_seen(self):
        """What a request without its optional fields does, is what their defaults say."""
        world = World()
        self.addCleanup(world.close)
        peer = world.connect()
        peer.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t", "id": FIRST}])
        _, status = peer.ask(MessageType.QUERY_STATUS, tasks=[FIRST])
        (view,) = status["tasks"]
        self.assertEqual((view["queue"], view["priority"]), ("default", 150))
        peer.ask(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        _, answer = peer.ask(MessageType.LIST_WORKERS)
        (worker,) = answer["workers"]
        for name, default in (("queues", ["default"]), ("types", None), ("capacity", 1)):
            self.assertEqual(worker[name], default)
        _, claimed = peer.ask(MessageType.CLAIM_TASK)
        self.assertEqual(claimed["tasks"][0]["lease_s"], 30.0)


class ExampleTests(SynchronousTestCase):
    """The examples, played on one connection in their order."""

    #: Where an answer may differ from the page.
    DIFFERENT = ("server", "time", "submitted_at", "claimed_at", "ended_at", "worker")

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.tokens = {}

    def assertSame(self, actual, shown, where):
        """The same but for what may differ; tokens of leases are remembered."""
        self.assertIs(type(actual), type(shown), where)
        if isinstance(shown, dict):
            self.assertEqual(list(actual), list(shown), f"the fields of {where}")
            for name, value in shown.items():
                if name == "lease":
                    self.tokens.setdefault(value, actual[name])
                    self.assertEqual(actual[name], self.tokens[value])
                elif name in self.DIFFERENT:
                    self.assertIs(type(actual[name]), type(value), name)
                else:
                    self.assertSame(actual[name], value, f"{where} {name}")
        elif isinstance(shown, list):
            self.assertEqual(len(actual), len(shown), where)
            for one, other in zip(actual, shown, strict=True):
                self.assertSame(one, other, where)
        elif where.endswith("message") and "lease" in shown:
            self.assertEqual(re.sub(r"^\d+", "N", actual), re.sub(r"^\d+", "N", shown))
        else:
            self.assertEqual(actual, shown, where)

    def with_tokens(self, value, name=""):
        """A request of the page with the tokens that this broker gave."""
        if isinstance(value, dict):
            return {n: self.with_tokens(v, n) for n, v in value.items()}
        if isinstance(value, list):
            return [self.with_tokens(v, name) for v in value]
        return self.tokens[value] if name in ("lease", "leases") else value

    def whole(self, data):
        """The message in a whole frame, which is what L{wire.encode} makes of it."""
        (body,) = wire.FrameDecoder().feed(data)
        message = wire.decode(body)
        self.assertEqual(wire.encode(*message), data)
        return message

    def test_frames(self):
        peer = self.world.meet()
        shown = set()
        played = []
        for line in (line for block in page.blocks("example") for line in block):
            data = page.unescaped(line[2:])
            if line.startswith("> ") and data == bytes(4):
                peer.send_bytes(data)
            elif line.startswith("> "):
                self.assertEqual(played, [], "everything received was shown")
                kind, header = self.whole(data)
                shown.add(kind)
                peer.send(kind, self.with_tokens(header))
            else:
                played = played or peer.new()
                kind, header = self.whole(data)
                shown.add(kind)
                actual_kind, actual = played.pop(0)
                self.assertIs(actual_kind, kind)
                self.assertSame(actual, header, kind.name)
        self.assertEqual(played + peer.new(), [])
        self.assertTrue(peer.over)
        expected = {"HELLO", "SUBMIT_TASK", "CLAIM_TASK", "TASK_RESULT", "HEARTBEAT", "WATCH"}
        self.assertEqual({kind.name for kind in shown}, expected | {"ACK", "NACK", "EVENT"})
        self.assertEqual(self.tokens.keys(), {1, 2})

    def test_bytes_of_the_frames(self):
        """On a clock that stands where the page's does, the bytes are the same but for times."""
        peer = self.world.meet()
        for line in (line for block in page.blocks("example")[:4] for line in block):
            data = page.unescaped(line[2:])
            if line.startswith("> "):
                peer.wire.clear()
                peer.send_bytes(data)
            else:
                sent = re.sub(rb"taskqueue/[^\"]*", b"taskqueue/0.1.0", peer.wire.value())
                self.assertEqual(sent[4:], data[4:])

    def test_lines(self):
        peer = self.world.meet("lines")
        (block,) = page.blocks("lines")
        for sent, received in zip(block[::2], block[1::2], strict=True):
            self.assertTrue(sent.startswith("> ") and received.startswith("< "))
            request = self.with_tokens(json.loads(sent[2:]))
            peer.send_bytes(json.dumps(request).encode() + b"\r\n")
            [(actual_kind, actual)] = peer.new()
            shown_kind, shown = wire.decode_line(received[2:].encode())
            self.assertEqual(wire.encode_line(shown_kind, shown), received[2:].encode() + b"\n")
            self.assertIs(actual_kind, shown_kind)
            self.assertSame(actual, shown, received)


class AnswerTests(SynchronousTestCase):
    """Every field that a broker sends is on the page."""

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()
        self.tables = page.tables()
        self.seen = {}

    def fields(self, kind, title):
        return {field.name for field in self.tables[kind].get(title, ())}

    def see(self, place, header):
        self.seen.setdefault(place, set()).update(header)
        self.assertEqual(set(header) - self.fields(*place), set(), place)

    def ask(self, kind, **header):
        answer_kind, answer = self.peer.ask(kind, **header)
        self.assertIs(answer_kind, ACK, answer)
        self.see((kind, "Answer"), answer)
        for (operation, name), place in NESTED.items():
            if operation is kind:
                items = answer[name] if isinstance(answer[name], list) else [answer[name]]
                for item in filter(None, items):
                    self.see(place, item)
        return answer

    def live(self):
        """A life that shows every field at least once."""
        ask, kinds = self.ask, MessageType
        self.see((kinds.HELLO, "Answer"), self.peer.received[0][1].keys() - {"id"})
        ask(kinds.PING)
        ids = [f"{FIRST[:-1]}{n}" for n in range(5)]
        ask(kinds.REGISTER_WORKER, worker="w", incarnation=1, host="h", pid=1)
        ask(kinds.SUBMIT_TASK, tasks=[{"type": "t", "id": i, "headers": {"a": "b"}} for i in ids])
        ask(
            kinds.SUBMIT_TASK,
            tasks=[{"type": "t", "id": ids[0]}, {"type": "t", "run_in_s": 5}, {}],
            common={"expires_in_s": 50},
        )
        ask(kinds.SUBMIT_TASK, tasks=[{"type": "t", "depends_on": [ids[0]]}])
        keyed = ask(
            kinds.SUBMIT_TASK,
            tasks=[{"type": "t", "unique": "k", "unique_until": "start", "unique_for_s": 5}],
            common={"run_in_s": 60},
        )["tasks"]
        ask(kinds.QUERY_STATUS, tasks=keyed)
        claimed = ask(kinds.CLAIM_TASK, limit=5)["tasks"]
        tokens = [{"task": t["id"], "lease": t["lease"]} for t in claimed]
        bad = {"task": ids[0], "lease": 99}
        ask(kinds.REPORT_PROGRESS, reports=[{**i, "progress": 5} for i in (tokens[0], bad)])
        ask(kinds.CANCEL_TASK, tasks=[ids[0], UNKNOWN], running=True)
        ask(kinds.QUERY_STATUS, tasks=ids, history=True, result=True)
        ask(kinds.HEARTBEAT, worker="w", incarnation=1, cpu_percent=1, rss_bytes=1, in_hand=5)
        ask(kinds.EXTEND_LEASE, leases=[tokens[0], bad])
        ask(kinds.RELEASE_TASK, leases=[{**tokens[0], "delay_s": 1}, bad])
        ask(kinds.RELEASE_TASK, leases=[{**tokens[1], "delay_s": 1}])
        results = [
            {**tokens[2], "status": "completed", "result": b"x"},
            {**tokens[3], "status": "failed", "error": "e", "permanent": True},
            bad | {"status": "completed"},
        ]
        ask(kinds.TASK_RESULT, results=results)
        found = ask(kinds.QUERY_STATUS, tasks=ids, history=True, result=True)["tasks"]
        for view in found:
            for event in view["history"]:
                self.seen.setdefault("history", set()).update(event)
        ask(kinds.WATCH, tasks=[*ids, UNKNOWN], queues=["default"])
        ask(kinds.LIST_TASKS)
        ask(kinds.GET_PAYLOAD, task=ids[0])
        ask(kinds.GET_STATS)
        ask(kinds.LIST_QUEUES)
        ask(kinds.LIST_WORKERS)
        ask(kinds.SUBMIT_TASK, tasks=[{"type": "t", "queue": "aside"}])
        [held] = ask(kinds.CLAIM_TASK, queues=["aside"])["tasks"]
        ask(kinds.BURY_TASK, leases=[{"task": held["id"], "lease": held["lease"]}, bad])
        ask(kinds.RETRY_TASK, tasks=[ids[3], ids[2]])
        ask(kinds.RETRY_QUEUE, queue="default")
        ask(kinds.RUN_NOW, tasks=[ids[3], ids[2]])
        ask(kinds.DELETE_TASK, tasks=[ids[2], ids[4]])
        ask(kinds.PAUSE_QUEUE, queue="q", for_s=1)
        ask(kinds.RESUME_QUEUE, queue="q")
        ask(kinds.SET_QUEUE, queue="q", max_depth=1)
        ask(kinds.PURGE_QUEUE, queue="default")
        ask(kinds.UNWATCH, queues=["default"])
        self.live_again_and_again()
        self.live_on_values()
        ask(kinds.AUDIT)
        ask(kinds.ORDER_WORKER, worker="w", order="quiet")
        ask(kinds.DEREGISTER_WORKER)
        keys = Keys(self.world.service.gate, mailer=["submit:mail"])
        stranger = self.world.meet()
        _, answer = stranger.ask(kinds.HELLO, key=keys["mailer"])
        self.see((kinds.HELLO, "Answer"), answer)

    def live_again_and_again(self):
        ask, kinds = self.ask, MessageType
        options = {"max_retries": 1, "max_lost": 1, "lease_s": 9, "expires_in_s": 9}
        pauses = {"retry_delay_s": 1, "retry_max_delay_s": 1, "retry_jitter": 0}
        daily = {"name": "daily", "type": "t", "cron": "0 3 * * *", "headers": {"a": "b"}}
        hourly = {"name": "hourly", "type": "t", "every_s": 3600}
        ask(kinds.PUT_PERIODIC, periodics=[{**daily, **options, **pauses}, hourly, {}])
        ask(kinds.TRIGGER_PERIODIC, name="daily")
        ask(kinds.LIST_PERIODIC)
        ask(kinds.PAUSE_PERIODIC, name="hourly", paused=True)
        ask(kinds.DELETE_PERIODIC, name="hourly")

    def live_on_values(self):
        ask, kinds, place = self.ask, MessageType, {"namespace": "n"}
        ask(kinds.PUT_VALUES, values=[{**place, "key": "k", "value": b"1"}, {}])
        ask(kinds.GET_VALUES, **place, keys=["k", "other"])
        ask(kinds.INCREASE_VALUE, **place, key="k")
        ask(kinds.LIST_VALUES, **place)
        ask(kinds.LIST_VALUES, **place, bytes=False)
        ask(kinds.LIST_NAMESPACES)
        ask(kinds.WAIT_VALUES, **place, known={"k": 0})
        ask(kinds.TAKE_VALUE, **place, key="k")
        ask(kinds.WAIT_VALUES, **place, known={"k": 1})
        ask(kinds.DELETE_VALUES, **place, keys=["k"])

    def test_answers(self):
        self.live()
        unseen = set(OPERATIONS) - {
            kind for kind, *_ in filter(lambda s: s != "history", self.seen)
        }
        self.assertEqual({kind.name for kind in unseen}, {"BACKUP"})
        for place, names in self.seen.items():
            if place == "history":
                expected = {"at", "event", "attempt", "worker", "started_at", "detail"}
                self.assertEqual(names, expected)
            elif place != (MessageType.QUERY_STATUS, "A task's view"):
                self.assertEqual(self.fields(*place) - names, set(), f"never seen: {place}")

    def test_views(self):
        self.live()
        place = (MessageType.QUERY_STATUS, "A task's view")
        self.assertEqual(self.fields(*place) - self.seen[place], set())

    def test_events(self):
        self.live()
        self.world.pass_time(1)
        outcome, notice = re.findall(
            r"^\*\*Events? .*?\n\n(.*?)\n\n", page.TEXT, re.MULTILINE | re.DOTALL
        )
        sent = [e for k, h in self.peer.received if k is EVENT for e in h["events"]]
        self.assertEqual({e["event"] for e in sent}, {"outcome", "lease_lost", "cancel"})
        names = {"outcome": set(), "notice": set()}
        for event in sent:
            names["outcome" if event["event"] == "outcome" else "notice"].update(event)
        for table, found in ((outcome, names["outcome"]), (notice, names["notice"])):
            self.assertEqual(set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)), found)

    def test_counters_are_named(self):
        """Whatever GET_STATS counts, and the limits that HELLO names."""
        _, stats = self.peer.ask(MessageType.GET_STATS)
        for word in (*stats["stats"]["totals"], *stats["stats"]["states"]):
            self.assertIn(f"`{word}`", page.TEXT)
        for name in self.peer.received[0][1]["limits"]:
            self.assertIn(f"`{name}`", page.TEXT)
