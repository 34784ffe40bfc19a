"""
A broker in the middle of a working day: for the tests in a browser, and for the
pictures in the documents.

Real workers work on the tasks of L{tests.browser.shop}.  There is something of
everything that an operator meets: a backlog, a queue that is paused, tasks that wait
for others, for their hour or for their retry, one that takes long and says how far it
is, several kinds of dead letters, a worker that was made quiet and one that is gone.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import ujson

from taskqueue.client.blocking import BlockingClient, connect
from taskqueue.errors import TaskQueueError
from tests.browser.broker import new_broker, new_folder, site_of
from tests.browser.seeds import Task, backlog, dead_letters, orders_of, seeds
from tests.process.children import ROOT, Child, environment, until

#: Workers by name: the queues of each, and how many tasks it runs at a time.
WORKERS: Mapping[str, tuple[str, int]] = {
    "mail-1": ("mail,webhooks,imports", 8),
    "shop-1": ("billing,search,reports", 6),
    "shop-2": ("billing,search", 4),
    "media-1": ("media", 4),
    "media-2": ("media", 2),
}

#: The worker that is killed.
LOST = "media-2"

#: A worker that is gone is remembered for as long as anybody looks.
SETTINGS = (
    "--set=broker.name=shop",
    "--set=workers.heartbeat_s=2",
    "--set=workers.stale_after_s=1800",
    "--set=workers.reconnect_grace_s=1800",
)

#: How often the shop has something new to do.
PULSE_S = 0.5


class Requests:
    """The REST API of a broker, and the key that opens it where it needs one."""

    def __init__(self, site: str, key: str | None = None) -> None:
        self.site = site
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers, as Python values."""
        request = Request(
            f"{self.site}/api/v1{path}",
            method=method,
            data=None if body is None else ujson.dumps(body).encode(),
            headers=self._headers | ({} if body is None else {"content-type": "application/json"}),
        )
        with urlopen(request, timeout=30) as answer:
            data = answer.read()
        return ujson.loads(data) if data else None


class Scene:
    """
    @ivar site: the address of its pages.
    @ivar ask: asks its API.
    @ivar client: submits to it.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path | None = None,
        key: str | None = None,
        script: str | None = None,
    ) -> None:
        """
        @param arguments: of the broker, beside those that every scene has.
        @param folder: where it is.
        @param key: what the broker wants of its clients.
        @param script: runs the broker instead of C{twistd}.
        """
        self.folder = folder or new_folder()
        self._key = key
        self.broker: Child = new_broker(self.folder, *SETTINGS, *arguments, script=script)
        self.address = f"tq://127.0.0.1:{self.broker.port()}"
        self.site = site_of(self.broker)
        self.ask = Requests(self.site, key)
        self.client: BlockingClient = connect(self.address, name="shop-web", api_key=key)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._open_the_shop()
        self._over = threading.Event()
        self._traffic = threading.Thread(target=self._trade, name="traffic", daemon=True)
        atexit.register(self.stop)

    def begin(self) -> Scene:
        """Have everything happen; returns when it is there to be seen."""
        for name in WORKERS.keys() - self.workers.keys():
            self.hire(name)
        self.ask("POST", "/queues/imports/pause", {})
        self.submit(seeds() if self.dead() == 0 else backlog())
        until("the workers are there", lambda: self.staff().keys() == WORKERS.keys())
        self.ask("POST", "/workers/shop-2/quiet")
        self.ask("POST", "/periodics/pull-catalogue/trigger")
        self.ask("POST", "/periodics/weekly-report/pause")
        self.ask("POST", "/periodics/nightly-report/trigger")
        until("a worker has what it will lose", lambda: self.staff()[LOST]["in_hand"])
        self.workers.pop(LOST).kill()
        until("the dead letters are there", lambda: self.dead() >= len(dead_letters()))
        self._traffic.start()
        return self

    def _open_the_shop(self) -> None:
        """Put its tasks where workers find them; tracebacks say the same on every machine."""
        shop = self.folder / "shop"
        shop.mkdir()
        shutil.copy(Path(__file__).with_name("shop.py"), shop / "tasks.py")
        (shop / "__init__.py").write_text(
            'exec(compile(open("shop/tasks.py").read(), "shop/tasks.py", "exec"))\n'
        )

    def staff(self) -> dict[str, Any]:
        """The broker's workers by name."""
        return {worker["id"]: worker for worker in self.ask("GET", "/workers")["workers"]}

    def dead(self) -> int:
        """How many dead letters there are."""
        found: int = self.ask("GET", "/stats")["states"]["dead_letter"]
        return found

    def submit(self, tasks: Iterable[Task]) -> list[str]:
        """Submit tasks, whose payloads are arguments by name; returns their ids."""
        answers = self.client.submit_many(tasks)
        refused = [answer for answer in answers if isinstance(answer, TaskQueueError)]
        if refused:
            raise refused[0]
        return [str(answer) for answer in answers]

    def hire(self, name: str) -> None:
        """Start one of L{WORKERS}."""
        queues, slots = WORKERS[name]
        key = {} if self._key is None else {"TASKQUEUE_API_KEY": self._key}
        paths = f"{ROOT}:{self.folder}"
        with open(self.folder / f"{name}.log", "wb") as log:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "taskqueue.cli", "--broker", self.address),
                    *("worker", "shop:app", "--id", name, "--queues", queues),
                    *("--concurrency", str(slots), "--executor", "threads"),
                ],
                cwd=self.folder,
                env=environment(PYTHONPATH=paths, **key),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers[name] = worker

    def _trade(self) -> None:
        """As long as the shop is open, people buy."""
        for pulse in count():
            if self._over.wait(PULSE_S):
                return
            with suppress(TaskQueueError):  # a test may have stopped the broker
                self.submit(orders_of(pulse))

    def stop(self) -> None:
        """End everything; a second call does nothing."""
        self._over.set()
        if self._traffic.is_alive():
            self._traffic.join(30)
        self.client.close()
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self.workers.clear()
        self.broker.reap()


@functools.cache
def scene() -> Scene:
    """The one scene of this process, begun when it is first asked for."""
    return Scene().begin()
