"""
The files of the dashboard, as they are sent.

They are read once.  Their addresses hold a digest of all of them, so that a browser
may keep each for good: when a file changes, all of them have other addresses.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml; charset=utf-8",
    "LICENSE": "text/plain; charset=utf-8",
}


class Asset(NamedTuple):
    """
    A file.

    @ivar packed: its content as gzip has it.
    """

    media: str
    content: bytes
    packed: bytes


class Assets(NamedTuple):
    """
    All files.

    @ivar digest: of all of them, as their addresses hold it.
    @ivar found: each by its path below the folder.
    """

    digest: str
    found: Mapping[str, Asset]

    def address(self, path: str) -> str:
        """Where a file is to be found."""
        return f"/assets/{self.digest}/{path}"

    @property
    def modules(self) -> list[str]:
        """The paths of all modules that a page loads."""
        return [path for path in self.found if path.endswith(".js") and path != "theme.js"]


@cache
def load() -> Assets:
    """Read all files."""
    folder = files("taskqueue.web.dashboard").joinpath("assets")
    found = {path: _asset(path, file.read_bytes()) for path, file in sorted(_walk(folder, ""))}
    digest = blake2b(digest_size=8)
    for path, asset in found.items():
        digest.update(f"{path}\0{len(asset.content)}\0".encode())
        digest.update(asset.content)
    return Assets(digest.hexdigest(), found)


def _asset(path: str, content: bytes) -> Asset:
    media = _TYPES[path.rpartition(".")[2]]
    return Asset(media, content, gzip.compress(content, mtime=0))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield f"{prefix}{entry.name}", entry
