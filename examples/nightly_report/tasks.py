"""
The tasks: the night's work, its parts, and what gathers them.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from taskqueue import App
from taskqueue.client.flows import fan_in, group
from taskqueue.errors import TaskQueueError

app = App(queue="reports")

#: Holds a file SHOP.csv for each shop: day, item, pieces.
SALES = Path(os.environ.get("SALES_FOLDER", "sales"))

REPORTS = Path(os.environ.get("REPORTS_FOLDER", "reports"))


@app.task(timeout=300, max_retries=3)
def count_sales(shop: str, day: str) -> dict[str, int]:
    """The pieces of each item that C{shop} sold on C{day}."""
    sold: Counter[str] = Counter()
    with (SALES / f"{shop}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["day"] == day:
                sold[row["item"]] += int(row["pieces"])
    return dict(sold)


@app.task(timeout=300, max_retries=3)
def gather(day: str, parts: dict[str, str]) -> str:
    """
    Write the report of C{day}.

    @param parts: by shop, the id of the task that counted; all have completed.
    @return: where the report is.
    """
    total: Counter[str] = Counter()
    for task in parts.values():
        total.update(app.client.handle(task).result(timeout=10))
    REPORTS.mkdir(parents=True, exist_ok=True)
    lines = [f"{item},{pieces}" for item, pieces in total.most_common()]
    report = REPORTS / f"{day}.csv"
    report.write_text("\n".join(["item,pieces", *lines]) + "\n")
    return str(report)


# A night on which the broker was down is made up for, up to noon.
@app.periodic(
    cron="0 3 * * *", tz="Europe/Paris", catch_up="once", catch_up_window_s=9 * 3600, overlap=False
)
@app.task(max_retries=3)
def report(day: str | None = None) -> str:
    """
    Submit what the report of C{day} (yesterday, where it is not named) needs.

    @return: the id of the task that gathers it.
    """
    if day is None:
        day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    shops = sorted(path.stem for path in SALES.glob("*.csv"))
    parts = group(count_sales.submission(shop, day) for shop in shops)
    gathering = gather.submission(day, dict(zip(shops, parts.ids, strict=True)))
    *_, last = answers = app.client.submit_many(fan_in(parts, gathering))
    for answer in answers:
        if isinstance(answer, TaskQueueError):
            raise answer
    return str(last)
