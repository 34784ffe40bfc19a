"""
Values under keys: looking, putting, deleting.

The entity tag of a value is its version: so conditions are those of HTTP.
"""

from __future__ import annotations

import re

from taskqueue.errors import BadRequest
from taskqueue.operations import values as operations
from taskqueue.operations.fields import LARGEST_INTEGER, Form
from taskqueue.operations.schemas import schema_of
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply, page_of, readable
from taskqueue.web.api.endpoints import Body, Content, Endpoint
from taskqueue.web.api.problems import Problem, problem_of_view
from taskqueue.web.api.reading import with_bytes
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

_TAG = re.compile(r'"(0|[1-9][0-9]{0,15})"')

_IF_MATCH, _IF_NONE_MATCH = "If-Match", "If-None-Match"


async def list_namespaces(visit: Visit) -> Reply:
    """The namespaces that have values, with how many each has."""
    answer = await visit.ask(MessageType.LIST_NAMESPACES, visit.query)
    following = answer["next"]
    return page_of("namespaces", answer["namespaces"], following, visit.next_page(following))


async def list_values(visit: Visit) -> Reply:
    """List values in the order of their keys."""
    namespace = visit.places["namespace"]
    answer = await visit.ask(MessageType.LIST_VALUES, {**visit.query, "namespace": namespace})
    following = answer["next"]
    views = [readable(view, "value") for view in answer["values"]]
    return page_of("values", views, following, visit.next_page(following))


async def get_value(visit: Visit) -> Reply:
    """
    One value; with If-None-Match and its entity tag, only where it has changed.  With wait_s, wait
    until there is one, or another one.
    """
    view, known = await _value(visit), visit.request.getHeader(_IF_NONE_MATCH)
    wait_s = visit.query.get("wait_s", 0.0)
    if wait_s > 0 and (known is None if view is None else _is(view, known)):
        view = await _change(visit, view, wait_s)
    if view is None:
        raise _missing(visit)
    if _is(view, known):
        return Reply(304, headers={"etag": _tag(view)})
    return _shown(visit, view)


async def _value(visit: Visit) -> Header | None:
    [view] = (await visit.ask(MessageType.GET_VALUES, _keys(visit)))["values"]
    found: Header | None = view
    return found


async def _change(visit: Visit, view: Header | None, wait_s: float) -> Header | None:
    """
    Wait until the value is another one, but only while somebody waits for the answer.

    @return: it as it is then; C{view}, where the time is over.
    """
    visit.wait(lambda: visit.service.end_value_waits(visit.visitor))
    known = {visit.places["key"]: 0 if view is None else view["version"]}
    header = {"namespace": visit.places["namespace"], "known": known, "wait_s": wait_s}
    answer = await visit.ask(MessageType.WAIT_VALUES, header)
    for found in answer["values"]:
        return dict(found)
    return None if answer["gone"] else view


def _tag(view: Header) -> str:
    return f'"{view["version"]}"'


def _is(view: Header, known: str | None) -> bool:
    """Whether a value is as If-None-Match says."""
    if known is None:
        return False
    return known.strip() == "*" or _tag(view) in re.findall(r'"[^"]*"', known)


def _shown(visit: Visit, view: Header) -> Reply:
    namespace = {"namespace": visit.places["namespace"]}
    return Reply(200, namespace | readable(view, "value"), {"etag": _tag(view)})


async def take_value(visit: Visit) -> Reply:
    """Get a value and forget it in one: of several who ask at a time, one gets it."""
    [view] = (await visit.ask(MessageType.TAKE_VALUE, dict(visit.places)))["values"]
    if view is None:
        raise _missing(visit)
    return _shown(visit, view)


async def increase_value(visit: Visit) -> Reply:
    """Add to a number, in one step; where there is none, it counts as 0."""
    answer = await visit.ask(MessageType.INCREASE_VALUE, {**visit.places, **visit.body})
    return Reply(200, {**visit.places, **answer}, {"etag": _tag(answer)})


async def put_value(visit: Visit) -> Reply:
    """
    Put a value under a key: with If-None-Match: * only where there is none, with If-Match
    only where it has that entity tag (or, with *, any).
    """
    item = with_bytes(visit.body, "value")
    for name in item:
        if name in ("namespace", "key", "only_if", "version"):
            raise BadRequest(
                f"{name} does not belong into the body: namespace and key stand in the path,"
                f" conditions in If-Match and If-None-Match",
                field=name,
            )
    if "value" not in item:
        raise BadRequest(
            "the body has no value: give value, value_json or value_b64", field="value"
        )
    rows, _ = visit.service.values_of(visit.places["namespace"], [visit.places["key"]])
    item = {**item, **visit.places, **_condition(visit)}
    answer = await visit.ask(MessageType.PUT_VALUES, {"values": [item]})
    for error in answer.get("errors", ()):
        raise problem_of_view(error)
    [version] = answer["versions"]
    if version is None:
        raise _unlike(visit)
    location = visit.address(visit.path).partition("?")[0]
    headers = {"etag": f'"{version}"', "location": location}
    return Reply(201 if rows[0] is None else 200, {**visit.places, "version": version}, headers)


async def delete_value(visit: Visit) -> Reply:
    """Forget a value: with If-Match only where it has that entity tag."""
    condition = _condition(visit)
    if "only_if" in condition and condition["only_if"] == "absent":
        raise BadRequest(f"{_IF_NONE_MATCH} has no meaning here")
    header = _keys(visit)
    if "version" in condition:
        header["version"] = condition["version"]
    answer = await visit.ask(MessageType.DELETE_VALUES, header)
    if not answer["deleted"]:
        raise _unlike(visit) if condition else _missing(visit)
    return Reply(204)


def _keys(visit: Visit) -> Header:
    return {"namespace": visit.places["namespace"], "keys": [visit.places["key"]]}


def _condition(visit: Visit) -> Header:
    """
    What the headers say of the value that must be there.

    @raises BadRequest: that is not known here.
    """
    match = visit.request.getHeader(_IF_MATCH)
    none_match = visit.request.getHeader(_IF_NONE_MATCH)
    if match is not None and none_match is not None:
        raise BadRequest(f"{_IF_MATCH} and {_IF_NONE_MATCH} are both given: give one of them")
    if none_match is not None:
        if none_match.strip() != "*":
            raise BadRequest(f"{_IF_NONE_MATCH} is {none_match[:60]!r}, expected *")
        return {"only_if": "absent"}
    if match is None:
        return {}
    if match.strip() == "*":
        return {"only_if": "present"}
    tag = _TAG.fullmatch(match.strip())
    if tag is None or not 0 < int(tag[1]) <= LARGEST_INTEGER:
        raise BadRequest(f'{_IF_MATCH} is {match[:60]!r}, expected a version such as "17", or *')
    return {"version": int(tag[1])}


def _missing(visit: Visit) -> Problem:
    namespace, key = visit.places["namespace"], visit.places["key"]
    return Problem(404, "NOT_FOUND", f"there is no value {key!r} in {namespace!r}")


def _unlike(visit: Visit) -> Problem:
    namespace, key = visit.places["namespace"], visit.places["key"]
    return Problem(
        412,
        "PRECONDITION_FAILED",
        f"value {key!r} of {namespace!r} is not as {_IF_MATCH} or {_IF_NONE_MATCH} says:"
        f" it is unchanged",
    )


_BODY = {
    "type": "object",
    "properties": {**shapes.VALUES, "expires_s": schema_of(operations.EXPIRES_S)},
    "additionalProperties": False,
}

_INCREASE = Form(
    {name: operations.INCREASE.fields[name] for name in ("by", "expires_s")},
)

_ETAG = {"ETag": "its version, in quotes"}
_PLACES = {"namespace": "$request.path.namespace", "key": "$request.path.key"}
_PATH = "/values/{namespace}/{key}"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/values",
        "Values",
        list_namespaces,
        "List the namespaces that have values",
        {200: Content("A page of them.", "NamespacePage", headers={"Link": "the next page"})},
        query=operations.NAMESPACES,
    ),
    Endpoint(
        "GET",
        "/values/{namespace}",
        "Values",
        list_values,
        "List values",
        {200: Content("A page of them.", "ValuePage", headers={"Link": "the next page"})},
        query=operations.LISTED,
    ),
    Endpoint(
        "GET",
        _PATH,
        "Values",
        get_value,
        "Get a value",
        {
            200: Content("The value.", "Value", headers=_ETAG),
            304: Content("It is as it was."),
        },
        query=Form({"wait_s": operations.WAIT.fields["wait_s"]}),
        refusals=(404,),
        conditions=(_IF_NONE_MATCH,),
    ),
    Endpoint(
        "PUT",
        _PATH,
        "Values",
        put_value,
        "Put a value",
        {
            201: Content(
                "There was none.",
                "PutValue",
                headers={**_ETAG, "Location": "its address"},
                links={run.__name__: dict(_PLACES) for run in (get_value, delete_value)},
            ),
            200: Content("There was one.", "PutValue", headers=_ETAG),
        },
        body=Body(None, _BODY, needed=True),
        refusals=(412, 413, 507),
        conditions=(_IF_MATCH, _IF_NONE_MATCH),
    ),
    Endpoint(
        "DELETE",
        _PATH,
        "Values",
        delete_value,
        "Forget a value",
        {204: Content("It is gone.")},
        refusals=(404, 412),
        conditions=(_IF_MATCH,),
    ),
    Endpoint(
        "POST",
        f"{_PATH}/take",
        "Values",
        take_value,
        "Get and forget a value",
        {200: Content("The value, which is gone now.", "Value", headers=_ETAG)},
        body=Body(Form({})),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        f"{_PATH}/increase",
        "Values",
        increase_value,
        "Add to a number",
        {200: Content("The sum.", "Increased", headers=_ETAG)},
        body=Body(_INCREASE),
        refusals=(409, 507),
    ),
)
