"""
The handbook is true: each alert has its section, and the commands in it run.
"""

from __future__ import annotations

import re
import shlex
import sys
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import setting as setting_module
from taskqueue.cli.exits import OK
from taskqueue.cli.main import cli
from taskqueue.client import Client
from taskqueue.web.metrics import make_registry
from tests.client.broker import BrokerCase, flow
from tests.web.expressions import known_metrics, unknown
from tests.web.scene import full_scene
from tests.web.visitor import Place

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

#: What others have installed, and is not ours to try.
OTHERS = frozenset({"df", "dmesg", "iostat", "ss", "vmstat"})

#: What each section of an alert has to say.
PARTS = ("**It means**", "**Look closer**", "**Do**", "**It ends**")


def commands() -> list[str]:
    """The lines of the examples that a person types."""
    blocks = re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def ours() -> list[list[str]]:
    """The commands that are C{taskqueue}'s, each once, without that word."""
    words = [shlex.split(line) for line in commands()]
    found = [each[1:] for each in words if each[0] == "taskqueue"]
    return [each for number, each in enumerate(found) if each not in found[:number]]


class AlertTests(SynchronousTestCase):
    def test_each_alert_has_its_section_and_no_other_has(self) -> None:
        rules = yaml.safe_load((ROOT / "etc" / "prometheus-alerts.yml").read_text())
        named = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
        self.assertEqual(re.findall(r"^### (Taskqueue\w+)$", TEXT, re.MULTILINE), named)

    def test_each_section_says_what_to_do(self) -> None:
        sections = re.split(r"^##+ ", TEXT, flags=re.MULTILINE)
        for section in (each for each in sections if each.startswith("Taskqueue")):
            places = [section.find(part) for part in PARTS]
            self.assertNotIn(-1, places, section.splitlines()[0])
            self.assertEqual(places, sorted(places))

    def test_expressions_are_about_what_there_is(self) -> None:
        known = known_metrics(make_registry(full_scene().service))
        queries = re.findall(r"(?:query|metricsQuery|seriesQuery): (.*)", TEXT)
        self.assertEqual(len(queries), 3)
        for query in queries:
            self.assertEqual(list(unknown(query.replace("<<.LabelMatchers>>, ", ""), known)), [])


class YamlTests(SynchronousTestCase):
    def test_all_of_it_can_be_read(self) -> None:
        """Here and on the page about metrics; what stands in them, others read."""
        found = []
        for name in ("operations.md", "observability.md"):
            text = (ROOT / "docs" / name).read_text(encoding="utf-8")
            blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            found += [yaml.safe_load(block) for block in blocks]
        kinds = [each["kind"] for each in found if isinstance(each, dict) and "kind" in each]
        self.assertEqual(kinds, ["ScaledObject", "HorizontalPodAutoscaler"])
        self.assertGreater(len(found), 5)


class PageTests(SynchronousTestCase):
    def test_only_commands_that_are_known(self) -> None:
        firsts = {shlex.split(line)[0] for line in commands()}
        self.assertEqual(firsts, OTHERS | {"taskqueue", "curl"})

    def test_pages_that_are_asked_for(self) -> None:
        place = Place().started()
        urls = {shlex.split(line)[1] for line in commands() if line.startswith("curl ")}
        urls |= set(re.findall(r'url: "(\S+)"', TEXT))
        self.assertGreater(len(urls), 5)
        for url in urls:
            path = re.sub(r"^http://[^/]+", "", url)
            self.assertEqual(place.get(path).status, 200, url)

    def test_what_scaling_is_asked_for_is_answered(self) -> None:
        [field] = re.findall(r'valueLocation: "(\w+)"', TEXT)
        self.assertIn(field, Place().started().get("/scaling").json)


class CommandTests(BrokerCase):
    """Every command of ours, on a broker with what the page speaks of."""

    def setUp(self) -> None:
        super().setUp()
        self.out = TextIOWrapper(BytesIO(), encoding="utf-8")
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", StringIO())
        self.patch(setting_module, "log_to", lambda *_: None)
        self.patch(setting_module, "run", self.begin)
        self.results: list[Deferred[int]] = []

    def begin(self, main: Any) -> int:
        self.results.append(Deferred.fromCoroutine(main(reactor)))
        return OK

    def command(self, words: list[str]) -> Deferred[int]:
        """Begin a command; fires with its exit status."""
        found = CliRunner().invoke(cli, ["--broker", self.address(), *words])
        self.assertEqual((found.exit_code, found.output), (OK, ""), words)
        return self.results.pop()

    @flow
    async def test_every_command(self) -> None:
        client, worker = await self.connect(), await self.connect()
        await client.put_periodic("nightly", "send_email", cron="0 3 * * *")
        await worker.register_worker("worker-1", 1, queues=["mail"], types=["send_email"])
        tried = 0
        for words in ours():
            await self.fail_once(client, "ValueError: no")
            await self.fail_once(client, "Timeout")
            ending = self.command(words)
            while words[0] == "tail" and not ending.called:
                await self.fail_once(client, "again")
            self.assertEqual(await ending, OK, words)
            tried += 1
        self.assertGreater(tried, 15)

    async def fail_once(self, client: Client, error: str) -> None:
        """One more dead letter."""
        await client.submit("send_email", queue="mail")
        [delivery] = await client.claim(["mail"], types=["send_email"])
        await client.fail(delivery.holding, error, permanent=True)
