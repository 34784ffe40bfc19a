"""The fetcher, against a server of ours that is two hosts."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from examples.fetcher.tasks import fetch, pause_asked, rules
from taskqueue import Discard, PermanentFailure, Retry
from tests.examples.running import ExampleTestCase


class Site(ThreadingHTTPServer):
    """
    A server that notes how it is treated.

    @ivar visits: how often each path was asked for.
    @ivar order: paths, by host, in the order in which they were asked for.
    @ivar most_at_once: requests under way at a time, by host.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.lock = threading.Lock()
        self.visits: Counter[str] = Counter()
        self.order: dict[str, list[str]] = {}
        self.now: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.pause = threading.Event()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_address[1]}{path}"


class Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site, host = self.server, self.headers["Host"]
        with site.lock:
            site.visits[self.path] += 1
            visit = site.visits[self.path]
            if self.path != "/robots.txt":
                site.order.setdefault(host, []).append(self.path)
                site.now[host] += 1
                site.most_at_once[host] = max(site.most_at_once[host], site.now[host])
        status, headers, body = self.answer(visit)
        site.pause.wait(0.05)  # long enough to see two at a time
        with site.lock:
            if self.path != "/robots.txt":
                site.now[host] -= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, visit: int) -> tuple[int, dict[str, str], bytes]:
        if self.path == "/robots.txt":
            return 200, {}, b"User-agent: *\nDisallow: /private\n"
        if self.path == "/busy" and visit == 1:
            return 429, {"Retry-After": "0"}, b""
        if self.path == "/gone":
            return 404, {}, b""
        if self.path == "/broken":
            return 500, {}, b""
        return 200, {}, b"page " + self.path.encode()

    def log_message(self, *args: Any) -> None:
        pass


class Visiting:
    """A site for a test."""

    def visit(self, case: Any) -> Site:
        site = Site()
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        case.addCleanup(thread.join)
        case.addCleanup(site.server_close)
        case.addCleanup(site.shutdown)
        rules.cache_clear()
        return site


class FetchTests(SynchronousTestCase, Visiting):
    def test_what_comes(self) -> None:
        site = self.visit(self)
        page = fetch(site.url("/a"), 0)
        self.assertEqual((page["status"], page["bytes"]), (200, len("page /a")))

    def test_a_busy_server_is_left_alone(self) -> None:
        error = self.assertRaises(Retry, fetch, self.visit(self).url("/busy"), 0)
        self.assertEqual(error.in_s, 0)

    def test_as_long_as_it_asks(self) -> None:
        for value, pause_s in (("7", 7.0), ("", None), ("tomorrow", None), ("999999", 3600.0)):
            self.assertEqual(pause_asked({"Retry-After": value}), pause_s)

    def test_what_no_retry_mends(self) -> None:
        site = self.visit(self)
        self.assertRaises(PermanentFailure, fetch, site.url("/gone"), 0)
        self.assertRaises(OSError, fetch, site.url("/broken"), 0)

    def test_what_is_not_wanted(self) -> None:
        site = self.visit(self)
        self.assertRaises(Discard, fetch, site.url("/private/a"), 0)
        self.assertEqual(site.visits["/private/a"], 0)

    def test_the_pause(self) -> None:
        began = time.monotonic()
        fetch(self.visit(self).url("/a"), 0.2)
        self.assertGreaterEqual(time.monotonic() - began, 0.2)


class ExampleTests(ExampleTestCase, Visiting):
    def test_two_hosts(self) -> None:
        site = self.visit(self)
        self.begin("examples.fetcher.tasks:app", "pages", concurrency=4)
        paths = ["/1", "/busy", "/gone", "/private", "/2"]
        urls = [site.url(path, host) for path in paths for host in ("127.0.0.1", "localhost")]
        done = self.program("examples.fetcher.run", "--pause", "0.05", *urls)
        self.assertEqual(done.returncode, 1, done.stderr)
        fetched = sorted(
            line.rsplit("/", 1)[1] for line in done.stdout.splitlines() if "200" in line
        )
        self.assertEqual(fetched, ["1", "1", "2", "2", "busy", "busy"], done.stdout)
        self.assertEqual(done.stdout.count("the server says 404"), 2)
        self.assertEqual(done.stdout.count("robots.txt does not want that"), 2)
        self.assertEqual(set(site.most_at_once.values()), {1})
        for order in site.order.values():
            self.assertEqual([order[0], order[-1]], ["/1", "/2"])
