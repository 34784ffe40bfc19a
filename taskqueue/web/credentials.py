"""
Who asks over HTTP: by a key, by the cookie of somebody who has signed in, by a certificate, or
because anybody may come in.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Action, Permissions
from taskqueue.errors import ClientError, Forbidden, TaskQueueError, Unauthenticated
from taskqueue.operations.authorization import forbidden, permissions_of
from taskqueue.service import TaskQueueService
from taskqueue.transport.naming import certificate_of

#: The name of the cookie.
COOKIE = b"taskqueue_session"

#: Kinds of C{Authorization} that people and programs try where Bearer is wanted.
_OTHER_KINDS = frozenset({"basic", "digest", "negotiate", "ntlm", "token", "apikey"})

#: How names end that no site in the internet can have.
_OWN_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")

_PORT = re.compile(r":[0-9]*$")

#: Where it came in, for the audit log.
DOOR = "http"

#: What to try where nobody may come in without: as browsers know no password prompt for it, none
#: appears.
CHALLENGE = 'Bearer realm="taskqueue"'

_WHO_ASKS = (
    "this broker wants to know who asks: give a key (authorization: Bearer tq_...), or sign in "
    "(POST /api/v1/session)"
)


def identify(service: TaskQueueService, request: Any) -> Identity:
    """
    Who sends a request.

    @raises Unauthenticated: nobody knows, and not everybody may come in.
    @raises RateLimited: too many attempts from there failed.
    """
    gate = service.gate
    given = request.getHeader("authorization")
    if given is not None:
        _check_once(request)
        return gate.by_key(_key_in(given), host_of(request), DOOR)
    token = session_token(request)
    found = None if token is None else gate.by_session(token)
    shown = None
    if found is None:
        shown = certificate_of(request.channel.transport)
        found = None if shown is None else gate.by_certificate(*shown)
    if found is None and gate.open:
        if gate.by_default:
            _check_host(request)
        found = gate.everyone
    if found is not None:
        return found
    if shown is not None:
        raise gate.unknown_certificate(*shown, host_of(request), DOOR)
    raise Unauthenticated(_WHO_ASKS)


def known(service: TaskQueueService, request: Any) -> Identity:
    """
    Who sends a request.  One of whom nobody knows that counts among those of its address: to be
    refused costs the broker something too.

    @raises Unauthenticated: as L{identify} does.
    @raises RateLimited: as L{identify} does, or such requests come too often.
    """
    try:
        return identify(service, request)
    except Unauthenticated:
        service.fair_use.request(nobody(), host_of(request))
        raise


def nobody() -> Identity:
    """Whoever is not known: may do nothing but what is open."""
    return Identity("nobody", "everyone", Permissions({}))


def _check_once(request: Any) -> None:
    """
    Of several, a proxy might look at another one than the broker.

    @raises Unauthenticated: C{Authorization} is given more than once.
    """
    if len(request.requestHeaders.getRawHeaders("authorization", ())) > 1:
        raise Unauthenticated("authorization is given more than once: give one key")


def _key_in(authorization: str) -> str:
    """
    The key in an C{Authorization}.

    @raises Unauthenticated: it is something else.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer":
        # Where the word was forgotten, a key stands there: nothing of that is repeated.
        kind = (
            f"is of the kind {scheme}" if scheme.lower() in _OTHER_KINDS else "is of no known kind"
        )
        raise Unauthenticated(
            f"authorization {kind}, and must begin with Bearer: a key stands there, as in "
            f"Bearer tq_..., and no password"
        )
    return secret.strip()


def _check_host(request: Any) -> None:
    """
    Nobody has said that everybody may come in, so that the broker is reached on this machine only.
    A browser on it can be led here by a page of another site, whose name is then in the request.

    @raises Unauthenticated: the name in the request is none that is known in this network only.
    """
    host = _PORT.sub("", request.getHeader("host") or "").strip("[]").lower()
    if "." not in host.rstrip(".") or host.endswith(_OWN_DOMAINS):
        return
    try:
        ip_address(host)
    except ValueError:
        raise Unauthenticated(
            f"this broker is open to whoever is on its machine, and {host[:100]!r} may be the name "
            f"of another site: make a key (taskqueue keys create), or say in [access] "
            f"authentication = open_to_everyone that it is meant so"
        ) from None


def session_token(request: Any) -> str | None:
    """The cookie by which somebody is known who has signed in, where a request has no key."""
    token = request.getCookie(COOKIE)
    if token is None or request.getHeader("authorization") is not None:
        return None
    return str(token.decode("latin-1"))


def host_of(request: Any) -> str:
    """The address that a request came from."""
    return str(getattr(request.getClientAddress(), "host", "local"))


class Somebody:
    """Who sends a request, for who asks what may be done."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.restricted = permissions_of(identity)


def check(service: TaskQueueService, request: Any, action: Action) -> TaskQueueError | None:
    """
    Whether whoever sends a request may do something everywhere.

    @return: why not; C{None}: it may.
    """
    try:
        somebody = Somebody(known(service, request))
    except (ClientError, Unauthenticated) as error:
        return error
    permissions = somebody.restricted
    if permissions is None or permissions.everywhere(action):
        return None
    refused: Forbidden = forbidden(somebody, action, "*")
    return refused
