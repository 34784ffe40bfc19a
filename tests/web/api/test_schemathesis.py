"""
Thousands of requests, good and bad, made of the OpenAPI document and sent to a real
broker: it must answer each with what the document says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from taskqueue.client.blocking import BlockingClient, connect
from tests.process.children import ProcessTestCase

#: A body that is too large is bad data too; and nobody waits for long.
SETTINGS = """
[checks]
negative_data_rejection.expected-statuses = [400, 403, 404, 406, 409, 413, 415, 422, 429, 503]

[[operations]]
include-name = "GET /tasks/{id}/outcome"
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
    def ask(self, port: int, method: str, path: str, body: Any) -> Any:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"content-type": "application/json"}
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
        child = self.start("--http=tcp:0:interface=127.0.0.1", "--durability=none")
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

    def run_against(self, http: int) -> subprocess.CompletedProcess[str]:
        """Let schemathesis ask a broker."""
        (self.folder / "schemathesis.toml").write_text(SETTINGS)
        tool = Path(sys.executable).with_name("schemathesis")
        return subprocess.run(
            [tool, "run", f"http://127.0.0.1:{http}/api/v1/openapi.json", *ARGUMENTS],
            cwd=self.folder,
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S,
        )
