"""
Endpoints: what can be asked under which path, declared once, for the router, the
checks and the document.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from taskqueue.operations.fields import Check, Form, any_queue, name_text, task_id
from taskqueue.operations.schemas import Schema
from taskqueue.operations.values import value_key
from taskqueue.web.api.answers import JSON, Reply

if TYPE_CHECKING:
    from taskqueue.web.api.visits import Visit

#: Where all paths begin.
ROOT = "/api/v1"

#: Carries out a request; C{None}: it answers by itself.
Run = Callable[["Visit"], Coroutine[Any, Any, Reply | None]]

#: What the parts of paths that stand in braces may be.
PLACES: Mapping[str, Check] = {
    "id": task_id,
    "queue": any_queue,
    "worker": name_text,
    "name": name_text,
    "namespace": name_text,
    "key": value_key,
}

NOTHING = Form({})


class Content(NamedTuple):
    """
    What an answer of one status holds.

    @ivar schema: the name of a component, or a schema; C{None} for no body.
    @ivar headers: name to its meaning.
    @ivar links: name of what can be asked next, to where its place stands.
    """

    meaning: str
    schema: str | Schema | None = None
    media: str = JSON
    headers: Mapping[str, str] = {}
    links: Mapping[str, Mapping[str, str]] = {}


def links(place: str, found: str, *runs: Run) -> dict[str, dict[str, str]]:
    """
    What can be asked next.

    @param place: the name in their paths.
    @param found: where its value stands, as an OpenAPI runtime expression.
    """
    return {run.__name__: {place: found} for run in runs}


class Body(NamedTuple):
    """
    What a request may hold.

    @ivar form: its fields; C{None} where an operation checks them.
    @ivar schema: of the body, where it is not that of the form.
    @ivar needed: whether there must be one.
    """

    form: Form | None
    schema: Schema | None = None
    needed: bool = False


class Endpoint(NamedTuple):
    """
    One thing that can be asked.

    @ivar path: below L{ROOT}, with the names of L{PLACES} in braces.
    @ivar tag: the chapter that it belongs to.
    @ivar answers: by status, beside those that follow from the rest.
    @ivar refusals: statuses of problems, beside those that every endpoint has.
    @ivar conditions: headers of conditional requests that it heeds.
    @ivar open: whoever comes may ask, and is not asked who it is.
    """

    method: str
    path: str
    tag: str
    run: Run
    summary: str
    answers: Mapping[int, Content]
    query: Form = NOTHING
    body: Body | None = None
    refusals: tuple[int, ...] = ()
    open: bool = False
    conditions: tuple[str, ...] = ()

    @property
    def places(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def name(self) -> str:
        """What it is called in the document: unlike all others."""
        return self.run.__name__.strip("_")
