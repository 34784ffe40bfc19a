"""The report: its parts by themselves, and the example as it is run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from examples.nightly_report import tasks
from taskqueue import connect
from tests.examples.running import ExampleTestCase
from tests.process.children import PATIENCE_S, until

SALES = {
    "north": "day,item,pieces\n2026-01-31,pear,3\n2026-01-30,pear,100\n2026-01-31,fig,1\n",
    "south": "day,item,pieces\n2026-01-31,pear,2\n",
}


def sell(folder: Path) -> Path:
    """What was sold, as files in C{folder}."""
    sales = folder / "sales"
    sales.mkdir(parents=True)
    for shop, rows in SALES.items():
        (sales / f"{shop}.csv").write_text(rows)
    return sales


class CountTests(SynchronousTestCase):
    def test_one_shop(self) -> None:
        self.patch(tasks, "SALES", sell(Path(self.mktemp())))
        self.assertEqual(tasks.count_sales("north", "2026-01-31"), {"pear": 3, "fig": 1})
        self.assertEqual(tasks.count_sales("south", "2025-01-01"), {})
        self.assertRaises(FileNotFoundError, tasks.count_sales, "west", "2026-01-31")


class ExampleTests(ExampleTestCase):
    def test_a_day(self) -> None:
        sell(self.folder)
        self.begin("examples.nightly_report.tasks:app", "reports")
        printed = self.succeeded("examples.nightly_report.run", "2026-01-31")
        self.assertEqual(printed.strip(), "reports/2026-01-31.csv")
        report = (self.folder / "reports" / "2026-01-31.csv").read_text()
        self.assertEqual(report, "item,pieces\npear,5\nfig,1\n")

    def test_a_night(self) -> None:
        """The worker has told the broker when; fired now, it is the report of yesterday."""
        sell(self.folder)
        self.begin("examples.nightly_report.tasks:app", "reports")
        with connect(self.address) as client:
            (night,) = until("the schedule is there", client.periodics)
            self.assertEqual((night["name"], night["cron"]), ("report", "0 3 * * *"))
            at = datetime.fromtimestamp(night["next_at"], ZoneInfo("Europe/Paris"))
            self.assertEqual((at.hour, at.minute), (3, 0))
            gathering = client.trigger_periodic("report").result(timeout=PATIENCE_S)
            where = client.handle(gathering).result(timeout=PATIENCE_S)
        self.assertRegex(where, r"^reports/\d{4}-\d\d-\d\d\.csv$")
        self.assertEqual((self.folder / where).read_text(), "item,pieces\n")
