"""
The example's site, with a broker and a worker, each a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

from tests.examples.running import ExampleTestCase
from tests.process.children import PATIENCE_S, ROOT, environment

SITE = ROOT / "examples" / "django_site"


class SiteCase(ExampleTestCase):
    """
    @ivar site: where C{manage.py} is.
    @ivar workers: those that were started.
    """

    site = SITE

    def setUp(self) -> None:
        super().setUp()
        self.workers: list[subprocess.Popen[bytes]] = []

    def begin_site(self, *arguments: str, **variables: str) -> None:
        """Start a broker and a worker, with an empty database."""
        more = {"SHOP_DATABASE": str(self.folder / "shop.sqlite3"), **variables}
        self.begin_broker(DJANGO_SETTINGS_MODULE="settings", PYTHONDONTWRITEBYTECODE="1", **more)
        self.manage("migrate", "--verbosity=0")
        self.begin_site_worker(*arguments)

    def begin_site_worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker; it ends before the broker does."""
        self.log = self.folder / "worker.log"
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "manage.py", "taskqueue_worker", *arguments],
                cwd=self.site,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(worker)
        self.addCleanup(self.end, worker)
        return worker

    def manage(self, *arguments: str) -> str:
        """Run C{manage.py}, which must succeed; what it printed."""
        done = self.managed(*arguments)
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}\n{self.worker_said()}")
        return done.stdout

    def managed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run C{manage.py} to its end."""
        return self.python("manage.py", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python where C{manage.py} is."""
        try:
            return subprocess.run(
                [sys.executable, *arguments],
                cwd=self.site,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=2 * PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; the worker: {self.worker_said()}") from None

    def program_of_the_site(self, text: str) -> Any:
        """Run a program with the project set up; what it printed last, which is JSON."""
        before = "import json, threading, django; django.setup()\n" + WAIT
        done = self.python("-c", before + textwrap.dedent(text))
        told = f"{done.stdout}\n{done.stderr}\nthe worker: {self.worker_said()}"
        self.assertEqual(done.returncode, 0, told)
        return json.loads(done.stdout.splitlines()[-1])


#: What programs wait with.
WAIT = f"""
def ended(*results, patience_s={PATIENCE_S}):
    pause = threading.Event()
    for result in results:
        for _ in range(int(patience_s / 0.02)):
            result.refresh()
            if result.is_finished:
                break
            pause.wait(0.02)
    return results[0] if len(results) == 1 else results
"""
