"""
Who may do what: callers whose permissions do not allow everything are asked about here.

A caller that may do everything has no C{restricted} permissions: that is one look, and nothing
else of this costs it anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import OF_NAMESPACES, WITHOUT_QUEUE, Action, Permissions
from taskqueue.errors import Forbidden
from taskqueue.operations.needs import NEEDS, Need, Where
from taskqueue.wire import MessageType


class Asking(Protocol):
    """Whoever asks for something."""

    @property
    def identity(self) -> Identity:
        """Who it is."""

    @property
    def restricted(self) -> Permissions | None:
        """What it may do; C{None}: everything."""


def permissions_of(identity: Identity) -> Permissions | None:
    """What somebody may do; C{None}: everything."""
    return None if identity.unrestricted else identity.permissions


def admit(caller: Asking, need: Need, values: Mapping[str, Any]) -> None:
    """
    Let a caller ask for an operation.  What depends on single tasks, leases or items, the
    operation looks at itself.

    @param need: what the operation needs.
    @param values: the fields of the request, checked.
    @raises Forbidden: it may not.
    """
    permissions = caller.restricted
    if permissions is None or need.action is None:
        return
    if need.where is Where.BROKER:
        require(caller, need.action, None)
    elif need.where is Where.QUEUE:
        require(caller, need.action, values["queue"])
    elif need.where is Where.NAMESPACE:
        require(caller, need.action, values["namespace"])
    elif not permissions.anywhere(need.action):
        raise forbidden(caller, need.action)


def action_of(kind: MessageType) -> Action:
    """The action that an operation needs."""
    action = NEEDS[kind].action
    assert action is not None, kind
    return action


def may(caller: Asking, action: Action, queue: str) -> bool:
    """Whether an action is allowed in a queue."""
    permissions = caller.restricted
    return permissions is None or permissions.allows(action, queue)


def require(caller: Asking, action: Action, queue: str | None) -> None:
    """
    @param queue: C{None} for all of them.
    @raises Forbidden: the action is not allowed there.
    """
    permissions = caller.restricted
    if permissions is not None and not permissions.allows(action, queue):
        raise forbidden(caller, action, "*" if queue is None else queue)


def require_each(caller: Asking, action: Action, queues: Iterable[str]) -> None:
    """
    @raises Forbidden: the action is not allowed in one of these queues.
    """
    if caller.restricted is not None:
        for queue in queues:
            require(caller, action, queue)


def forbidden(caller: Asking, action: Action, queue: str | None = None) -> Forbidden:
    """
    The error for what is not allowed.

    @param queue: where it is not; C{*} for everywhere, C{None} where it is allowed nowhere.
    """
    if action in WITHOUT_QUEUE or queue is None:
        missing, place = action.value, None
    else:
        missing, place = f"{action.value}:{queue}", None if queue == "*" else queue
    where = {"namespace" if action in OF_NAMESPACES else "queue": place}
    identity = caller.identity
    return Forbidden(
        f"{identity.kind} {identity.name!r} may not do this: it needs the permission {missing}",
        action=action.value,
        **where,  # type: ignore[arg-type]  # none of the named parameters
    )
