"""
Commands on a real broker in this process, and what they print.
"""

from __future__ import annotations

import json
import sys
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from taskqueue.cli import setting as setting_module
from taskqueue.cli.main import cli
from taskqueue.cli.output import Output
from taskqueue.cli.running import Visit
from taskqueue.cli.watching import show
from taskqueue.client import Client
from tests.client.broker import BrokerCase


class VisitCase(BrokerCase):
    """Has a broker, and catches what is printed."""

    def setUp(self) -> None:
        super().setUp()
        self.raw, self.err = BytesIO(), StringIO()
        self.out = TextIOWrapper(self.raw, encoding="utf-8")
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    async def visit(self, form: str = "table") -> Visit:
        return Visit(await self.connect(), Output(form), reactor)

    def printed(self) -> str:
        """What was printed since the last time."""
        self.out.flush()
        text = self.raw.getvalue().decode()
        self.raw.truncate(0)
        self.raw.seek(0)
        return text

    def said(self) -> str:
        """What was complained of since the last time."""
        text = self.err.getvalue()
        self.err.truncate(0)
        self.err.seek(0)
        return text

    def printed_json(self) -> Any:
        return json.loads(self.printed())

    def run_command(self, *arguments: str) -> Any:
        """Run a command against this broker; it is given the reactor that runs."""
        results: list[Any] = []

        def run(main: Any) -> int:
            results.append(Deferred.fromCoroutine(main(reactor)))
            return 0

        self.patch(setting_module, "run", run)
        self.patch(setting_module, "log_to", lambda *_: None)
        self.patch(setting_module, "Output", lambda form: output)
        output = Output("table")
        found = CliRunner().invoke(cli, ["--broker", self.address(), *arguments])
        self.assertEqual((found.exit_code, found.output), (0, ""))
        (result,) = results
        return result

    def showing(self, visit: Visit, view: Any, form: str) -> Deferred[int]:
        """Show a view once."""
        return Deferred.fromCoroutine(show(visit._replace(out=Output(form)), view))

    async def dead_letter(self, client: Client, error: str = "ValueError: no", **how: Any) -> str:
        """Have a task fail for good; returns its id."""
        task = str(await client.submit(how.pop("type", "t"), **how))
        (delivery,) = await client.claim([how.get("queue", "default")], wait_s=5)
        await client.fail(delivery.holding, error, permanent=True)
        return task
