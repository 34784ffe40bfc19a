"""A site and a worker with keys of their own, as the how-to says which they need."""

from __future__ import annotations

import subprocess
import sys

from tests.contrib.django.site import SiteCase
from tests.process.children import PATIENCE_S, environment


class AccessTests(SiteCase):
    def key(self, name: str, allowed: str) -> str:
        """A key, made before the broker starts."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "taskqueue.cli", "keys", "create", "--data-dir=data"),
                *(f"--name={name}", f"--allow={allowed}"),
            ],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_a_key_for_each(self) -> None:
        queues = ("urgent", "default")
        worker = self.key("worker", ",".join(f"claim:{queue},read:{queue}" for queue in queues))
        site = self.key("site", ",".join(f"submit:{queue},read:{queue}" for queue in queues))
        database = str(self.folder / "shop.sqlite3")
        self.begin_broker(DJANGO_SETTINGS_MODULE="settings", SHOP_DATABASE=database)
        self.manage("migrate", "--verbosity=0")
        self.variables["TASKQUEUE_API_KEY"] = worker
        self.begin_site_worker("--id", "w")
        self.variables["TASKQUEUE_API_KEY"] = site
        answer = self.program_of_the_site("""
            from shop.tasks import warn_of_low_stock
            print(json.dumps(ended(warn_of_low_stock.enqueue(item="tea")).worker_ids))
        """)
        self.assertEqual(answer, ["w", "w", "w"])

    def test_a_wrong_key(self) -> None:
        """Both are told at once, by a sentence."""
        self.key("another", "submit:default")
        self.begin_broker(DJANGO_SETTINGS_MODULE="settings")
        self.variables["TASKQUEUE_API_KEY"] = "tq_of_nobody"
        done = self.managed("taskqueue_worker")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("CommandError: ", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        answer = self.program_of_the_site("""
            import time
            from shop.tasks import count_orders
            from taskqueue.errors import Unauthenticated
            began = time.monotonic()
            told = []
            for _ in range(2):
                try:
                    count_orders.enqueue()
                except Unauthenticated as error:
                    told.append(str(error))
            print(json.dumps([len(told), time.monotonic() - began < 4]))
        """)
        self.assertEqual(answer, [2, True])
