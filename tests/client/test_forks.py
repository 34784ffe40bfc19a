"""
Programs that fork while they use clients.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client.lifetimes import disown
from tests.contrib.programs import FrameworkTestCase
from tests.process.children import ROOT, environment

#: Of the program that forks.  Many more, by hand: C{python -m tests.client.forking}.
CHILDREN = 20


class ForkTests(FrameworkTestCase):
    def said(self, *arguments: str) -> str:
        """What a program prints; its errors fail the test."""
        ended = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", *arguments],
            cwd=ROOT,
            env=environment(BROKER=self.address, NAME=self.name),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(ended.stderr, "")
        self.assertEqual(ended.returncode, 0)
        return ended.stdout

    def test_threads_ask_while_it_forks(self) -> None:
        """
        By name, as hosts usually are: that is looked up in one more thread.  Every child ends,
        and no task is lost or there twice.
        """
        address = self.address.replace("127.0.0.1", "localhost")
        said = self.said("-m", "tests.client.forking", address, self.name, str(CHILDREN))
        self.assertEqual(self.client.queue(self.name)["states"]["pending"], int(said))

    def test_locks_that_are_held(self) -> None:
        """By other threads, which are not in the child to let them go."""
        said = self.said(
            "-c",
            "import faulthandler, os, threading\n"
            "from taskqueue.contrib.celery import clients\n"
            "from taskqueue.contrib.django import connections\n"
            "from tests.client.forking import Asking\n"
            "asking = Asking(os.environ['BROKER'], os.environ['NAME'])\n"
            "for way in asking.ways(): way()\n"
            "locks = [asking.client._lock, asking.connecting._lock, asking.direct._lock,\n"
            "    asking.client._inner[0]._lock, clients._lock, connections._lock]\n"
            "held = threading.Thread(target=lambda: [lock.acquire() for lock in locks])\n"
            "held.start(); held.join()\n"
            "if pid := os.fork():\n"
            "    print(os.waitpid(pid, 0)[1])\n"
            "    os._exit(0)  # whatever closes clients waits for the locks here\n"
            "faulthandler.dump_traceback_later(10, exit=True)\n"
            "for way in asking.ways(): way()\n"
            "with connections._lock: os._exit(0)\n",
        )
        self.assertEqual(said, "0\n")

    def test_child_cannot_tear_down_the_loop_of_its_parent(self) -> None:
        said = self.said(
            "-c",
            "import os, sys\n"
            "from taskqueue.client.blocking import BlockingClient\n"
            "client = BlockingClient(os.environ['BROKER'])\n"
            "client.ping()\n"
            "loop = client._inner[0]._loop\n"
            "if not (pid := os.fork()):\n"
            "    loop._thread_id = None  # as if it were not running\n"
            "    loop.close()\n"
            "    sys.exit()\n"
            "os.waitpid(pid, 0)\n"
            "client.ping()\n"
            "print('goes on')\n",
        )
        self.assertEqual(said, "goes on\n")

    def test_what_threads_would_import_is_there_before_them(self) -> None:
        """A module that is being imported when the process forks never is in the child."""
        said = self.said(
            "-c",
            "import os, sys\n"
            "from taskqueue.client.blocking import BlockingClient\n"
            "client = BlockingClient(os.environ['BROKER'].replace('127.0.0.1', 'localhost'))\n"
            "before = set(sys.modules)\n"
            "client.submit('t', queue=os.environ['NAME'])\n"
            "(delivery,) = client.claim([os.environ['NAME']])\n"
            "client.complete(delivery.holding)\n"
            "print(sorted(set(sys.modules) - before))\n",
        )
        self.assertEqual(said, "[]\n")


class DisownTests(SynchronousTestCase):
    def test_number_stays_taken(self) -> None:
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        number = one.fileno()
        disown(one)
        self.assertEqual(one.fileno(), number)
        self.assertEqual(other.recv(1), b"")
        self.assertEqual(os.write(number, b"nobody"), 6)

    def test_what_is_closed_is_left_as_it_is(self) -> None:
        """An epoll object has no number then, a socket one below 0."""
        selector, (one, other) = selectors.DefaultSelector(), socket.socketpair()
        for each in (selector, one, other):
            each.close()
            disown(each)
        self.assertEqual(one.fileno(), -1)
