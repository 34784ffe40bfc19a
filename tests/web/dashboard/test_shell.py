"""
Tests of what a browser is sent: the document, its files, and their headers.
"""

from __future__ import annotations

import gzip
import re

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import HttpConfig
from taskqueue.web.dashboard.shell import PLACES, prefers_html
from tests.web.visitor import Answer, Place

#: As browsers ask for a page.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def looked_at(place: Place, path: str, **headers: str) -> Answer:
    return place.get(path, accept=BROWSER, **headers)


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()

    def test_every_place_answers_the_same_document(self) -> None:
        first = looked_at(self.place, "/")
        self.assertEqual(first.status, 200)
        for name, has_children in PLACES.items():
            paths = [f"/{name}", f"/{name}/", *([f"/{name}/a%2Fb%20c"] if has_children else [])]
            for path in paths:
                answer = self.place.get(path)
                self.assertEqual((answer.status, answer.body), (200, first.body), path)

    def test_what_is_no_place_is_missing(self) -> None:
        for path in ("/queue", "/queues/a/b", "/welcome/x", "/broker/x", "/tasks//", "/queues//x"):
            answer = looked_at(self.place, path)
            self.assertEqual((answer.status, answer.json["code"]), (404, "NOT_FOUND"), path)

    def test_programs_get_the_index(self) -> None:
        for accept in ("*/*", "application/json", "application/json, text/html;q=0.9"):
            answer = self.place.get("/", accept=accept)
            self.assertEqual(answer.header("content-type"), "application/json", accept)
            self.assertEqual(answer.header("vary"), "Accept")
        answer = looked_at(self.place, "/")
        self.assertEqual(answer.header("content-type"), "text/html; charset=utf-8")
        self.assertEqual(answer.header("vary"), "Accept")

    def test_it_may_do_little(self) -> None:
        for path in ("/", "/tasks"):
            answer = looked_at(self.place, path)
            policy = answer.header("content-security-policy") or ""
            self.assertIn("default-src 'self'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(answer.header("x-frame-options"), "DENY")
            self.assertEqual(answer.header("referrer-policy"), "same-origin")
            self.assertEqual(answer.header("x-content-type-options"), "nosniff")

    def test_nothing_inline_and_nothing_from_outside(self) -> None:
        page = looked_at(self.place, "/").body.decode()
        self.assertNotRegex(page, r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)")
        for address in re.findall(r'(?:src|href)="([^"]*)"', page):
            self.assertTrue(address.startswith("/"), address)
            self.assertFalse(address.startswith("//"), address)

    def test_it_is_asked_for_again_only_when_it_changed(self) -> None:
        first = looked_at(self.place, "/queues")
        self.assertEqual(first.header("cache-control"), "no-cache")
        tag = first.header("etag") or ""
        again = looked_at(self.place, "/queues", **{"if-none-match": tag})
        self.assertEqual((again.status, again.body), (304, b""))

    def test_what_it_says_of_the_broker(self) -> None:
        self.assertIn(b'data-broker="taskqueue"', looked_at(self.place, "/").body)
        self.assertIn(b'data-api="full"', looked_at(self.place, "/").body)
        place = Place(HttpConfig(api="read")).started()
        self.assertIn(b'data-api="read"', looked_at(place, "/").body)

    def test_methods(self) -> None:
        answer = self.place.get("/queues", "POST")
        self.assertEqual((answer.status, answer.header("allow")), (405, "GET, HEAD"))
        full, head = self.place.get("/queues"), self.place.get("/queues", "HEAD")
        self.assertEqual(head.header("content-length"), full.header("content-length"))


class WithoutDashboardTests(SynchronousTestCase):
    def test_it_may_be_left_out(self) -> None:
        for config in (HttpConfig(dashboard=False), HttpConfig(api="off")):
            place = Place(config).started()
            self.assertEqual(looked_at(place, "/").header("content-type"), "application/json")
            for path in ("/queues", "/assets/x/app.js", "/sign-in"):
                self.assertEqual(looked_at(place, path).status, 404, path)

    def test_the_api_may_be_for_reading(self) -> None:
        place = Place(HttpConfig(api="read")).started()
        self.assertEqual(looked_at(place, "/queues").status, 200)


class FilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()
        page = looked_at(self.place, "/").body.decode()
        self.addresses = re.findall(r'(?:src|href)="(/assets/[^"]*)"', page)

    def test_every_file_of_the_document_is_there(self) -> None:
        types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        self.assertGreater(len(self.addresses), 20)
        for address in self.addresses:
            answer = self.place.get(address)
            self.assertEqual(answer.status, 200, address)
            expected = f"{types[address.rpartition('.')[2]]}; charset=utf-8"
            self.assertEqual(answer.header("content-type"), expected)
            caching = "public, max-age=31536000, immutable"
            self.assertEqual(answer.header("cache-control"), caching)

    def test_who_can_unpack_gets_less(self) -> None:
        address = self.addresses[-1]
        plain = self.place.get(address)
        packed = self.place.get(address, **{"accept-encoding": "br, GZIP; q=0.5"})
        self.assertEqual(packed.header("content-encoding"), "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        for answer in (plain, packed):
            self.assertEqual(answer.header("vary"), "Accept-Encoding")
        self.assertNotEqual(plain.header("etag"), packed.header("etag"))
        refused = self.place.get(address, **{"accept-encoding": "gzip;q=0"})
        self.assertEqual(refused.header("content-encoding"), None)

    def test_it_is_asked_for_again_only_when_it_changed(self) -> None:
        first = self.place.get(self.addresses[0])
        tag = first.header("etag") or ""
        again = self.place.get(self.addresses[0], **{"if-none-match": tag})
        self.assertEqual((again.status, again.body), (304, b""))

    def test_what_is_no_file_is_missing(self) -> None:
        digest = self.addresses[0].split("/")[2]
        for path in (
            *("/assets", "/assets/", "/assets/0000/app.js", "/assets/app.js"),
            *(f"/assets/{digest}", f"/assets/{digest}/", f"/assets/{digest}/nothing.js"),
            *(f"/assets/{digest}/../shell.py", f"/assets/{digest}/%2e%2e/shell.py"),
            *(f"/assets/{digest}/..%2fshell.py", f"/assets/{digest}/kit", f"/assets/{digest}/%ff"),
        ):
            answer = self.place.get(path)
            self.assertEqual((answer.status, answer.json["code"]), (404, "NOT_FOUND"), path)


class PreferenceTests(SynchronousTestCase):
    def test_html_must_be_named_and_liked(self) -> None:
        for accept in (BROWSER, "text/html", "TEXT/HTML;Q=0.5", "application/json,text/html"):
            self.assertTrue(prefers_html(accept), accept)
        for accept in (
            *(None, "", "*/*", "text/*", "text/html;q=0", "text/html; q=x", "application/json"),
            *("application/json;q=0.9, text/html;q=0.8", "text/html;q=nan"),
        ):
            self.assertFalse(prefers_html(accept), accept)
