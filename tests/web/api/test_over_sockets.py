"""
Tests of the API of a real broker, over real connections.
"""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from tests.process.children import Child, ProcessTestCase, until

#: How long an answer may take, seconds.
PATIENCE_S = 20.0


class SocketTests(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.child: Child = self.start("--http=tcp:0:interface=127.0.0.1")
        self.child.port()
        self.port = self.child.port("HTTP")

    def connect(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        return connection

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = self.connect()
        headers = {} if body is None else {"content-type": "application/json"}
        data = None if body is None else json.dumps(body)
        connection.request(method, f"/api/v1{path}", data, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.assertLess(answer.status, 300, content)
        return json.loads(content) if content else None

    def test_one_connection_for_many_requests(self) -> None:
        connection = self.connect()
        for number in range(20):
            body = json.dumps({"type": "job", "payload": "x" * number * 1000})
            connection.request("POST", "/api/v1/tasks", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            self.assertEqual(answer.status, 201)
            answer.read()
        connection.request("HEAD", "/api/v1/tasks")
        connection.getresponse().read()
        connection.request("GET", "/api/v1/tasks?limit=7")
        self.assertEqual(len(json.loads(connection.getresponse().read())["tasks"]), 7)

    def test_chunked_body(self) -> None:
        connection = self.connect()
        pieces = (piece.encode() for piece in ('{"type": "j', 'ob", "payload": "', "x" * 9, '"}'))
        headers = {"content-type": "application/json"}
        connection.request("POST", "/api/v1/tasks", pieces, headers, encode_chunked=True)
        self.assertEqual(connection.getresponse().status, 201)

    def test_waiting_for_a_task(self) -> None:
        task = self.ask("POST", "/tasks", {"type": "job"})["id"]
        waiting = self.connect()
        waiting.request("GET", f"/api/v1/tasks/{task}/outcome?wait_s=20")
        self.ask("POST", f"/tasks/{task}/cancel", {})
        answer = waiting.getresponse()
        self.assertEqual(json.loads(answer.read())["state"], "cancelled")

    def listen(self) -> HTTPResponse:
        connection = self.connect()
        connection.request("GET", "/api/v1/events?kind=task")
        answer = connection.getresponse()
        self.assertEqual(answer.getheader("content-type"), "text/event-stream; charset=utf-8")
        self.assertEqual(answer.readline(), b"retry: 2000\n")
        return answer

    def test_events(self) -> None:
        events = self.listen()
        task = self.ask("POST", "/tasks", {"type": "job"})["id"]
        lines = [events.readline() for _ in range(4)]
        self.assertEqual(lines[2], b"event: task\n")
        self.assertEqual(json.loads(lines[3].partition(b": ")[2])["id"], task)

    def test_the_broker_stops_while_somebody_listens(self) -> None:
        events = self.listen()
        self.assertEqual(self.child.end(), 0)
        self.assertEqual(events.read().strip(), b"")

    def test_who_hangs_up_leaves_nothing(self) -> None:
        task = self.ask("POST", "/tasks", {"type": "job"})["id"]
        for path in ("/events", f"/tasks/{task}/outcome?wait_s=100"):
            peer = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
            peer.sendall(f"GET /api/v1{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            until("it is served", lambda: self.ask("GET", "/broker")["connections"]["open"])
            peer.close()
        until("streams end", lambda: self.ask("GET", "/broker")["streams"] == 0)
        until("connections end", lambda: self.open_connections() == 1)

    def open_connections(self) -> int:
        return int(self.ask("GET", "/broker")["connections"]["open"]["http"])
