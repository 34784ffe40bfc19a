"""What the command makes of its arguments, without a broker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import __version__
from taskqueue.cli import main as main_module
from taskqueue.cli.main import cli
from taskqueue.cli.tasks import read_headers, read_payload
from taskqueue.cli.working import load_handlers
from taskqueue.errors import BadRequest


class Arguments(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"PATH": os.environ.get("PATH", "")})
        self.ran = 0

        def run(main: object) -> int:
            self.ran += 1
            return 0

        self.patch(main_module, "run", run)
        self.patch(main_module, "log_to", lambda *arguments: None)

    def invoke(self, *arguments: str, status: int = 0, **environ: str) -> str:
        result = CliRunner().invoke(cli, arguments, env=environ, prog_name="taskqueue")
        self.assertEqual(result.exit_code, status, result.output)
        return result.output

    def test_version(self) -> None:
        self.assertEqual(self.invoke("version"), f"taskqueue {__version__}\n")
        self.assertIn(__version__, self.invoke("--version"))

    def test_help_names_every_command(self) -> None:
        shown = self.invoke("--help")
        for command in ("submit", "status", "stats", "workers", "queues", "worker", "version"):
            self.assertRegex(shown, rf"(?m)^  {command} ")
            self.assertIn("Usage: taskqueue", self.invoke(command, "--help"))

    def test_what_is_wrong_is_status_2(self) -> None:
        for arguments in (
            ("nonsense",),
            ("submit",),
            ("status",),
            ("submit", "t", "--priority", "256"),
            ("submit", "t", "--run-in", "-1"),
            ("submit", "t", "--header", "novalue"),
            ("submit", "t", "--payload", "@/no/such/file"),
            ("--format", "xml", "stats"),
            ("--timeout", "0", "stats"),
            ("worker", "nocolon"),
            ("worker", "no.such.module:X"),
            ("worker", "os:path", "--concurrency", "0"),
        ):
            self.assertNotIn("Traceback", self.invoke(*arguments, status=2))
        self.assertEqual(self.ran, 0)

    def test_where_the_broker_is(self) -> None:
        seen: list[tuple[str, bool]] = []
        self.patch(
            main_module.Setting,
            "ask",
            lambda setting, command: seen.append((setting.broker, setting.as_json)),
        )
        self.invoke("stats")
        self.invoke("stats", TASKQUEUE_BROKER="tq://a")
        self.invoke("--broker", "tq://b", "--format", "json", "stats", TASKQUEUE_BROKER="tq://a")
        self.assertEqual(
            seen, [("tq://127.0.0.1:7780", False), ("tq://a", False), ("tq://b", True)]
        )

    def test_the_format_stands_before_or_behind_the_command(self) -> None:
        seen: list[bool] = []
        self.patch(main_module.Setting, "ask", lambda setting, _: seen.append(setting.as_json))
        for command in (("status", "x"), ("submit", "t"), ("queues",), ("workers",), ("stats",)):
            self.invoke(*command, "--format", "json")
            self.invoke("--format", "json", *command)
            self.invoke("--format", "json", *command, "--format", "table")
        self.assertEqual(seen, [True, True, False] * 5)


class Reading(SynchronousTestCase):
    def test_payloads(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"\x00file")
        self.assertEqual(read_payload("Öl"), "Öl".encode())
        self.assertEqual(read_payload(f"@{path}"), b"\x00file")
        self.assertRaises(click.BadParameter, read_payload, "@/no/such/file")

    def test_headers(self) -> None:
        self.assertEqual(read_headers(["a=b", "c=d=e"]), {"a": "b", "c": "d=e"})
        self.assertRaises(click.BadParameter, read_headers, ["a"])


class Handlers(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        self.patch(sys, "path", list(sys.path))
        self.patch(sys, "modules", dict(sys.modules))
        os.chdir(folder)

    def write(self, name: str, text: str) -> None:
        Path(f"{name}.py").write_text(text)

    def refusal(self, named: str) -> str:
        return str(self.assertRaises(BadRequest, load_handlers, named))

    def test_from_the_working_directory(self) -> None:
        self.write("mine_a", "class Box:\n    HANDLERS = {'t': print}\nHANDLERS = {'u': len}\n")
        self.assertEqual(load_handlers("mine_a:HANDLERS"), {"u": len})
        self.assertEqual(load_handlers("mine_a:Box.HANDLERS"), {"t": print})

    def test_refusals(self) -> None:
        self.write("mine_b", "HANDLERS = {'t': 3}\nEMPTY = {}\n")
        self.write("mine_c", "1 / 0\n")
        self.assertIn("MODULE:NAME", self.refusal("mine_b"))
        self.assertIn("has no OTHER", self.refusal("mine_b:OTHER"))
        self.assertIn("must be a function", self.refusal("mine_b:HANDLERS"))
        self.assertIn("not empty", self.refusal("mine_b:EMPTY"))
        self.assertIn("ZeroDivisionError", self.refusal("mine_c:HANDLERS"))
        self.assertIn("cannot import", self.refusal("no_such_module:HANDLERS"))
