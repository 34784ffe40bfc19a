"""
The API for programs and for people who look around: an OpenAPI 3.1 document, made
of the declarations that requests are checked with, and a page that shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from taskqueue import __version__
from taskqueue.operations.schemas import schema_of
from taskqueue.strictjson import dumps
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import JSON, Reply
from taskqueue.web.api.endpoints import PLACES, ROOT, Content, Endpoint
from taskqueue.web.api.problems import MEDIA
from taskqueue.web.api.visits import Visit
from taskqueue.web.credentials import COOKIE

Json = dict[str, Any]

#: What may be wrong with any request.
_ALWAYS = (400, 406, 500, 503)

_REFUSALS: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "The broker does not know who asks.",
    403: "It is not allowed; or a page of another site asked for this; or HTTP changes nothing.",
    404: "There is no such thing.",
    405: "This path does not have this method.",
    406: "Accept excludes what there is.",
    409: "It is not in a state that allows this.",
    412: "It is not as If-Match or If-None-Match says.",
    413: "The payload, the batch or the answer is too large.",
    415: "The body is not declared as JSON.",
    422: "A field, parameter or name has a value that it cannot have.",
    429: "The queue is full, or too much was asked; Retry-After says when to try again.",
    500: "The broker failed unexpectedly; its log says why.",
    503: "Not now: the store fails or the broker stops; Retry-After says when to try again.",
    507: "There is no room for more values.",
}

_INFO: Json = {
    "title": "taskqueue",
    "version": __version__,
    "summary": "A task-queue broker that does not lose tasks",
    "description": (
        "The operations of the broker as resources. Errors are problem details (RFC 9457) with "
        "a stable code. Moments are seconds since 1970-01-01 UTC; durations end in _s."
    ),
    "license": {"name": "MIT", "identifier": "MIT"},
}


#: How to say who one is.
_SCHEMES: Mapping[str, Json] = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key, as the command makes them."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE.decode("ascii"),
        "description": "The cookie that POST /session sets.",
    },
    "certificate": {"type": "mutualTLS", "description": "A client's certificate."},
}


def document(endpoints: Sequence[Endpoint]) -> Json:
    """The OpenAPI document of these endpoints."""
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    tags = dict.fromkeys(endpoint.tag for endpoint in endpoints)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": ROOT}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": dict(shapes.COMPONENTS), "securitySchemes": dict(_SCHEMES)},
        # Any one of these; none, where the broker is open to everyone.
        "security": [*({name: []} for name in _SCHEMES), {}],
    }


def _operation(endpoint: Endpoint) -> Json:
    operation: Json = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": (endpoint.run.__doc__ or "").strip(),
        "tags": [endpoint.tag],
        **({"security": []} if endpoint.open else {}),
        "parameters": list(_parameters(endpoint)),
        "responses": {
            **{str(status): _answer(content) for status, content in endpoint.answers.items()},
            **{str(status): _refusal(status) for status in sorted(_refusals(endpoint))},
        },
    }
    if endpoint.body is not None:
        form, schema, needed = endpoint.body
        if schema is None:
            schema = shapes.fields_of(form) if form is not None else {"type": "object"}
        operation["requestBody"] = {"required": needed, "content": {JSON: {"schema": schema}}}
    return operation


def _parameters(endpoint: Endpoint) -> Iterator[Json]:
    for place in endpoint.places:
        schema = schema_of(PLACES[place])
        yield {"name": place, "in": "path", "required": True, "schema": schema}
    for name, check in endpoint.query.fields.items():
        schema = schema_of(check)
        parameter: Json = {"name": name, "in": "query", "schema": _of_text(schema)}
        if name in endpoint.query.required:
            parameter["required"] = True
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter
    for name in endpoint.conditions:
        yield {"name": name, "in": "header", "schema": {"type": "string"}}


def _of_text(schema: Json) -> Json:
    """A parameter is text: it cannot be null, it can only be missing."""
    kind = schema.get("type")
    if type(kind) is list:
        return {**schema, "type": next(one for one in kind if one != "null")}
    return schema


def _refusals(endpoint: Endpoint) -> set[int]:
    found = {*_ALWAYS, *endpoint.refusals, 429}
    if not endpoint.open:
        found |= {401, 403}
    if endpoint.method != "GET":
        found.add(403)
    if endpoint.body is not None or endpoint.method != "GET":
        found |= {413, 415, 422}
    # Every query is refused that has what is not known.
    return found | {422}


def _answer(content: Content) -> Json:
    answer: Json = {"description": content.meaning}
    if content.schema is not None:
        schema = content.schema
        if type(schema) is str:
            schema = shapes.component(schema)
        answer["content"] = {content.media: {"schema": schema}}
    if content.headers:
        answer["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in content.headers.items()
        }
    if content.links:
        answer["links"] = {
            name: {"operationId": name, "parameters": dict(places)}
            for name, places in content.links.items()
        }
    return answer


def _refusal(status: int) -> Json:
    schema = shapes.component("Problem")
    refusal: Json = {"description": _REFUSALS[status], "content": {MEDIA: {"schema": schema}}}
    if status in (429, 503, 507):
        meaning = {"description": "seconds", "schema": {"type": "string"}}
        refusal["headers"] = {"Retry-After": meaning}
    if status == 401:
        meaning = {"description": "how to say who one is", "schema": {"type": "string"}}
        refusal["headers"] = {"WWW-Authenticate": meaning}
    return refusal


# --- as pages ------------------------------------------------------------------------

#: What the page may load: its own script and style, and the document.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def _asset(name: str) -> bytes:
    return files("taskqueue.web.api").joinpath("assets", name).read_bytes()


async def show_page(visit: Visit) -> Reply:
    """This API, for people."""
    return _file("docs.html", "text/html")


async def show_script(visit: Visit) -> Reply:
    """What the page does."""
    return _file("docs.js", "text/javascript")


async def show_style(visit: Visit) -> Reply:
    """What the page looks like."""
    return _file("docs.css", "text/css")


def _file(name: str, media: str) -> Reply:
    headers = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer"}
    return Reply(200, _asset(name), headers, f"{media}; charset=utf-8", kept=True)


_TEXT = {"type": "string"}

#: What is not part of the document: pages for people.
PAGES = (
    Endpoint("GET", "/docs", "", show_page, "", {200: Content("", _TEXT, "text/html")}, open=True),
    Endpoint(
        "GET",
        "/docs.js",
        "",
        show_script,
        "",
        {200: Content("", _TEXT, "text/javascript")},
        open=True,
    ),
    Endpoint(
        "GET", "/docs.css", "", show_style, "", {200: Content("", _TEXT, "text/css")}, open=True
    ),
)


def document_endpoint(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The endpoint that shows the document of C{endpoints}, and of itself."""
    shown: list[bytes] = []

    async def get_document(visit: Visit) -> Reply:
        """This API, for programs."""
        return Reply(200, shown[0], kept=True)

    answers = {
        200: Content("The document.", {"type": "object"}),
        304: Content("It has not changed."),
    }
    endpoint = Endpoint(
        "GET", "/openapi.json", "Document", get_document, "This document", answers, open=True
    )
    shown.append(dumps(document([*endpoints, endpoint])) + b"\n")
    return endpoint
