"""
The task: one page, fetched as a polite visitor does.
"""

from __future__ import annotations

import hashlib
import time
import urllib.error
import urllib.request
import urllib.robotparser
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from taskqueue import App, Discard, PermanentFailure, Retry

app = App(queue="pages")

AGENT = "taskqueue-example/1"

#: Of one page, seconds.
TIMEOUT_S = 10.0

#: A page beyond this is cut.
MAX_BYTES = 2**20

#: What a server says when it wants to be left alone for a while.
BUSY = (429, 503)

#: The longest pause that a server may ask for, seconds.
LONGEST_PAUSE_S = 3600.0


@lru_cache(maxsize=1000)
def rules(site: str) -> urllib.robotparser.RobotFileParser:
    """What the robots.txt of C{site} (scheme and host) allows; kept for this process's life."""
    parser = urllib.robotparser.RobotFileParser(f"{site}/robots.txt")
    parser.read()
    return parser


def pause_asked(headers: Any) -> float | None:
    """The seconds in C{Retry-After}; C{None} where there are none."""
    value = headers.get("Retry-After", "")
    return min(float(value), LONGEST_PAUSE_S) if value.isdigit() else None


@app.task(max_retries=4, retry_delay=2, timeout=60)
def fetch(url: str, pause_s: float = 1.0) -> dict[str, Any]:
    """
    Fetch a page, then leave its server in peace for C{pause_s} seconds.

    @return: C{url}, C{status}, C{bytes}, and C{sha256} of what came.
    """
    parts = urlsplit(url)
    if not rules(f"{parts.scheme}://{parts.netloc}").can_fetch(AGENT, url):
        raise Discard("robots.txt does not want that")
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            body = response.read(MAX_BYTES)
            status = response.status
    except urllib.error.HTTPError as error:
        if error.code in BUSY:
            raise Retry(pause_asked(error.headers), f"the server says {error.code}") from None
        if 400 <= error.code < 500:
            raise PermanentFailure(f"the server says {error.code}") from None
        raise  # 5xx: tried again after retry_delay, and later each time
    time.sleep(pause_s)
    digest = hashlib.sha256(body).hexdigest()
    return {"url": url, "status": status, "bytes": len(body), "sha256": digest}
