"""The whole broker over real sockets."""

import resource
import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.threads import deferToThread

from taskqueue import strictjson
from taskqueue.application import build
from taskqueue.config import StoreConfig
from taskqueue.config.endpoints import parse_endpoint
from taskqueue.core.audit import audit
from taskqueue.errors import TaskQueueError
from taskqueue.process import listen_early
from taskqueue.wire import MessageType, decode
from tests.frontends.talking import ANY_PORT, LOOPBACK, BrokerTestCase

MANY = 1000


class ApplicationTests(BrokerTestCase):
    def test_both_languages(self):
        """What one submits in frames, another claims in lines."""
        broker = self.start(lines=(ANY_PORT,))

        async def play():
            talker = await self.connect(broker)
            hello = await talker.ask(MessageType.HELLO, client="test")
            self.assertEqual((hello["version"], hello["durability"]), (1, "fsync"))
            tasks = [{"type": "job", "payload": b"\xe2\x82\xac"}]
            await talker.ask(MessageType.SUBMIT_TASK, tasks=tasks, watch=True)
            answer = await self.say_and_read_all(
                broker, b'{"op": "claim", "id": 1}\n', 1, half_close=True
            )
            [task] = strictjson.loads_object(answer)["tasks"]
            self.assertEqual(task["payload"], "\u20ac")
            stats = (await talker.ask(MessageType.GET_STATS))["stats"]
            self.assertEqual((stats["connections"], stats["totals"]["claimed"]), (1, 1))
            self.assertEqual(audit(broker.broker.ledger), [])

        return Deferred.fromCoroutine(play())

    def test_a_socket_that_listens_before_the_broker_does(self):
        """Who has connected, and asked, is answered as soon as the broker has started."""
        early = listen_early(parse_endpoint(ANY_PORT))
        with socket.create_connection(early.getsockname(), timeout=30) as client:
            client.sendall(b'{"op": "ping", "id": 1}\n')
            client.shutdown(socket.SHUT_WR)
            config = self.config(framed=(), lines=(ANY_PORT,))
            broker = build(config, reactor, {ANY_PORT: early})
            broker.startService()
            self.addCleanup(broker.stopService)
            waiting = client.dup()

        def read():
            with waiting, waiting.makefile("rb") as answers:
                self.assertEqual(strictjson.loads_object(answers.readline())["id"], 1)

        return deferToThread(read)

    def test_restart(self):
        """What was accepted is there after a restart, the lease of a worker too."""
        store = StoreConfig(path=self.mktemp())
        first = self.start(store=store)
        worker = {"worker": "w", "incarnation": 1}

        async def play():
            talker = await self.connect(first)
            await talker.ask(MessageType.HELLO)
            await talker.ask(MessageType.REGISTER_WORKER, **worker)
            await talker.ask(
                MessageType.SUBMIT_TASK,
                tasks=[{"type": "job", "payload": b"\x00one"}, {"type": "job"}],
            )
            [task] = (await talker.ask(MessageType.CLAIM_TASK))["tasks"]
            await first.stopService()
            await talker.gone
            second = self.start(store=store)
            talker = await self.connect(second)
            await talker.ask(MessageType.HELLO)
            registered = await talker.ask(MessageType.REGISTER_WORKER, **worker)
            held = {"task": task["id"], "lease": task["lease"]}
            self.assertEqual(registered["leases"], [held])
            answer = await talker.ask(
                MessageType.TASK_RESULT, results=[{**held, "status": "completed", "result": b"r"}]
            )
            self.assertEqual(answer["states"], ["completed"])
            [other] = (await talker.ask(MessageType.CLAIM_TASK))["tasks"]
            self.assertGreater(other["lease"], task["lease"])

        return Deferred.fromCoroutine(play())

    def test_start_that_fails_leaves_nothing(self):
        """The second endpoint is busy: the first one is free again, and the store too."""
        store = StoreConfig(path=self.mktemp())
        with socket.socket() as busy, socket.socket() as probe:
            busy.bind((LOOPBACK, 0))
            busy.listen()
            taken = f"tcp:{busy.getsockname()[1]}:interface={LOOPBACK}"
            broker = build(self.config(framed=(ANY_PORT, taken), store=store), reactor)
            error = self.assertRaises(TaskQueueError, broker.startService)
            self.assertIn(taken, str(error))
            self.assertIn("in use", str(error))
            self.assertEqual(len(str(error).splitlines()), 1)
            [first, second] = [child for child in broker if hasattr(child, "port")]
            self.assertEqual((first.port, second.port), (None, None))
            probe.close()
        self.start(store=store)

    def test_a_thousand_connections_at_once(self):
        """Each submits a task and claims one, and all tasks are claimed once."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 2 * MANY + 200:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * MANY), hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        broker = self.start(framed=(f"tcp:0:backlog={MANY}:interface={LOOPBACK}",))
        endpoint = TCP4ClientEndpoint(reactor, LOOPBACK, self.address(broker).port)

        async def work(number):
            talker = await self.connect_to(endpoint)
            await talker.ask(MessageType.HELLO)
            talker.say(MessageType.CLAIM_TASK, id="claim", wait_s=30)
            tasks = [{"type": "job", "payload": b"%d" % number}]
            talker.say(MessageType.SUBMIT_TASK, id="submit", tasks=tasks)
            answers = [(await talker.hear())[1] for _ in range(2)]
            claimed = {answer["id"]: answer["tasks"] for answer in answers}["claim"]
            return claimed[0]["payload"]

        async def play():
            payloads = await gatherResults(
                [Deferred.fromCoroutine(work(number)) for number in range(MANY)]
            )
            self.assertEqual(broker.traffic.open, {"framed": MANY})
            self.assertEqual(sorted(map(int, payloads)), list(range(MANY)))
            self.assertEqual(len(broker.broker.ledger.leases), MANY)
            await self.hang_up()
            one_more = await self.connect(broker)
            await one_more.ask(MessageType.HELLO)
            await self.hang_up()
            while broker.traffic.open.total():
                pause = Deferred()
                reactor.callLater(0.01, pause.callback, None)
                await pause
            self.assertEqual(len(broker.broker.ledger.leases), 0)
            self.assertEqual(audit(broker.broker.ledger), [])

        return Deferred.fromCoroutine(play())

    def test_one_too_many_is_told_although_it_still_sends(self):
        broker = self.start(max_connections=0)

        async def play():
            heard = await self.say_and_read_all(broker, bytes(3_000_000), half_close=True)
            message_type, header = decode(heard[4:])
            self.assertEqual(message_type, MessageType.NACK)
            self.assertEqual(header["code"], "TOO_MANY_CONNECTIONS")

        return Deferred.fromCoroutine(play())

    def test_peer_that_does_not_read_is_cut_off(self):
        """It watches a queue whose results are large, and reads none of them."""
        broker = self.start(max_outbound_bytes=3_000_000, store=StoreConfig(kind="memory"))

        async def play():
            sleeper = await self.connect(broker)
            await sleeper.ask(MessageType.HELLO)
            await sleeper.ask(MessageType.WATCH, queues=["default"])
            sleeper.transport.pauseProducing()
            talker = await self.connect(broker)
            await talker.ask(MessageType.HELLO)
            for _ in range(40):
                await talker.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "job"}])
                [task] = (await talker.ask(MessageType.CLAIM_TASK))["tasks"]
                done = {"task": task["id"], "lease": task["lease"], "status": "completed"}
                await talker.ask(
                    MessageType.TASK_RESULT, results=[{**done, "result": bytes(1_000_000)}]
                )
                if broker.traffic.refused:
                    break
            await talker.ask(MessageType.PING)  # the transport is gone in the next turn
            self.assertEqual(broker.traffic.refused, {"SLOW_READER": 1})
            self.assertEqual(broker.traffic.open, {"framed": 1})
            self.assertEqual(len(broker.watches._by_queue), 0)

        return Deferred.fromCoroutine(play())
