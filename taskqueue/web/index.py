"""
C{/}: what is to be found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.web import http

from taskqueue import __version__
from taskqueue.service import TaskQueueService
from taskqueue.web.dashboard.shell import DashboardPage, prefers_html
from taskqueue.web.pages import Page, answer


class IndexPage(Page):
    """Names the broker and the pages; answers whenever the reactor turns."""

    def __init__(self, service: TaskQueueService, pages: Mapping[str, str]) -> None:
        """
        @param pages: path to what is found there.
        """
        super().__init__()
        self._service = service
        self._pages = dict(pages)

    def render_GET(self, request: Any) -> bytes:
        """The broker's name and version, and the pages by path."""
        about = {
            "name": self._service.config.broker.name,
            "version": __version__,
            "pages": self._pages,
        }
        return answer(request, http.OK, about)


class FrontPage(IndexPage):
    """The index for programs, and the dashboard for people who come with a browser."""

    def render_GET(self, request: Any) -> bytes:
        """One or the other, by what the peer says that it accepts."""
        request.setHeader(b"vary", b"Accept")
        if prefers_html(request.getHeader("accept")):
            return DashboardPage(self._service).render_GET(request)
        return super().render_GET(request)
