"""
The report of one day, now: C{python -m examples.nightly_report.run 2026-01-31}.
"""

from __future__ import annotations

import sys

from examples.nightly_report.tasks import app, report


def main(day: str) -> None:
    """Submit it, wait for all of it, and print where it is."""
    gathering = report.submit(day).result()
    print(app.client.handle(gathering).result())
    app.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Of which day? For example: 2026-01-31")
    main(sys.argv[1])
