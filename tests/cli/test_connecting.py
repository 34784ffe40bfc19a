"""How commands connect: TLS, and the key by which the broker knows who asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import setting as setting_module
from taskqueue.cli import working as working_module
from taskqueue.cli.main import cli
from taskqueue.cli.setting import Setting
from taskqueue.client import TLS
from taskqueue.client.credentials import ApiKey
from tests.client.broker import flow
from tests.client.test_credentials import KnowingCase
from tests.transport.authority import HOST, LOOPBACK

ROOT = Path(__file__).resolve().parents[2]


class OptionTests(SynchronousTestCase):
    def how(self, *arguments: str) -> Any:
        """What a command is told about how to connect."""
        told: list[Any] = []
        self.patch(setting_module, "log_to", lambda *_: None)
        self.patch(Setting, "ask", lambda setting, action: told.append(setting.how))
        result = CliRunner().invoke(cli, [*arguments, "stats"], env={}, prog_name="taskqueue")
        self.output = result.output
        self.assertEqual(result.exit_code, 0, result.output)
        return told[0]

    def test_nothing_said(self) -> None:
        self.assertEqual(self.how(), {})

    def test_tls(self) -> None:
        self.assertEqual(self.how("--tls-ca", "/ca"), {"tls": TLS(ca="/ca")})
        self.assertEqual(
            self.how("--tls-certificate", "/own", "--tls-key", "/key"),
            {"tls": TLS(certificate="/own", key="/key")},
        )
        self.assertEqual(self.output, "")

    def test_the_loud_switch(self) -> None:
        how = self.how("--tls-insecure-accept-any-certificate")
        self.assertEqual(how, {"tls": TLS(insecure_accept_any_certificate=True)})
        self.assertIn("certificates are NOT verified", self.output)

    def test_a_key(self) -> None:
        """In a file; never on the command line."""
        path = self.mktemp()
        Path(path).write_text("tq_secret")
        os.chmod(path, 0o600)
        how = self.how("--api-key-file", path)
        self.assertIsInstance(how["api_key"], ApiKey)
        self.assertEqual(how["api_key"].read(), "tq_secret")
        self.assertNotIn("secret", repr(how))
        os.chmod(path, 0o644)
        result = CliRunner().invoke(cli, ["--api-key-file", path, "stats"])
        self.assertEqual(result.exit_code, 2)
        self.assertIn("chmod 600", result.output)
        options = CliRunner().invoke(cli, ["--help"]).output
        self.assertNotIn("--api-key ", options)

    def test_a_worker_connects_so_too(self) -> None:
        orders: list[Any] = []
        self.patch(working_module, "log_to", lambda *_: None)
        self.patch(working_module, "carry_out", lambda order: orders.append(order) or 0)
        CliRunner().invoke(cli, ["--tls-ca", "/ca", "worker", "examples.census.handlers:HANDLERS"])
        self.assertEqual([order.client for order in orders], [{"tls": TLS(ca="/ca")}])


class ProcessTests(KnowingCase):
    """Whole commands, with a broker that has a certificate and wants a key."""

    def run_command(self, *arguments: str, **environ: str) -> Any:
        return deferToThread(
            subprocess.run,
            [sys.executable, "-m", "taskqueue.cli", "--timeout", "10", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", ""), **environ},
            capture_output=True,
            check=False,
            text=True,
        )

    @flow
    async def test_a_command(self) -> None:
        key = self.add_key("read")
        self.start(framed=(f"tls:port=0:interface={LOOPBACK}",), tls_certificate=self.files.issue())
        ca = os.path.abspath(self.files.ca)
        address = self.address().replace("tq://127.0.0.1", f"tqs://{HOST}")
        known = {"TASKQUEUE_API_KEY": key, "TASKQUEUE_BROKER": address}
        done = await self.run_command("--tls-ca", ca, "queues", **known)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = await self.run_command("queues", TASKQUEUE_TLS_CA=ca, **known)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = await self.run_command("queues", **known)
        self.assertIn("authority that this client does not", done.stderr)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (3, 1))
        done = await self.run_command("--broker", address, "--tls-ca", ca, "queues")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (3, 1), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
