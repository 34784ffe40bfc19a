"""
Tests of the site: what is where, and what a peer may take.
"""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import __version__
from taskqueue.config import LimitsConfig
from taskqueue.logs import LogSettings
from taskqueue.web.pages import Page
from taskqueue.web.site import IDLE_S, BrokerSite
from tests.web.visitor import Place, Visit, read_answer

GET = b"GET /health HTTP/1.1\r\nHost: broker\r\n\r\n"


class PagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()

    def test_index(self) -> None:
        answer = self.place.get("/")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("content-type"), "application/json")
        self.assertEqual((answer.json["name"], answer.json["version"]), ("taskqueue", __version__))
        for path in answer.json["pages"]:
            self.assertEqual(self.place.get(path).status, 200, path)

    def test_every_page_is_named(self) -> None:
        children = {f"/{name.decode()}" for name in self.place.site.resource.children}
        self.assertEqual(children - {"/"}, set(self.place.get("/").json["pages"]))

    def test_missing(self) -> None:
        for path in ("/nothing", "/health/", "/health/more", "/metrics/", "//", "/%2e%2e/x"):
            for method in ("GET", "POST", "BREW"):
                answer = self.place.get(path, method)
                self.assertEqual((answer.status, answer.json["code"]), (404, "NOT_FOUND"), path)

    def test_method_not_allowed(self) -> None:
        for path in ("/", "/health", "/ready", "/metrics"):
            for method in ("POST", "DELETE", "BREW", "__class__"):
                answer = self.place.get(path, method)
                self.assertEqual((answer.status, answer.json["code"]), (405, "METHOD_NOT_ALLOWED"))
                self.assertEqual(answer.header("allow"), "GET, HEAD")
                self.assertIn("GET, HEAD", answer.json["message"])

    def test_head_is_get_without_the_body(self) -> None:
        for path in ("/", "/health", "/ready"):
            full, head = self.place.get(path), self.place.get(path, "HEAD")
            self.assertEqual(head.body, b"")
            for name in ("content-type", "content-length", "server", "cache-control"):
                self.assertEqual(head.header(name), full.header(name), name)
            self.assertEqual(int(head.header("content-length") or 0), len(full.body))
        self.assertEqual(self.place.get("/metrics", "HEAD").status, 200)

    def test_a_page_without_get_has_no_head(self) -> None:
        class Inbox(Page):
            def render_POST(self, request: Any) -> bytes:
                return b"thanks"

        self.place.site.resource.putChild(b"inbox", Inbox())
        self.assertEqual(self.place.get("/inbox").header("allow"), "POST")
        self.assertEqual(self.place.get("/inbox", "POST").body, b"thanks")

    def test_little_is_said_about_the_server(self) -> None:
        for path in ("/", "/nothing", "/metrics"):
            answer = self.place.get(path)
            self.assertEqual(answer.header("server"), "taskqueue")
            self.assertEqual(answer.header("x-content-type-options"), "nosniff")
            self.assertEqual(answer.header("cache-control"), "no-store")
            self.assertEqual(answer.header("set-cookie"), None)

    def test_no_traceback_for_the_peer(self) -> None:
        class Broken(Page):
            def render_GET(self, request: Any) -> bytes:
                raise ZeroDivisionError("a secret")

        self.place.site.resource.putChild(b"broken", Broken())
        answer = self.place.get("/broken")
        self.assertEqual((answer.status, answer.json["code"]), (500, "INTERNAL_ERROR"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(answer.header("server"), "taskqueue")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_trouble_on_the_way_to_a_page(self) -> None:
        class Broken(Page):
            def getChild(self, path: bytes, request: Any) -> Page:
                raise ZeroDivisionError

        self.place.site.resource.putChild(b"broken", Broken())
        answer = self.place.get("/broken/more")
        self.assertEqual((answer.status, answer.header("server")), (500, "taskqueue"))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_forms_are_not_read_by_themselves(self) -> None:
        """A page that wants a body reads it; memory is spent on no other."""

        class Inbox(Page):
            def render_POST(self, request: Any) -> bytes:
                return repr((request.args, request.content.read())).encode("ascii")

        self.place.site.resource.putChild(b"inbox", Inbox())
        visit = Visit(self.place.site)
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"
        visit.send(b"POST /inbox HTTP/1.1\r\n" + form)
        self.assertEqual(read_answer(visit.received())[0].body, b"({}, b'a=b')")

    def test_an_answer_that_breaks_in_the_middle(self) -> None:
        class Broken(Page):
            def render_GET(self, request: Any) -> bytes:
                request.setHeader(b"content-length", b"100")
                request.write(b"half")
                raise ZeroDivisionError

        self.place.site.resource.putChild(b"broken", Broken())
        visit = Visit(self.place.site)
        visit.send(b"GET /broken HTTP/1.1\r\nHost: broker\r\n\r\n")
        self.assertTrue(visit.received().endswith(b"\r\n\r\nhalf"))
        self.assertFalse(visit.transport.connected)
        self.flushLoggedErrors(ZeroDivisionError)


class BoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        limits = LimitsConfig(max_connections=2, max_frame_bytes=200_000, max_payload_bytes=1000)
        self.place = Place(limits=limits).started()

    def check_refused(self, visit: Visit) -> None:
        answer, rest = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["code"]), (413, "PAYLOAD_TOO_LARGE"))
        self.assertIn("200000", answer.json["message"])
        self.assertEqual(rest, b"")
        self.assertFalse(visit.transport.connected)

    def test_a_body_that_says_it_is_too_large(self) -> None:
        visit = Visit(self.place.site)
        visit.send(b"POST / HTTP/1.1\r\nContent-Length: 200001\r\nExpect: 100-continue\r\n\r\n")
        self.check_refused(visit)

    def test_a_body_that_turns_out_too_large(self) -> None:
        visit = Visit(self.place.site)
        visit.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n" % 50_000 + bytes(50_000) + b"\r\n"
        for _ in range(4):
            visit.send(chunk)
        self.assertEqual(visit.received(), b"")
        visit.send(chunk + chunk + b"0\r\n\r\n")
        self.check_refused(visit)

    def test_a_body_that_is_too_large_and_complete(self) -> None:
        visit = Visit(self.place.site)
        visit.send(b"POST / HTTP/1.1\r\nContent-Length: 200001\r\n\r\n" + bytes(200_001))
        self.check_refused(visit)

    def test_a_body_that_just_fits(self) -> None:
        for size in (0, 150_000, 200_000):
            visit = Visit(self.place.site)
            visit.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            self.assertEqual(read_answer(visit.received())[0].status, 405)
            visit.hang_up()

    def test_one_connection_too_many(self) -> None:
        first, second = Visit(self.place.site), Visit(self.place.site)
        third = Visit(self.place.site)
        answer, _ = read_answer(third.received())
        self.assertEqual((answer.status, answer.json["code"]), (503, "TOO_MANY_CONNECTIONS"))
        self.assertEqual(answer.header("retry-after"), "1")
        self.assertFalse(third.transport.connected)
        first.hang_up()
        fourth = Visit(self.place.site)
        for visit in (second, fourth):
            visit.send(GET)
            self.assertEqual(read_answer(visit.received())[0].status, 200)
            visit.hang_up()
        self.assertEqual(self.place.site.connections, 0)
        traffic = self.place.service.traffic
        self.assertEqual((traffic.accepted["http"], traffic.open["http"]), (3, 0))
        self.assertEqual(traffic.refused, {"TOO_MANY_CONNECTIONS": 1})

    def test_a_peer_that_says_nothing(self) -> None:
        visit = Visit(self.place.site)
        self.place.clock.advance(IDLE_S - 1)
        visit.send(b"GET /heal")
        self.place.clock.advance(IDLE_S - 1)
        self.assertTrue(visit.transport.connected)
        self.place.clock.advance(1)
        self.assertFalse(visit.transport.connected)

    def test_headers_without_end(self) -> None:
        visit = Visit(self.place.site)
        visit.send(b"GET / HTTP/1.1\r\n")
        sent = 0
        while visit.transport.connected and sent < 100_000:
            visit.send(b"a: b\r\n")
            sent += 6
        self.assertIn(b" 400 ", visit.received().partition(b"\r\n")[0])
        self.assertFalse(visit.transport.connected)

    def test_requests_one_after_another(self) -> None:
        """Pipelined ones too, with one that takes several turns in front."""
        visit = Visit(self.place.site)
        visit.send(GET.replace(b"/health", b"/metrics") + GET + GET)
        self.place.turns()
        data = visit.received()
        for kind in ("text/plain; version=0.0.4; charset=utf-8", "application/json"):
            answer, data = read_answer(data)
            self.assertEqual(answer.header("content-type"), kind)
        self.assertEqual(read_answer(data)[1], b"")


class LogTests(SynchronousTestCase):
    def requests_logged(self, level: str) -> list[dict[str, Any]]:
        place = Place().started()
        out = io.StringIO()
        publisher = LogPublisher(LogSettings(level, "json").observer(out))
        self.patch(BrokerSite, "_log", Logger(observer=publisher))
        place.site.doStart()
        place.get("/health?token=secret")
        place.site.doStop()
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def test_debug(self) -> None:
        (line,) = self.requests_logged(LogLevel.debug.name)
        self.assertEqual(line["message"], "GET /health answered with 200")
        self.assertEqual((line["method"], line["path"], line["status"]), ("GET", "/health", 200))
        self.assertNotIn("secret", json.dumps(line))

    def test_info(self) -> None:
        self.assertEqual(self.requests_logged(LogLevel.info.name), [])

    def test_no_clock_ticks_for_an_access_log(self) -> None:
        place = Place()
        place.site.doStart()
        self.assertEqual(place.clock.getDelayedCalls(), [])
