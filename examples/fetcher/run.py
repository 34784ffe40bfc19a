"""
Fetch pages, at most one at a time of each host:
C{python -m examples.fetcher.run [--pause SECONDS] URL...}.

The pages of one host are a chain: each waits for the one before.  Different
hosts are visited at the same time.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import urlsplit

from examples.fetcher.tasks import app, fetch
from taskqueue.client.flows import chain
from taskqueue.errors import TaskFailed, TaskQueueError


def submit(urls: Iterable[str], pause_s: float = 1.0) -> dict[str, list[tuple[str, str]]]:
    """
    Submit a chain for each host.

    @return: by host, its urls, each with the id of its task.
    """
    hosts: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        hosts[urlsplit(url).netloc].append(url)
    # A page that cannot be had does not end the chain.
    patient = fetch.options(on_dependency_failure="run")
    chains: dict[str, list[tuple[str, str]]] = {}
    for host, pages in hosts.items():
        visits = chain(patient.submission(url, pause_s) for url in pages)
        answers = app.client.submit_many(visits)
        for answer in answers:
            if isinstance(answer, TaskQueueError):
                raise answer
        chains[host] = list(zip(pages, visits.ids, strict=True))
    return chains


def main(urls: list[str], pause_s: float) -> int:
    """Submit, and say of each page what came."""
    failed = 0
    for pages in submit(urls, pause_s).values():
        for url, task in pages:
            try:
                page = app.client.handle(task).result()
                print(f"{page['status']} {page['bytes']:>8} {url}")
            except TaskFailed as error:
                failed += 1
                print(f"failed       {url}: {str(error.fields['error']).splitlines()[0]}")
    app.close()
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch pages, politely.")
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--pause", type=float, default=1.0, help="after each page, seconds")
    options = parser.parse_args()
    sys.exit(main(options.urls, options.pause))
