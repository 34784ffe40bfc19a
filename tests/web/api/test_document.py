"""
Tests of the OpenAPI document, the page that shows it, and the reference for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskqueue.web.api import shapes
from taskqueue.web.api.endpoints import Endpoint
from taskqueue.web.api.root import ENDPOINTS
from tests.web.api.asking import ApiTestCase

DOCS = Path(__file__).resolve().parents[3] / "docs"


def walk(value: Any) -> Iterator[Any]:
    """Every object and list in a JSON value, itself among them."""
    yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from walk(inner)


def operation(document: Any, endpoint: Endpoint) -> Any:
    return document["paths"][endpoint.path][endpoint.method.lower()]


class DocumentTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.document = self.get("/openapi.json")

    def test_every_endpoint_is_in_it(self) -> None:
        self.assertEqual(self.document["openapi"], "3.1.0")
        for endpoint in ENDPOINTS:
            found = operation(self.document, endpoint)
            self.assertEqual(found["summary"], endpoint.summary)
            self.assertTrue(found["description"], endpoint.path)
        self.assertIn("get", self.document["paths"]["/openapi.json"])

    def test_operations_are_named_once(self) -> None:
        names = [operation(self.document, one)["operationId"] for one in ENDPOINTS]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_references_lead_somewhere(self) -> None:
        found = [v["$ref"] for v in walk(self.document) if isinstance(v, dict) and "$ref" in v]
        self.assertTrue(found)
        for reference in found:
            self.assertIn(reference.rpartition("/")[2], self.document["components"]["schemas"])
        used = {reference.rpartition("/")[2] for reference in found}
        self.assertEqual(used, set(shapes.COMPONENTS))

    def test_links_lead_somewhere(self) -> None:
        names = {endpoint.name: endpoint for endpoint in ENDPOINTS}
        for endpoint in ENDPOINTS:
            for content in endpoint.answers.values():
                for name, places in content.links.items():
                    self.assertEqual(list(places), names[name].places)

    def test_it_says_what_checks_take(self) -> None:
        body = operation(self.document, ENDPOINTS[0])["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        self.assertTrue(body["required"])
        self.assertEqual((schema["required"], schema["additionalProperties"]), (["type"], False))
        priority = {"type": "integer", "minimum": 0, "maximum": 255}
        self.assertEqual(schema["properties"]["priority"], priority)
        self.assertIn("payload_b64", schema["properties"])
        self.assertEqual(schema["properties"]["max_retries"]["type"], ["integer", "null"])

    def test_it_is_kept(self) -> None:
        answer = self.desk.ask("GET", "/openapi.json")
        tag = answer.header("etag") or ""
        again = self.desk.ask("GET", "/openapi.json", if_none_match=tag)
        self.assertEqual((again.status, again.body), (304, b""))

    def test_the_reference_names_every_endpoint(self) -> None:
        text = (DOCS / "rest.md").read_text()
        named = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`? ]*)", text))
        named.add(("POST", "/periodics/{name}/resume"))  # beside …/pause
        known = {(one.method, one.path) for one in ENDPOINTS}
        self.assertEqual(named, known)

    def test_the_reference_names_every_parameter(self) -> None:
        text = (DOCS / "rest.md").read_text()
        for endpoint in ENDPOINTS:
            for name in endpoint.query.fields:
                self.assertRegex(text, rf"[`?&, ]{name}[`=]", f"{endpoint.path}: {name}")


class PageTests(ApiTestCase):
    def test_what_it_is_made_of(self) -> None:
        for path, kind, word in (
            ("/docs", "text/html", "<!doctype html>"),
            ("/docs.js", "text/javascript", "openapi.json"),
            ("/docs.css", "text/css", "prefers-color-scheme"),
        ):
            answer = self.desk.ask("GET", path)
            self.assertEqual((answer.status, answer.header("cache-control")), (200, "no-cache"))
            self.assertEqual(answer.header("content-type"), f"{kind}; charset=utf-8")
            policy = answer.header("content-security-policy") or ""
            self.assertIn("script-src 'self'", policy)
            self.assertNotIn("unsafe", policy)
            self.assertIn(word, answer.body.decode())

    def test_nothing_comes_from_elsewhere(self) -> None:
        for path in ("/docs", "/docs.js", "/docs.css"):
            text = self.desk.ask("GET", path).body.decode()
            self.assertNotRegex(text, r"https?://|url\(|@import|src=\"/|innerHTML", path)

    def test_what_is_named_is_there(self) -> None:
        text = self.desk.ask("GET", "/docs").body.decode()
        for name in re.findall(r"(?:href|src)=\"([a-z][^\":#]*)\"", text):
            self.assertEqual(self.desk.ask("GET", f"/{name}").status, 200, name)

    def test_a_browser_that_wants_a_page(self) -> None:
        accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        self.assertEqual(self.desk.ask("GET", "/docs", accept=accept).status, 200)
        self.refused("GET", "/docs", status=406, code="NOT_ACCEPTABLE", accept="image/png")
