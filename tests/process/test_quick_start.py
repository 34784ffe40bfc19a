"""
The README's quick start, typed into a shell as a newcomer would.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process.children import PATIENCE_S, ROOT, ProcessTestCase, environment, until

#: The only line that is not typed: everything is installed where the tests run.
INSTALL = "python3 -m venv venv && . venv/bin/activate && pip install ."

#: Follows every command, so that the end of what it prints is seen.
END = "-- end --"


def quick_start(text: str) -> Iterator[tuple[str, str]]:
    """The commands in the section, each with what it is said to print."""
    section = text.partition("## Quick start\n")[2].partition("\n## ")[0]
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", section):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, printed = part.partition("\n")
            here = re.search(r"<<'(\w+)'$", command)
            if here is not None:
                body, _, printed = printed.partition(f"\n{here[1]}\n")
                command = f"{command}\n{body}\n{here[1]}"
            yield command, printed


class Shell:
    """A shell into which commands are typed."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.log = folder / "shell.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                # With jobs, as a person's shell has.
                ["bash", "--norc", "-m"],
                cwd=folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def type(self, command: str) -> str:
        """Type a command; return what is printed until it has ended."""
        assert self.process.stdin is not None
        before = len(self.said)
        self.process.stdin.write(f"{command}\necho '{END}' $?\n".encode())
        self.process.stdin.flush()
        until(f"{command} ends", lambda: END in self.said[before:], 3 * PATIENCE_S)
        return self.said[before:]

    def leave(self) -> int:
        """End the session; return the shell's exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)


class ReadingTests(SynchronousTestCase):
    def test_what_is_a_command(self) -> None:
        text = "## Quick start\n```console\n$ a\n1\n2\n$ cat <<'EOF'\nx\nEOF\n$ b\n```\n## More\n"
        text += "```console\n$ c\n```\n"
        found = [("a", "1\n2\n"), ("cat <<'EOF'\nx\nEOF", ""), ("b", "")]
        self.assertEqual(list(quick_start(text)), found)


class QuickStartTests(ProcessTestCase):
    def ports(self) -> list[int]:
        """Two that are free, for the broker and its web pages."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        numbers = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        return numbers

    def open_shell(self) -> Shell:
        broker, web = self.ports()
        binaries = self.folder / "bin"
        binaries.mkdir()
        for name, run in (
            ("twistd", "from twisted.scripts.twistd import run; run()"),
            ("taskqueue", "from taskqueue.cli.main import main; main()"),
        ):
            script = binaries / name
            script.write_text(f"#!{sys.executable}\n{run}\n")
            script.chmod(0o755)
        path = os.pathsep.join([str(binaries), os.path.dirname(sys.executable), os.environ["PATH"]])
        shell = Shell(
            self.folder,
            environment(
                PATH=path,
                TASKQUEUE_BROKER=f"tq://127.0.0.1:{broker}",
                TASKQUEUE_LISTEN_FRAMED=f"tcp:{broker}:interface=127.0.0.1",
                TASKQUEUE_HTTP_LISTEN=f"tcp:{web}:interface=127.0.0.1",
            ),
        )
        self.addCleanup(self.end, shell)
        return shell

    def end(self, shell: Shell) -> None:
        """Let nothing remain of it, whatever has gone wrong."""
        pid = self.folder / "twistd.pid"
        if pid.exists():
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            if shell.process.poll() is None:
                shell.type("kill %1")
        shell.process.kill()
        shell.process.wait()

    def test_every_step(self) -> None:
        steps = list(quick_start((ROOT / "README.md").read_text()))
        self.assertEqual(steps.pop(0), (INSTALL, ""))
        self.assertGreaterEqual(len(steps), 7)
        shell = self.open_shell()
        for command, printed in steps:
            said = shell.type(command)
            self.assertIn(f"{END} 0\n", said, f"$ {command}\n{said}")
            for line in printed.splitlines():
                self.assertIn(line, said, f"$ {command}")
            if command == "kill %1":
                self.assertIn(f"{END} 0\n", shell.type("wait %1"))  # a person takes longer
        pid = self.folder / "twistd.pid"
        until("the broker has gone", lambda: not pid.exists())
        self.assertNotIn("Traceback", shell.said)
        self.assertEqual(shell.leave(), 0)
        self.assertIn("stopped", (self.folder / "twistd.log").read_text())
