"""Tasks and queues that came in by the doors of other protocols, on the command line."""

from __future__ import annotations

from typing import Any

from taskqueue.frontends.admission import Admission
from taskqueue.frontends.beanstalkd import BeanstalkdDoor
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.faktory import FaktoryDoor
from tests.cli.visiting import VisitCase
from tests.client.broker import flow
from tests.frontends.beanstalkd.talking import Client as Beanstalkd
from tests.frontends.faktory.clients import Client as Faktory

#: A tube that no native client could submit to.
ODD = f"+;$()/.-_{'x' * 191}"


class OtherDoorsTests(VisitCase):
    async def say(self, client: Any, *said: bytes) -> bytes:
        """What a client of beanstalkd hears."""
        client.say(b"".join(line + b"\r\n" for line in said))
        heard: list[bytes] = []

        def has_heard() -> bool:
            heard.append(client.hear())
            return b"".join(heard).endswith(b"\r\n")

        await self.until(has_heard)
        return b"".join(heard)

    async def jobs(self, *said: bytes) -> Beanstalkd:
        door = BeanstalkdDoor(self.broker)
        client = Beanstalkd(BrokerFactory(self.broker, Admission(), "beanstalkd", door.connect))
        self.addCleanup(client.go)
        await self.say(client, *said)
        return client

    async def done(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        self.assertEqual(await self.run_command(*arguments), 0, self.said())
        return self.printed()

    @flow
    async def test_a_queue_that_native_clients_cannot_name(self) -> None:
        client = await self.jobs(b"use " + ODD.encode(), b"put 4294967295 0 60 3", b"\x00\xff\n")
        self.assertIn(ODD[:10], await self.done("queues"))
        self.assertIn("-4294967040", await self.done("list", "--queue", ODD))
        self.assertIn("is paused", await self.done("queues", "pause", ODD))
        told = await self.say(client, b"stats-tube " + ODD.encode())
        self.assertIn(b"cmd-pause-tube: 0\n", told)
        self.assertIn("is resumed", await self.done("queues", "resume", ODD))
        self.assertIn("takes no tasks", await self.done("queues", "drain", ODD))
        self.assertIn("no bound of its own", await self.done("queues", "bound", ODD, "none"))
        self.assertIn("1", await self.done("queue-depth", ODD))
        await self.say(client, b"watch " + ODD.encode())
        await self.say(client, b"reserve")
        self.assertEqual(await self.say(client, b"bury 1 5"), b"BURIED\r\n")
        self.assertIn(
            "buried by its holder", await self.done("dead-letters", "list", "--queue", ODD)
        )
        self.assertEqual(
            await self.done("queues", "retry", ODD), f"1 dead letters of queue {ODD} run again.\n"
        )
        await self.done("purge", ODD, "--yes")
        [queue] = await (await self.connect()).queues()
        self.assertEqual((queue["name"], queue["depth"]), (ODD, 0))

    @flow
    async def test_a_job_with_the_least_priority(self) -> None:
        await self.jobs(b"put 4294967295 0 60 3", b"\x00\xff\n")
        [task] = (await (await self.connect()).list_tasks())[0]
        self.assertIn("-4294967040", await self.done("status", task["id"]))

    @flow
    async def test_a_worker_of_faktory(self) -> None:
        door = FaktoryDoor(self.broker)
        client = Faktory(BrokerFactory(self.broker, Admission(), "faktory", door.connect))
        self.addCleanup(client.go)
        client.say("HELLO", {"v": 2, "wid": "w-1", "hostname": "host", "pid": 7, "labels": []})
        await self.until(lambda: self.broker.broker.ledger.workers.find("w-1") is not None)
        job = {"jid": "0123456789abcdef", "jobtype": "SendMail", "args": [1], "queue": "mail"}
        client.say("PUSH", job)
        client.say("FETCH", "mail")
        await self.until(lambda: len(self.broker.broker.ledger.leases) == 1)
        shown = await self.done("workers")
        self.assertIn("w-1", shown)
        self.assertIn("mail", shown)
        self.assertIn("SendMail", await self.done("list", "--queue", "mail"))
