"""
What a browser gets for an address of the dashboard: always the same document, in
which a script then shows what the address stands for; and the files that it loads.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from html import escape
from typing import Any

from twisted.web import http
from twisted.web.resource import Resource

from taskqueue import __version__
from taskqueue.service import TaskQueueService
from taskqueue.web.dashboard.assets import Asset, load
from taskqueue.web.pages import Missing, Page

#: The places of the dashboard, and whether there is a page for each thing at it.
PLACES = {
    "queues": True,
    "tasks": True,
    "workers": True,
    "dead-letters": False,
    "periodic": False,
    "broker": False,
    "welcome": False,
    "sign-in": False,
}

#: What the document may do: nothing but load and ask what comes from this broker.  A
#: script sets styles by the object model, which needs no permission here.
_POLICY = (
    b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)

#: A year: files with a digest in their address never change.
_FOR_GOOD = b"public, max-age=31536000, immutable"

_DOCUMENT = """\
<!doctype html>
<html lang="en" data-broker="{name}" data-version="{version}" data-api="{api}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
{styles}
<script src="{theme}"></script>
{modules}
<script type="module" src="{app}"></script>
</head>
<body>
<div id="app"></div>
<noscript><p class="noscript">The dashboard is a script, and this browser runs none. The
<a href="/api/v1/docs">REST API</a> and <code>taskqueue stats</code> say the same.</p></noscript>
</body>
</html>
"""

_STYLES = (
    "vendor/uplot.css",
    "style/base.css",
    "style/parts.css",
    "style/pages.css",
    "style/operations.css",
)


@cache
def document(name: str, api: str) -> bytes:
    """
    The document that every address of the dashboard answers.

    @param name: the broker's.
    @param api: what may be asked, C{"full"} or C{"read"}.
    """
    assets = load()
    styles = [f'<link rel="stylesheet" href="{assets.address(path)}">' for path in _STYLES]
    # Named here, all are fetched at once; else each would wait for who imports it.
    modules = [
        f'<link rel="modulepreload" href="{assets.address(path)}">' for path in assets.modules
    ]
    text = _DOCUMENT.format(
        name=escape(name),
        version=escape(__version__),
        api=api,
        icon=assets.address("icon.svg"),
        theme=assets.address("theme.js"),
        app=assets.address("app.js"),
        styles="\n".join(styles),
        modules="\n".join(modules),
    )
    return text.encode("utf-8")


class DashboardPage(Page):
    """
    An address of the dashboard.
    """

    def __init__(self, service: TaskQueueService, *, has_children: bool = False) -> None:
        """
        @param has_children: whether there are addresses one level below it.
        """
        super().__init__()
        self._service = service
        self._has_children = has_children

    def getChild(self, path: bytes, request: Any) -> Resource:
        # A slash at the end means what there is without it.
        if path == b"" or self._has_children:
            return DashboardPage(self._service) if not request.postpath else Missing()
        return Missing()

    def render_GET(self, request: Any) -> bytes:
        """The document."""
        for name, value in _HEADERS:
            request.setHeader(name, value)
        config = self._service.config
        content = document(config.broker.name, config.http.api)
        return _send(request, content, b"text/html; charset=utf-8", b"no-cache")


class DashboardRoot(Page):
    """
    The root of a site with a dashboard: other pages are put into it, and what is none
    of them may be a place of the dashboard.
    """

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def getChild(self, path: bytes, request: Any) -> Resource:
        if path == b"assets":
            return AssetsPage()
        has_children = PLACES.get(path.decode("ascii", "replace"))
        if has_children is None:
            return super().getChild(path, request)
        return DashboardPage(self._service, has_children=has_children)


class AssetsPage(Page):
    """
    All that is below C{/assets}.
    """

    def getChild(self, path: bytes, request: Any) -> Resource:
        assets = load()
        segments, request.postpath = [path, *request.postpath], []
        if segments[0] != assets.digest.encode("ascii"):
            return Missing()
        asset = assets.found.get(b"/".join(segments[1:]).decode("utf-8", "replace"))
        return Missing() if asset is None else AssetPage(asset)

    def render(self, request: Any) -> Any:
        return Missing().render(request)


class AssetPage(Page):
    """
    A file.
    """

    def __init__(self, asset: Asset) -> None:
        super().__init__()
        self._asset = asset

    def render_GET(self, request: Any) -> bytes:
        """The file, packed for who can unpack it."""
        asset = self._asset
        request.setHeader(b"vary", b"Accept-Encoding")
        content = asset.content
        if _takes_gzip(request.getHeader("accept-encoding") or ""):
            request.setHeader(b"content-encoding", b"gzip")
            content = asset.packed
        return _send(request, content, asset.media.encode("ascii"), _FOR_GOOD)


def _takes_gzip(accepted: str) -> bool:
    choices = [choice.replace(" ", "").lower() for choice in accepted.split(",")]
    return any(
        choice.partition(";")[0] == "gzip" and not choice.endswith(";q=0") for choice in choices
    )


def _send(request: Any, content: bytes, media: bytes, caching: bytes) -> bytes:
    """Set the headers of a file; its content, or nothing where the browser has it."""
    request.setHeader(b"content-type", media)
    request.setHeader(b"cache-control", caching)
    tag = b'"' + blake2b(content, digest_size=12).hexdigest().encode("ascii") + b'"'
    return b"" if request.setETag(tag) is http.CACHED else content


def prefers_html(accept: str | None) -> bool:
    """
    Whether a peer would rather have a page for people than JSON: it names
    C{text/html}, and likes it no less than JSON where it names that too.
    """
    liked = {"text/html": 0.0, "application/json": 0.0}
    for choice in (accept or "").lower().split(","):
        kind, *parameters = (part.strip() for part in choice.split(";"))
        if kind in liked:
            liked[kind] = _weight(parameters)
    return 0.0 < liked["text/html"] >= liked["application/json"]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
