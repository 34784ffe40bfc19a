"""
Thousands of requests, good and bad, made of the OpenAPI document and sent to a real
broker: it must answer each with what the document says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from taskqueue.access.editing import add_key
from taskqueue.access.file import KeyringFile
from taskqueue.access.keyring import Keyring
from taskqueue.client.blocking import BlockingClient, connect
from tests.process.children import ProcessTestCase, environment

#: A body that is too large is bad data too; and nobody waits for long.
SETTINGS = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 406, 409, 413, 415, 422, 429, 503]

[[operations]]
include-name = "GET /tasks/{id}/outcome"
parameters = { "query.wait_s" = 0.1 }

[[operations]]
include-name = "GET /values/{namespace}/{key}"
parameters = { "query.wait_s" = 0.1 }
"""

#: What a document cannot say (that fields exclude each other, that a name must exist) is no
#: reason to take a request; and a stream of events never ends.
ARGUMENTS = (
    "--exclude-path=/events",
    "--exclude-checks=positive_data_acceptance",
    "--phases=coverage,fuzzing,stateful",
    "--max-examples=10",
    "--generation-deterministic",
    "--request-timeout=20",
    "--continue-on-failure",
    "--no-color",
)

#: How long all of it may take, seconds; it takes about ten.
PATIENCE_S = 240


class SchemathesisTests(ProcessTestCase):
    #: The headers by which the broker knows who asks.
    headers: dict[str, str]

    def setUp(self) -> None:
        super().setUp()
        self.headers = {}

    def ask(self, port: int, method: str, path: str, body: Any) -> Any:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"content-type": "application/json", **self.headers}
        connection.request(method, f"/api/v1{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        self.assertIn(answer.status, (200, 201), path)
        return json.loads(answer.read())

    def furnish(self, client: BlockingClient, http: int) -> None:
        """Some of everything, so that answers have something to say."""
        for number in range(5):
            body = {"type": "job", "payload": "x", "queue": f"q{number}", "unique": f"u{number}"}
            self.ask(http, "POST", "/tasks", body)
        self.ask(http, "PUT", "/periodics/nightly", {"type": "job", "cron": "0 3 * * *"})
        client.register_worker("w1", 1, queues=["q0", "q1", "q2"], types=["job"])
        first, second, _ = client.claim(limit=3)
        client.complete((first.id, first.lease), b"\xff")
        client.fail((second.id, second.lease), "broken", permanent=True)

    def test_no_answer_that_is_not_documented(self) -> None:
        child = self.start(
            "--http=tcp:0:interface=127.0.0.1",
            "--durability=none",
            "--set=limits.max_requests_per_s=0",
        )
        framed, http = child.port(), child.port("HTTP")
        with connect(f"tq://127.0.0.1:{framed}") as client:
            self.furnish(client, http)
            run = self.run_against(http)
        self.assertEqual(run.returncode, 0, run.stdout[-20_000:] + run.stderr[-2000:])
        found = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
        assert found is not None, run.stdout
        self.assertGreater(int(found[2]), 1000)
        self.assertNotIn("Traceback", child.log)
        self.assertEqual(child.end(), 0)

    def test_with_a_key(self) -> None:
        """A key that may not do all of it is told so as the document says."""
        self.folder.joinpath("data").mkdir(mode=0o700)
        secrets = self.make_keys(admin=["admin"], partly=["read:q*", "submit:q1", "cancel:q1"])
        child = self.start("--http=tcp:0:interface=127.0.0.1", "--durability=none")
        framed, http = child.port(), child.port("HTTP")
        self.headers = {"Authorization": f"Bearer {secrets['admin']}"}
        with connect(f"tq://127.0.0.1:{framed}", api_key=secrets["admin"]) as client:
            self.furnish(client, http)
            run = self.run_against(
                http,
                f"--header=Authorization: Bearer {secrets['partly']}",
                "--max-examples=3",
            )
        self.assertEqual(run.returncode, 0, run.stdout[-20_000:] + run.stderr[-2000:])
        self.assertNotIn("Traceback", child.log)
        self.assertEqual(child.end(), 0)

    def make_keys(self, **words: list[str]) -> dict[str, str]:
        """Keys that the broker will know: by name, what their holders are given."""
        secrets: dict[str, str] = {}

        def add(keyring: Keyring) -> Keyring:
            for name, allowed in words.items():
                now = datetime.now(UTC)
                keyring, secret = add_key(keyring, name, now=now, allow=allowed)
                secrets[name] = secret.text
            return keyring

        KeyringFile(str(self.folder / "data" / "access.json")).change(add)
        return secrets

    def run_against(self, http: int, *more: str) -> subprocess.CompletedProcess[str]:
        """Let schemathesis ask a broker."""
        (self.folder / "schemathesis.toml").write_text(SETTINGS)
        tool = Path(sys.executable).with_name("schemathesis")
        return subprocess.run(
            [tool, "run", f"http://127.0.0.1:{http}/api/v1/openapi.json", *ARGUMENTS, *more],
            cwd=self.folder,
            env=environment(measured=False),
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S,
        )
