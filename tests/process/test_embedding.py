"""The broker within an application of somebody else, on the reactor that it chose."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

from tests.process.children import PATIENCE_S, ProcessTestCase, environment, until
from tests.process.peer import Peer

REACTORS = ("default", "select", "asyncio")

_CHOICE = """
import signal, sys
if sys.argv[1] == "asyncio":
    from twisted.internet import asyncioreactor
    asyncioreactor.install()
elif sys.argv[1] == "select":
    from twisted.internet import selectreactor
    selectreactor.install()
from twisted.internet import reactor
"""

#: An application that uses the service itself: no network, no application object.
_DIRECTLY = (
    _CHOICE
    + """
from dataclasses import replace
from twisted.internet.task import react
from twisted.internet.defer import ensureDeferred
from taskqueue.config import Config, StoreConfig
from taskqueue.core.delivery import Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.leases import Holder
from taskqueue.core.task import State
from taskqueue.service import TaskQueueService

async def main(reactor):
    before = reactor.seconds, signal.getsignal(signal.SIGHUP), sys.getswitchinterval()
    service = TaskQueueService(Config(store=StoreConfig(path="data")), reactor)
    service.startService()
    waiting = service.claim(Holder("me"), wait_s=20)
    (accepted,) = await service.submit([Submission("greet", b"world")])
    (delivery,) = await waiting
    outcome = Outcome(delivery.id, delivery.lease, State.COMPLETED, b"hello " + delivery.payload)
    await service.report([outcome])
    (row,) = await service.status([accepted.id])
    await service.stopService()
    after = reactor.seconds, signal.getsignal(signal.SIGHUP), sys.getswitchinterval()
    print(type(reactor).__name__, State(row.state).word, row.result, before == after)

react(lambda reactor: ensureDeferred(main(reactor)))
"""
)

#: An application that offers the broker's protocols too.
_WITH_NETWORK = (
    _CHOICE
    + """
from twisted.application.service import MultiService
from taskqueue.application import build
from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig

config = Config(
    store=StoreConfig(path="data"),
    listen=ListenConfig(framed=("tcp:0:interface=127.0.0.1",)),
    http=HttpConfig(listen=()),
)
mine = MultiService()
build(config, reactor).setServiceParent(mine)

def up():
    mine.startService()
    service = mine.getServiceNamed("taskqueue")
    ports = [child.port for child in service if getattr(child, "port", None)]
    print(f"port {ports[0].getHost().port}.", flush=True)

reactor.callWhenRunning(up)
reactor.addSystemEventTrigger("before", "shutdown", mine.stopService)
reactor.run()
"""
)

#: What C{twistd -y} runs.
_TAC = """
from twisted.application.service import Application
from twisted.internet import reactor
from taskqueue.application import build
from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig

application = Application("mine")
build(
    Config(
        store=StoreConfig(path="data"),
        listen=ListenConfig(framed=("tcp:0:interface=127.0.0.1",)),
        http=HttpConfig(listen=()),
    ),
    reactor,
).setServiceParent(application)
"""


class Embedding(ProcessTestCase):
    """Plain scripts."""

    def run_script(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a program that speaks to a file."""
        path = self.folder / "out"
        with open(path, "w") as out:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def said(self) -> str:
        return (self.folder / "out").read_text()

    def port(self) -> int:
        pattern = re.compile(r"port[ =](\d+)[.)]")
        return int(until("the port is told", lambda: pattern.search(self.said()))[1])

    def test_directly(self) -> None:
        for name in REACTORS:
            child = self.run_script("-c", _DIRECTLY, name)
            self.assertEqual(child.wait(PATIENCE_S), 0, self.said())
            self.assertTrue(self.said().endswith("completed b'hello world' True\n"), self.said())
            if name == "asyncio":
                self.assertTrue(self.said().startswith("AsyncioSelectorReactor"))

    def test_with_network(self) -> None:
        for name in REACTORS:
            child = self.run_script("-c", _WITH_NETWORK, name)
            self.work_and_stop(child)
            self.assertEqual(child.wait(PATIENCE_S), 0, self.said())
            self.assertNotIn("Traceback", self.said())

    def test_application_of_twistd(self) -> None:
        """Its C{twistd} ends as it does with any application."""
        (self.folder / "mine.tac").write_text(_TAC)
        run = "from twisted.scripts.twistd import run; run()"
        child = self.run_script("-c", run, "-n", "--pidfile=", "-y", "mine.tac")
        self.work_and_stop(child)
        self.assertEqual(child.wait(PATIENCE_S), -signal.SIGTERM, self.said())
        self.assertNotIn("Traceback", self.said())

    def work_and_stop(self, child: subprocess.Popen[str]) -> None:
        """Let a task through, over the network, then stop the application."""
        with Peer(self.port()) as peer:
            (task_id,) = peer.submit({"type": "t", "payload": b"p"})
            (task,) = peer.claim(wait_s=5)
            self.assertEqual((task["id"], task["payload"]), (task_id, b"p"))
            self.assertEqual(peer.complete(task), "completed")
            os.kill(child.pid, signal.SIGTERM)
