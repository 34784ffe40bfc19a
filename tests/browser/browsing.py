"""
A real browser, and tests that look at pages with it.

Chromium as the system has it, driven by Playwright; L{tools.chromium} says which.
Where there is none, the tests skip and say so.  One browser serves all tests of a
process; each test has a context of its own, as a private window has.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tools.chromium import VARIABLE, find_chromium

#: Chromium must not phone home while it is looked at what pages ask for.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)

#: How long a page may take for what is expected of it, milliseconds.
PATIENCE_MS = 20_000

DESKTOP = (1280, 800)
PHONE = (390, 844)

#: Schemes of what a page has made itself.
_OWN = frozenset({"about", "blob", "data"})


class _Driver:
    """
    Playwright, and the one browser.

    Its calls run an event loop of asyncio below them, which counts as the running one of
    this thread ever after.  Other tests have loops of their own: so it counts only
    L{inside}.
    """

    def __init__(self, executable: str) -> None:
        self._playwright = sync_playwright().start()
        self._loop = asyncio.get_running_loop()
        self.browser: Browser = self._playwright.chromium.launch(
            executable_path=executable, args=FLAGS
        )
        self.leave()

    def enter(self) -> None:
        asyncio._set_running_loop(self._loop)

    def leave(self) -> None:
        asyncio._set_running_loop(None)

    def stop(self) -> None:
        self.enter()
        self.browser.close()
        self._playwright.stop()


@functools.cache
def _driver(executable: str) -> _Driver:
    driver = _Driver(executable)
    atexit.register(driver.stop)
    return driver


@contextmanager
def browsing() -> Iterator[Browser]:
    """
    The browser.

    @raises SkipTest: there is none on this machine.
    """
    executable = find_chromium()
    if executable is None:
        raise SkipTest(
            "no Chromium is installed (Debian: apt-get install chromium;"
            f" or let {VARIABLE} name its executable)"
        )
    driver = _driver(executable)
    driver.enter()
    try:
        yield driver.browser
    finally:
        driver.leave()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def new_context(
    browser: Browser, site: str, theme: str = "light", size: tuple[int, int] = DESKTOP, **how: Any
) -> BrowserContext:
    """A window in which nothing is remembered, of so many pixels, in a theme."""
    width, height = size
    context = browser.new_context(
        base_url=site,
        color_scheme=theme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        **how,
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


class BrowserCase(SynchronousTestCase):
    """
    Pages of a site, of which nothing untoward is heard.

    @cvar site: the address of the site, such as C{http://127.0.0.1:7781}.
    @ivar untoward: what the console was told by way of errors and warnings (the
        browser tells it what a Content-Security-Policy stopped), what was thrown, and
        what was asked of other hosts.  It must be empty when a test ends.
    """

    site = ""

    def setUp(self) -> None:
        self.untoward: list[str] = []
        self._pages: list[Page] = []
        self._expected: list[re.Pattern[str]] = []
        inside = browsing()
        self.browser = inside.__enter__()
        self.addCleanup(inside.__exit__, None, None, None)

    def tearDown(self) -> None:
        for page in self._pages:
            if not page.is_closed():
                page.evaluate("0")  # what the page said before is heard once this is answered
        self.assertEqual(self.untoward, [])

    def expect(self, pattern: str) -> None:
        """A test that breaks something on purpose says what the console will tell of it."""
        self._expected.append(re.compile(pattern))

    def visit(self, path: str = "/", **how: Any) -> Page:
        """
        Open a page in a window of its own.

        @param how: as for L{new_context}.
        """
        context = new_context(self.browser, self.site, **how)
        self.addCleanup(context.close)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._complain(f"thrown: {error.error}"))
        context.on("request", lambda request: self._request(request.url))
        page = context.new_page()
        self._pages.append(page)
        page.goto(path)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            self._complain(f"{message.type}: {message.text} ({where})")

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _OWN and parts.netloc != urlsplit(self.site).netloc:
            self._complain(f"asked of another host: {url}")

    def _complain(self, words: str) -> None:
        if not any(pattern.search(words) for pattern in self._expected):
            self.untoward.append(words)
