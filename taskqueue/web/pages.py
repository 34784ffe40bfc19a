"""
What all pages have in common: methods, errors and answers in JSON.
"""

from __future__ import annotations

from typing import Any

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

from taskqueue.strictjson import dumps

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


def refuse(request: Request, status: int, code: str, message: str) -> bytes:
    """The L{answer} that says what went wrong, as C{code} and C{message}."""
    return answer(request, status, {"code": code, "message": message})
