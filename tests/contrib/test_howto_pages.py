"""
The how-tos of taskiq, dramatiq and huey do what they say, with the workers of those.
"""

from __future__ import annotations

from tests.contrib.programs import FrameworkTestCase
from tests.test_docs_programs import ADDRESS, DOCS, programs

PLAN = """
import asyncio
import schedule

async def main():
    async with schedule.broker:
        await schedule.plan()

asyncio.run(main())
"""


class PageTests(FrameworkTestCase):
    def run_page(self, framework: str, *worker: str) -> list[str]:
        """Write the modules in a page, run its C{send.py} beside a worker; what that prints."""
        files, rest = programs(DOCS / "howto" / f"{framework}.md")
        self.assertEqual(rest, "")
        for name, text in files.items():
            self.assertIn(ADDRESS if name in ("tasks.py", "actors.py") else "", text)
            self.module(name.removesuffix(".py"), text.replace(ADDRESS, self.address))
        self.worker = self.program("-m", *worker)
        return self.finished("send.py").splitlines()

    def test_taskiq(self) -> None:
        printed = self.run_page("taskiq", "taskiq", "worker", "tasks:broker")
        self.assertEqual(printed, ["20", "pic"])
        self.finished("-c", PLAN)

    def test_dramatiq(self) -> None:
        printed = self.run_page("dramatiq", "dramatiq", "-p1", "-t1", "actors")
        self.assertEqual(printed, ["4"])
        self.assertIn("Welcome, Ann", self.worker.log)
        self.finished("-c", "from limits import *\nwith one_at_a_time.acquire(): pass")

    def test_huey(self) -> None:
        printed = self.run_page("huey", "huey.bin.huey_consumer", "tasks.huey", "-w", "4")
        self.assertEqual(printed, ["6", "report of Monday"])
