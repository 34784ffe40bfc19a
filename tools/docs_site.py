"""
What mkdocs is told beyond mkdocs.yml: pages may link to files of the checkout
that stand outside docs/, and the reference made by pydoctor is part of the site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

#: Names the folder with pydoctor's pages; without it they are left out.
API_FOLDER = "TASKQUEUE_DOCS_API"

#: Where the files outside docs/ stand in the site.
SOURCE = "source"

_LINK = re.compile(r"\]\(((?:\.\./)+)([^)#]+)((?:#[^)]*)?)\)")


def climbs_out(page: str, ups: str) -> bool:
    """Whether so many C{../} lead from C{page} (a path in docs/) out of docs/."""
    return ups.count("../") == page.count("/") + 1


def retarget(page: str, markdown: str) -> str:
    """The text of C{page} with its links out of docs/ led to L{SOURCE}."""

    def led(link: re.Match[str]) -> str:
        ups, path, anchor = link.groups()
        if not climbs_out(page, ups):
            return link[0]
        return f"]({ups.removeprefix('../')}{SOURCE}/{shown_as(path)}{anchor})"

    return _LINK.sub(led, markdown)


def shown_as(path: str) -> str:
    """Under which name the site has a file: one that browsers show, not run or fetch."""
    target = ROOT / path
    if target.is_dir():
        return f"{path.rstrip('/')}/README.md.txt"
    return f"{path}.txt"


def outside(page: str, markdown: str) -> Iterator[tuple[str, Path]]:
    """The files of the checkout that C{page} links to: name in the site, file."""
    for ups, path, _ in _LINK.findall(markdown):
        if climbs_out(page, ups):
            file = ROOT / path
            file = file / "README.md" if file.is_dir() else file
            if file.is_file():
                yield f"{SOURCE}/{shown_as(path)}", file


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the linked files and the reference to what mkdocs found."""
    linked: dict[str, Path] = {}
    for file in files.documentation_pages():
        linked.update(outside(file.src_uri, file.content_string))
    for name, path in linked.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    api = os.environ.get(API_FOLDER)
    if api:
        for path in sorted(Path(api).rglob("*")):
            if path.is_file():
                name = f"api/{path.relative_to(api).as_posix()}"
                files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of each page."""
    return retarget(page.file.src_uri, markdown)
