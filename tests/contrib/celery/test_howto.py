"""
What docs/howto/celery.md says to write, works.
"""

from __future__ import annotations

import re
from typing import Any

from celery import Celery
from kombu import Connection

from tests.contrib.celery.test_end_to_end import url_of
from tests.contrib.programs import FrameworkTestCase
from tests.process.children import ROOT, until

PAGE = ROOT / "docs" / "howto" / "celery.md"

_FILE = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: The page's own words for what its programs print.
SAID = ["5", "5", "[0, 2, 4, 6, 8]", "20"]


class Page(FrameworkTestCase):
    timeout = 90

    def test_five_lines(self) -> None:
        """The files of the page, as they are but for the address and the queue's name."""
        text = PAGE.read_text().replace("tq://127.0.0.1:7780", self.address)
        text = text.replace("taskqueue://127.0.0.1:7780", url_of(self.address) + f"/{self.name}")
        text = text.replace('queue="celery"', f'queue="{self.name}/celery"')
        files = dict(_FILE.findall(text))
        self.assertEqual(set(files), {"proj", "calling", "settings", "native"})
        for name, program in files.items():
            self.module(name, program)
        path = {"PYTHONPATH": f"{self.folder}:{ROOT}"}
        worker = self.program(
            "-m", "celery", "-A", "proj", "worker", "-c", "2", "-l", "INFO", **path
        )
        until("the worker is ready", lambda: "ready." in worker.log)
        self.assertEqual(self.finished("calling.py", **path).splitlines(), SAID)
        native = self.finished("native.py", **path).split()[-1]
        until(
            "the native task is done",
            lambda: (self.client.status([native])[0] or {})["state"] == "completed",
        )
        self.assertIn("succeeded", worker.log)


class Ways(FrameworkTestCase):
    """The other ways to name the transport and the backend, in processes without the import."""

    def said(self, text: str) -> str:
        self.module("way", text)
        return self.finished("way.py", PYTHONPATH=f"{self.folder}:{ROOT}").strip()

    def test_transport_by_its_name(self) -> None:
        said = self.said(
            "from celery import Celery\n"
            f"app = Celery('x', broker='{url_of(self.address)}')\n"
            "app.conf.broker_transport = 'taskqueue.contrib.kombu:Transport'\n"
            "with app.connection_for_write() as c:\n"
            "    c.connect(); print(c.transport.driver_name)\n"
        )
        self.assertEqual(said, "taskqueue")

    def test_results_by_their_class(self) -> None:
        backend = f"taskqueue.contrib.celery:Backend+{url_of(self.address)}"
        said = self.said(
            "from celery import Celery\n"
            f"app = Celery('x', backend='{backend}')\n"
            "app.backend.store_result('an-id', 42, 'SUCCESS')\n"
            "print(app.AsyncResult('an-id').get(timeout=5), type(app.backend).__name__)\n"
        )
        self.assertEqual(said, "42 Backend")

    def test_kombu_by_an_import_or_a_name(self) -> None:
        for first, how in (
            ("import taskqueue.contrib.kombu", ""),
            ("", ", transport='taskqueue.contrib.kombu:Transport'"),
        ):
            said = self.said(
                f"{first}\nfrom kombu import Connection\n"
                f"with Connection('{url_of(self.address)}'{how}) as c:\n"
                "    c.connect(); print(c.transport.driver_name)\n"
            )
            self.assertEqual(said, "taskqueue")


class Urls(FrameworkTestCase):
    def test_virtual_hosts_are_apart(self) -> None:
        url = url_of(self.address)

        def put(host: str) -> Any:
            connection = Connection(f"{url}/{host}")
            self.addCleanup(connection.release)
            queue = connection.SimpleQueue(self.name)
            queue.put({"of": host})
            return queue

        queues = [put("one"), put("two")]
        for queue, host in zip(queues, ("one", "two"), strict=True):
            message = queue.get(timeout=5)
            self.assertEqual(message.payload, {"of": host})
            message.ack()
            self.until_states(f"{host}/{self.name}", completed=1)

    def test_results_of_virtual_hosts_are_apart(self) -> None:
        url = url_of(self.address)
        one, two = (Celery("x", backend=f"{url}/{host}", set_as_current=False) for host in "ab")
        one.backend.store_result(self.name, 1, "SUCCESS")
        self.assertEqual(one.AsyncResult(self.name).state, "SUCCESS")
        self.assertEqual(two.AsyncResult(self.name).state, "PENDING")
