"""
What all pages have in common: methods, errors and answers in JSON.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

from taskqueue.errors import TaskQueueError, Unauthenticated
from taskqueue.strictjson import dumps
from taskqueue.web.credentials import CHALLENGE

#: The status for whom asks too often; Twisted has no name for it.
_TOO_MANY_REQUESTS = 429

#: What HTTP calls methods; a page allows those that it has a C{render_} method for.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Page(Resource):
    """
    A resource that says in JSON what it does not have or allow.

    It has no children but those put into it, and allows the methods that it
    has C{render_<METHOD>} methods for; C{HEAD} is C{GET} without a body.
    """

    def getChild(self, path: bytes, request: Any) -> Resource:
        return Missing()

    def render(self, request: Any) -> Any:
        method = request.method.decode("ascii", "replace")
        if hasattr(self, f"render_{method}"):
            return super().render(request)
        allowed = self.allowed_methods()
        request.setHeader(b"allow", ", ".join(allowed).encode("ascii"))
        return refuse(
            request,
            http.NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            f"{method[:20]} is not allowed here; allowed: {', '.join(allowed)}",
        )

    def allowed_methods(self) -> list[str]:
        """The names of the methods that this page has an answer to."""
        found = [method for method in _METHODS if hasattr(self, f"render_{method}")]
        # Every Resource can answer HEAD, but it does so by way of GET.
        return found if "GET" in found else [method for method in found if method != "HEAD"]


class Missing(Page):
    """A page that is not there, whatever is asked of it."""

    def render(self, request: Any) -> bytes:
        return refuse(
            request, http.NOT_FOUND, "NOT_FOUND", "there is no such page; / names those there are"
        )


def answer(request: Request, code: int, value: dict[str, Any]) -> bytes:
    """
    Set status and headers for an answer in JSON that no cache keeps.

    @return: its body, for a C{render_} method to return.
    """
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    return dumps(value) + b"\n"


def turn_away(request: Request, error: TaskQueueError) -> bytes:
    """The L{answer} for whom the broker does not know, or who may not see this."""
    if isinstance(error, Unauthenticated):
        request.setHeader(b"www-authenticate", CHALLENGE.encode("ascii"))
        return refuse(request, http.UNAUTHORIZED, error.code, error.message)
    if error.retry_after_s is not None:
        request.setHeader(b"retry-after", b"%d" % max(1, ceil(error.retry_after_s)))
        return refuse(request, _TOO_MANY_REQUESTS, error.code, error.message)
    return refuse(request, http.FORBIDDEN, error.code, error.message)


def refuse(request: Request, status: int, code: str, message: str) -> bytes:
    """The L{answer} that says what went wrong, as C{code} and C{message}."""
    return answer(request, status, {"code": code, "message": message})
