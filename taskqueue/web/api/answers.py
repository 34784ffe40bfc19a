"""
Answers: what they hold, and how they are written.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from twisted.web import http

from taskqueue import strictjson
from taskqueue.web.api import problems
from taskqueue.web.api.problems import Problem

Header = dict[str, Any]

JSON = "application/json"

#: What a browser may do with an answer that is no page: nothing.
_NOTHING_TO_RUN = b"default-src 'none'; frame-ancestors 'none'"

_NO_HEADERS: Mapping[str, str] = {}


class Reply(NamedTuple):
    """
    An answer.

    @ivar content: a JSON-able value, or bytes of the type C{media}; C{None} for none.
    @ivar kept: whether the peer may keep it, and ask whether it has changed.
    """

    status: int
    content: Any = None
    headers: Mapping[str, str] = _NO_HEADERS
    media: str = JSON
    kept: bool = False


def send(request: Any, reply: Reply) -> None:
    """Write an answer, and be done with the request."""
    body = _body(reply)
    request.setResponseCode(reply.status)
    request.responseHeaders.removeHeader(b"content-type")
    if body is not None:
        request.setHeader(b"content-type", reply.media.encode("ascii"))
    if not request.responseHeaders.hasHeader(b"content-security-policy"):
        request.setHeader(b"content-security-policy", _NOTHING_TO_RUN)
    for name, value in reply.headers.items():
        request.setHeader(name.encode("ascii"), value.encode("latin-1"))
    request.setHeader(b"cache-control", b"no-cache" if reply.kept else b"no-store")
    if reply.kept and body is not None:
        tag = b'"' + blake2b(body, digest_size=12).hexdigest().encode("ascii") + b'"'
        if request.setETag(tag) is http.CACHED:
            body = None
    if body is not None:
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
    elif reply.status not in (http.NO_CONTENT, http.NOT_MODIFIED) and not reply.kept:
        request.setHeader(b"content-length", b"0")
    request.finish()


def send_problem(request: Any, problem: Problem) -> None:
    """Write why a request is not carried out."""
    send(request, Reply(problem.status, problem.view, problem.headers, problems.MEDIA))


def _body(reply: Reply) -> bytes | None:
    if reply.content is None or isinstance(reply.content, bytes):
        return reply.content
    return strictjson.dumps(reply.content) + b"\n"


def readable(view: Header, *names: str) -> Header:
    """
    C{view}, with the bytes of its fields C{names} as text, or else as base64.
    """
    for name in names:
        data = view.pop(name, None)
        if data is None:
            continue
        try:
            view[name] = data.decode("utf-8")
        except UnicodeDecodeError:
            view[f"{name}_b64"] = b64encode(data).decode("ascii")
    return view


def page_of(name: str, items: Iterable[Any], following: Any, address: str) -> Reply:
    """
    A page of a list.

    @param following: what to give as C{after} for the page behind it, C{None}
        where there is none.
    @param address: of the page behind it.
    """
    headers = {} if following is None else {"link": f'<{address}>; rel="next"'}
    return Reply(http.OK, {name: list(items), "next": following}, headers)
