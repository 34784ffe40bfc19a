"""
A client that blocks, made of nothing but a socket and L{taskqueue.wire}: so that
what these tests say of the broker does not depend on the project's own client.
"""

from __future__ import annotations

import socket
from itertools import count
from types import TracebackType
from typing import Any

from taskqueue.wire import FrameDecoder, Header, MessageType, decode, encode

#: How long an answer may take before the broker counts as hung, seconds.
PATIENCE_S = 30.0


class Refused(Exception):
    """The broker answered with a NACK."""

    def __init__(self, header: Header) -> None:
        super().__init__(f"{header['code']}: {header['message']}")
        self.code: str = header["code"]
        self.header = header


class Gone(Exception):
    """The connection is lost, or never came about: what was asked may have been done."""


class Peer:
    """One connection to a broker, after its HELLO."""

    def __init__(self, port: int, timeout_s: float = PATIENCE_S) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        except OSError as problem:
            raise Gone(str(problem)) from problem
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = FrameDecoder()
        self._ids = count(1)
        self._answers: dict[Any, tuple[MessageType, Header]] = {}
        self.events: list[Header] = []
        try:
            self.hello = self.ask(MessageType.HELLO, versions=[1], client="test")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, message_type: MessageType, **header: Any) -> Header:
        """
        The answer to one request.

        @raises Refused: it is a NACK.
        @raises Gone: it does not come.
        """
        return self.answer(self.send(message_type, **header))

    def send(self, message_type: MessageType, **header: Any) -> int:
        """Send a request, and return its id."""
        request_id = next(self._ids)
        try:
            self._socket.sendall(encode(message_type, {**header, "id": request_id}))
        except OSError as problem:
            raise Gone(str(problem)) from problem
        return request_id

    def answer(self, request_id: int) -> Header:
        """Wait for the answer to the request with this id; see L{ask}."""
        while request_id not in self._answers:
            self._receive()
        kind, header = self._answers.pop(request_id)
        if kind is MessageType.NACK:
            raise Refused(header)
        return header

    def _receive(self) -> None:
        try:
            data = self._socket.recv(1 << 18)
        except OSError as problem:
            raise Gone(str(problem)) from problem
        if not data:
            raise Gone("the broker closed the connection")
        for frame in self._decoder.feed(data):
            kind, header = decode(frame)
            if kind is MessageType.EVENT:
                self.events += header["events"]
            elif "id" in header:
                self._answers[header.pop("id")] = kind, header
            else:
                raise Refused(header)

    # --- what most tests ask for --------------------------------------------------------

    def submit(self, *tasks: Header) -> list[str]:
        """Submit tasks, and return their ids once they are accepted."""
        ids: list[str] = self.ask(MessageType.SUBMIT_TASK, tasks=list(tasks))["tasks"]
        return ids

    def claim(self, limit: int = 1, wait_s: float = 0.0, **header: Any) -> list[Header]:
        """Claim tasks."""
        found: list[Header] = self.ask(
            MessageType.CLAIM_TASK, limit=limit, wait_s=wait_s, **header
        )["tasks"]
        return found

    def complete(self, task: Header, result: bytes = b"") -> str:
        """Complete a claimed task, and return its state."""
        report = {
            "task": task["id"],
            "lease": task["lease"],
            "status": "completed",
            "result": result,
        }
        answer = self.ask(MessageType.TASK_RESULT, results=[report])
        state: str = answer["states"][0]
        return state

    def status(self, *ids: str, **header: Any) -> list[Header | None]:
        """These tasks as they stand; C{None} for an unknown one."""
        found: list[Header | None] = self.ask(MessageType.QUERY_STATUS, tasks=list(ids), **header)[
            "tasks"
        ]
        return found

    def stats(self) -> Header:
        """The broker in numbers."""
        numbers: Header = self.ask(MessageType.GET_STATS)["stats"]
        return numbers

    def every_task(self, **header: Any) -> list[Header]:
        """All tasks that match, page by page."""
        found: list[Header] = []
        after = None
        while True:
            page = self.ask(MessageType.LIST_TASKS, limit=1000, after=after, **header)
            found += page["tasks"]
            after = page["next"]
            if after is None:
                return found
