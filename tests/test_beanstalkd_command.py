"""The command that listens before it imports what takes its time."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

from tests.process.children import Child, ProcessTestCase, environment

#: What the tests of brokers give C{twistd} is none of it.
SCRIPT = "import sys; del sys.argv[1:4]; from taskqueue.beanstalkd import main; main()"

LOOK = """
import os, socket, sys
from taskqueue import beanstalkd
done = beanstalkd.listen_early(sys.argv[1:])
slow = sorted({"twisted", "configobj", "msgspec"} & sys.modules.keys())
handed = os.environ.get("LISTEN_FDS"), os.environ.get("LISTEN_PID") == str(os.getpid())
where = socket.socket(fileno=3).getsockname() if done else None
print(done, slow, handed, where)
"""


class CommandTests(ProcessTestCase):
    arguments = ()

    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    def look(self, *arguments: str) -> str:
        """What comes of listening early."""
        line = [sys.executable, "-c", LOOK, *arguments]
        done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def begin(self, *arguments: str) -> Child:
        """Run the command."""
        return self.start(*arguments, script=SCRIPT)

    def test_it_listens_before_anything_slow_is_imported(self) -> None:
        port = self.free_port()
        found = self.look("-p", str(port))
        self.assertEqual(found, f"True [] ('1', True) ('127.0.0.1', {port})")

    def test_where_it_does_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = str(busy.getsockname()[1])
            for arguments in (("-p", port), ("-h",), ("-x",), ("-l", "unix:/a"), ("--http", "")):
                self.assertTrue(self.look(*arguments).startswith("False [] (None, False)"))

    def test_jobs(self) -> None:
        """Who connects at once, long before the broker has started, is served."""
        port = self.free_port()
        child = self.begin("-p", str(port))
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(30)
        while client.connect_ex(("127.0.0.1", port)):
            self.assertIsNone(child.process.poll(), child.log)
        client.sendall(b"put 0 0 60 1\r\nx\r\nreserve\r\n")
        with client.makefile("rb") as answers:
            found = [answers.readline() for _ in range(3)]
        self.assertEqual(found, [b"INSERTED 1\r\n", b"RESERVED 1 1\r\n", b"x\r\n"])
        self.assertEqual(child.end(signal.SIGTERM), 0)

    def test_what_is_wrong_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as busy:
            child = self.begin("-p", str(busy.getsockname()[1]))
            self.assertEqual(child.wait(), 1)
            self.assertIn("cannot listen on tcp:", child.log)
        child = self.begin("-x")
        self.assertEqual(child.wait(), 5)
        self.assertIn("taskqueue: unknown flag: -x", child.log)
