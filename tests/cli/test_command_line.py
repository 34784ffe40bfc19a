"""What the command makes of its arguments, without a broker."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import __version__
from taskqueue.cli import setting as setting_module
from taskqueue.cli import working as working_module
from taskqueue.cli.main import cli
from taskqueue.cli.tasks import read_headers, read_payload

EVERY_COMMAND = (
    *("submit", "status", "list", "cancel", "retry", "run-now", "purge", "queues"),
    "queue-depth",
    *(
        "workers",
        "dead-letters",
        "periodic",
        "stats",
        "tail",
        "top",
        "bench-ping",
        "config-check",
        "worker",
    ),
    *("keys", "users", "certificates"),
    *("completion", "version"),
)


class Arguments(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"PATH": os.environ.get("PATH", "")})
        self.ran = 0

        def run(main: object) -> int:
            self.ran += 1
            return 0

        for module in (working_module, setting_module):
            self.patch(module, "run", run)
            self.patch(module, "log_to", lambda *arguments: None)

    def invoke(self, *arguments: str, status: int = 0, **environ: str) -> str:
        result = CliRunner().invoke(cli, arguments, env=environ, prog_name="taskqueue")
        self.assertEqual(result.exit_code, status, result.output)
        return result.output

    def test_version(self) -> None:
        self.assertEqual(self.invoke("version"), f"taskqueue {__version__}\n")
        self.assertIn(__version__, self.invoke("--version"))

    def test_help_names_every_command(self) -> None:
        shown = self.invoke("--help")
        for command in EVERY_COMMAND:
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
            ("stats", "--watch=0"),
            ("stats", "--watch", "often"),
            ("submit", "--from-file", "x", "--wait"),
            ("submit", "--from-file", "x", "--payload", "y"),
            ("submit", "t", "--resume", "x"),
            ("submit", "t", "--unique-for", "3"),
            ("submit", "--from-file", "x", "--unique", "k"),
            ("cancel",),
            ("cancel", "an-id", "--queue", "q"),
            ("cancel", "--state", "completed"),
            ("cancel", "--queue", "q", "--older-than", "soon"),
            ("retry", "--error-matches", "("),
            ("purge",),
            ("purge", "q", "--queue", "q"),
            ("purge", "q", "--state", "pending", "--state", "completed"),
            ("queues", "bound", "q", "-1"),
            ("queues", "bound", "q"),
            ("queues", "nonsense"),
            ("workers", "quiet"),
            ("dead-letters", "delete"),
            ("periodic", "trigger"),
            ("tail", "--state", "pending"),
            ("bench-ping", "--count", "0"),
            ("completion", "tcsh"),
            ("worker", "nocolon"),
            ("worker", "no.such.module:X"),
            ("worker", "os:path", "--concurrency", "0"),
        ):
            self.assertNotIn("Traceback", self.invoke(*arguments, status=2))
        self.assertEqual(self.ran, 0)

    def test_where_the_broker_is(self) -> None:
        seen: list[tuple[str, str]] = []
        self.patch(
            setting_module.Setting,
            "ask",
            lambda setting, command: seen.append((setting.broker, setting.form)),
        )
        self.invoke("stats")
        self.invoke("stats", TASKQUEUE_BROKER="tq://a")
        self.invoke("--broker", "tq://b", "--format", "json", "stats", TASKQUEUE_BROKER="tq://a")
        self.assertEqual(
            seen, [("tq://127.0.0.1:7780", "table"), ("tq://a", "table"), ("tq://b", "json")]
        )

    def test_the_format_stands_before_or_behind_the_command(self) -> None:
        seen: list[str] = []
        self.patch(setting_module.Setting, "ask", lambda setting, _: seen.append(setting.form))
        for command in (
            *(("status", "x"), ("submit", "t"), ("queues",), ("workers",), ("stats",), ("list",)),
            *(("queues", "list"), ("queues", "pause", "q"), ("dead-letters", "list"), ("tail",)),
        ):
            self.invoke(*command, "--format", "yaml")
            self.invoke("--format", "json", *command)
            self.invoke("--format", "json", *command, "--format", "table")
        self.invoke("queues", "--format", "json", "list")
        self.assertEqual(seen, [*["yaml", "json", "table"] * 10, "json"])

    def test_how_often_a_view_is_shown(self) -> None:
        seen: list[float | None] = []
        self.patch(setting_module.Setting, "ask", lambda setting, _: seen.append(setting.watch_s))
        for command in (("stats",), ("queues",), ("queues", "list"), ("workers",), ("list",)):
            self.invoke(*command)
            self.invoke(*command, "--watch")
            self.invoke(*command, "--watch=0.5")
        self.assertEqual(seen, [None, 2.0, 0.5] * 5)

    def test_which_tasks_purge_means(self) -> None:
        seen: list[str] = []
        self.patch(setting_module.Setting, "ask", lambda setting, action: seen.append("asked"))
        for arguments in (("q",), ("--queue", "q"), ("--all",), ("--state", "completed")):
            self.invoke("purge", *arguments)
        self.assertEqual(len(seen), 4)


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
