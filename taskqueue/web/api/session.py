"""
The session: who one is, signing in and out.
"""

from __future__ import annotations

from typing import Any

from taskqueue.access.identities import Identity
from taskqueue.errors import BadRequest
from taskqueue.operations.fields import Form, secret, text
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply
from taskqueue.web.api.endpoints import Body, Content, Endpoint
from taskqueue.web.api.visits import Visit
from taskqueue.web.credentials import COOKIE, DOOR

#: The longest name of a user that is looked for.
_LONGEST_NAME = 128


def _view(visit: Visit, identity: Identity) -> Header:
    gate = visit.service.gate
    return {
        "name": identity.name,
        "kind": identity.kind,
        "role": identity.role,
        "permissions": identity.permissions.words(),
        "open": gate.open,
        "warning": gate.warning,
    }


async def get_session(visit: Visit) -> Reply:
    """Who one is, and what one may do."""
    return Reply(200, _view(visit, visit.visitor.identity))


SIGN_IN = Form({"name": text(_LONGEST_NAME, least=1), "password": secret, "key": secret})


async def sign_in(visit: Visit) -> Reply:
    """Sign in with a name and a password, or with a key: the answer sets a cookie."""
    given, gate = visit.body, visit.service.gate
    if ("key" in given) is ("name" in given) or ("name" in given) is not ("password" in given):
        raise BadRequest("give either name and password, or key")
    host = visit.visitor.host
    if "key" in given:
        identity = gate.by_key(given["key"], host, DOOR)
    else:
        identity = await gate.by_password(given["name"], given["password"], host, DOOR)
    gate.audit.record(identity, "sign_in", peer=host, door=DOOR)
    cookie = _cookie(visit.request, gate.open_session(identity))
    return Reply(200, _view(visit, identity), {"set-cookie": cookie})


async def sign_out(visit: Visit) -> Reply:
    """Sign out: the cookie counts no more."""
    token = visit.request.getCookie(COOKIE)
    if token is not None:
        visit.service.gate.close_session(token.decode("latin-1"))
    return Reply(204, headers={"set-cookie": f"{_cookie(visit.request, '')}; Max-Age=0"})


def _cookie(request: Any, token: str) -> str:
    """A cookie that no script reads, and that no other site's page sends."""
    secure = "; Secure" if request.isSecure() else ""
    return f"{COOKIE.decode('ascii')}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"


_SESSION = shapes.thing(
    {
        "name": shapes.TEXT,
        "kind": {"type": "string", "enum": ["everyone", "user", "key", "certificate"]},
        "role": shapes.TEXT_OR_NONE,
        "permissions": shapes.listed(shapes.TEXT),
        "open": shapes.TRUTH,
        "warning": shapes.TEXT_OR_NONE,
    }
)

_HEADERS = {"Set-Cookie": "the session's cookie"}

ENDPOINTS = (
    Endpoint(
        "GET",
        "/session",
        "Session",
        get_session,
        "Who one is",
        {200: Content("Who, and what is allowed.", _SESSION)},
    ),
    Endpoint(
        "POST",
        "/session",
        "Session",
        sign_in,
        "Sign in",
        {200: Content("Signed in.", _SESSION, headers=_HEADERS)},
        body=Body(SIGN_IN, needed=True),
        refusals=(401, 429),
        open=True,
    ),
    Endpoint(
        "DELETE",
        "/session",
        "Session",
        sign_out,
        "Sign out",
        {204: Content("Signed out.", headers=_HEADERS)},
        open=True,
    ),
)
