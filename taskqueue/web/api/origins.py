"""
Where browsers' requests come from: pages of other sites change nothing, and read
only where the configuration lets them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from taskqueue.service import TaskQueueService
from taskqueue.web.api.problems import Problem

#: How long a browser may remember what it may send, seconds.
_REMEMBERED_S = 600

#: What a page of another site may read of an answer, beside its body.
_EXPOSED = b"etag, link, location, retry-after"

_PORTS = {"http": 80, "https": 443}


class Origins:
    """
    The origins that may use the API from a browser, beside its own.
    """

    def __init__(self, service: TaskQueueService) -> None:
        self._service = service

    def _is_listed(self, origin: str) -> bool:
        return origin in self._service.config.http.cors_origins

    def admit(self, request: Any) -> None:
        """Let a page of a listed origin read the answer."""
        if not self._service.config.http.cors_origins:
            return
        request.responseHeaders.addRawHeader(b"vary", b"Origin")
        origin = request.getHeader("origin")
        if origin is not None and self._is_listed(origin):
            request.setHeader(b"access-control-allow-origin", origin.encode("latin-1"))
            request.setHeader(b"access-control-expose-headers", _EXPOSED)

    def answer_preflight(self, request: Any, allowed: str) -> None:
        """Say what a page of a listed origin may send."""
        if request.responseHeaders.hasHeader(b"access-control-allow-origin"):
            request.setHeader(b"access-control-allow-methods", allowed.encode("ascii"))
            request.setHeader(
                b"access-control-allow-headers",
                b"authorization, content-type, if-match, if-none-match, last-event-id",
            )
            request.setHeader(b"access-control-max-age", b"%d" % _REMEMBERED_S)

    def check(self, request: Any) -> None:
        """
        Let a request change something.

        @raises Problem: a page of another site has a browser send it.
        """
        origin = request.getHeader("origin")
        if origin is not None and self._is_listed(origin):
            return
        site = request.getHeader("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            raise _forbidden(f"it comes from a page of another site (sec-fetch-site: {site[:30]})")
        if site is None and origin is not None and not _is_own(origin, request):
            raise _forbidden(f"it comes from a page of {origin[:200]}")


def _is_own(origin: str, request: Any) -> bool:
    """Whether a page of C{origin} came from where the request went."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{request.getHeader('host') or ''}")
        port = page.port or _PORTS.get(page.scheme)
        # A proxy may speak TLS with the peer, and not with the broker.
        own = {here.port} if here.port is not None else set(_PORTS.values())
    except ValueError:
        return False
    return page.hostname is not None and page.hostname == here.hostname and port in own


def _forbidden(reason: str) -> Problem:
    return Problem(
        403,
        "FORBIDDEN_ORIGIN",
        f"this changes something, and {reason}; http.cors_origins lists the origins that may",
    )
