"""A broker that is started as beanstalkd is: signals, sockets, and what is printed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.foreign.beanstalkd_place import BeanstalkdProcessTestCase
from tests.foreign.beanstalkd_player import Player
from tests.process.children import command, environment, until


class ProcessTests(BeanstalkdProcessTestCase):
    def ask(self, *commands: str) -> list[str]:
        """The answers to commands, on one connection."""
        player = Player(self.port)
        answers: list[str] = []
        player.play("", lambda play: answers.extend(play.ask(text) for text in commands))
        return answers

    def test_drains_on_sigusr1(self) -> None:
        """No more jobs are taken; those that are there are given out."""
        put = "put 0 0 60 1\r\nx\r\n"
        self.assertEqual(self.ask(put), ["INSERTED 1\r\n"])
        self.broker.tell(signal.SIGUSR1)
        until("it drains", lambda: self.ask(put) == ["DRAINING\r\n"])
        reserved, statistics = self.ask("reserve", "stats")
        self.assertEqual(reserved, "RESERVED 1 1\r\nx\r\n")
        self.assertIn("\ndraining: true\n", statistics)

    def test_ends_well(self) -> None:
        self.assertEqual(self.broker.end(), 0)

    def test_a_port_that_is_busy(self) -> None:
        other = self.start("--beanstalkd", "-p", str(self.port))
        self.assertEqual(other.wait(), 1)
        self.assertIn("cannot listen on tcp:", other.log)
        self.assertNotIn("Traceback", other.log)

    def test_wrong_options(self) -> None:
        line = command("twistd", "-n", "--pidfile=", "taskqueue", "--beanstalkd", "-x")
        done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 5)
        self.assertTrue(done.stderr.startswith("taskqueue: unknown flag: -x\n"))

    def test_quiet(self) -> None:
        """It says nothing but what matters, unless asked to."""
        self.broker.end()
        quiet = self.start("--beanstalkd", "-l", f"unix:{self.folder}/quiet.sock")
        until("it listens", (self.folder / "quiet.sock").exists)
        quiet.end()
        self.assertNotIn("#info]", quiet.log)


class UnixSocketTests(BeanstalkdProcessTestCase):
    def setUp(self) -> None:
        super(BeanstalkdProcessTestCase, self).setUp()

    def test_put_and_reserve(self) -> None:
        path = self.folder / "beanstalkd.sock"
        broker = self.start("--beanstalkd", "-V", "-l", f"unix:{path}", "-p", "1")
        until("it listens", path.exists)
        self.assertEqual(path.stat().st_mode & 0o777, 0o660)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            until("one can connect", lambda: client.connect_ex(str(path)) == 0)
            with client.makefile("rb") as answers:
                client.sendall(b"put 0 0 60 1\r\nx\r\nreserve\r\n")
                found = [answers.readline() for _ in range(3)]
        self.assertEqual(found, [b"INSERTED 1\r\n", b"RESERVED 1 1\r\n", b"x\r\n"])
        broker.end()
        self.assertFalse(path.exists())


class KeysTests(BeanstalkdProcessTestCase):
    """A door for beanstalkd's clients beside others, once there are keys."""

    def setUp(self) -> None:
        super(BeanstalkdProcessTestCase, self).setUp()

    def keys(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "taskqueue.cli", "keys", *arguments, "--file", str(self.file)],
            env=environment(),
            capture_output=True,
            check=True,
        )

    @property
    def file(self) -> Path:
        return self.folder / "access.json"

    def test_the_key_of_the_door(self) -> None:
        self.keys("create", "--name", "jobs", "--allow", "submit:mail,claim:mail")
        self.begin(f"--set=access.file={self.file}", "--set=beanstalkd.key=jobs")
        player = Player(self.port)
        player.ask("use mail")
        player.put("job")
        player.ask("watch mail")
        player.ask("reserve")
        player.ask("delete <job>")
        player.ask("use other")
        refused = player.put("other")
        heard = [each.heard for each in player.exchanges]
        player.play("", lambda play: None)
        self.assertEqual(heard[1], "INSERTED <job>\r\n")
        self.assertEqual(heard[3:5], ["RESERVED <job> 1\r\nx\r\n", "DELETED\r\n"])
        self.assertNotIn("INSERTED", refused)

    def test_no_key_of_the_door(self) -> None:
        self.keys("create", "--name", "jobs", "--role", "admin")
        broker = self.begin(f"--set=access.file={self.file}")
        player = Player(self.port)
        answer = player.ask("list-tube-used")
        player.play("", lambda play: None)
        self.assertNotIn("USING", answer)
        broker.said("nobody can come in at the door for beanstalkd")
