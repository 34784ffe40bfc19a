"""
What axe-core has to say about a page.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

#: Rules of WCAG 2.2 AA, and what axe-core holds for good practice.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: Rules about colours: all that can differ between themes.
COLOURS = ("color-contrast", "link-in-text-block")

#: What must not be there.
SERIOUS = frozenset({"serious", "critical"})


@cache
def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def _told(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    shown = "; ".join(
        f"{' '.join(map(str, n['target']))}: {n['failureSummary']}" for n in nodes[:5]
    )
    return f"{violation['impact']} {violation['id']} at {len(nodes)} places: {shown}"


def violations(page: Page, *rules: str) -> list[str]:
    """
    The rules that the page breaks seriously, each with where and how.

    axe-core is evaluated in the page as a debugger would, which no policy of
    the page's forbids and no request is made for.

    @param rules: look at these only.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": _TAGS}
    run = "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})"
    found = page.evaluate(run, only)
    return [_told(v) for v in found["violations"] if v["impact"] in SERIOUS]
