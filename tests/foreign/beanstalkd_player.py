"""
Plays exchanges with a server that speaks beanstalkd's protocol, and notes what it answers:
so that what one server answers can be compared with what another does.

Ids of jobs are noted by the names that a scene gives them, as every server counts for itself.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

#: How long an answer may take, seconds.
PATIENCE_S = 6.0

#: What is noted where none comes.
NOTHING = "(no answer)"

#: How long is listened for an answer that is not expected, seconds.
SILENCE_S = 0.1

#: How long a server has to notice that a connection is closed, seconds.
NOTICE_S = 0.05

_WITH_BODY = re.compile(rb"(?:OK|FOUND \d+|RESERVED \d+) (\d+)$")
_ID = re.compile(r"(INSERTED|BURIED|RESERVED|FOUND) (\d+)")
_LONG_RUN = re.compile(r"(.)\1{99,}")
_ID_FIELD = re.compile(r"^id: (\d+)$", re.MULTILINE)


class Exchange(NamedTuple):
    """
    One thing that was said, and what came of it.

    @ivar scene: in which scene that was.
    @ivar said: what was done, as a scene puts it.
    @ivar heard: what was answered, bytes as the characters of Latin 1.
    @ivar took_s: after which time, where the scene asks for that; else C{None}.
    """

    scene: str
    said: str
    heard: str
    took_s: float | None


class Connection:
    """A connection to the server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> bytes:
        """One answer, with the body that it may have; what is left at the end of the stream."""
        line = self._up_to(lambda held: held.find(b"\r\n") + 2)
        match = _WITH_BODY.match(line[:-2])
        if match is None:
            return line
        return line + self._up_to(lambda held: int(match[1]) + 2)

    def _up_to(self, end: Callable[[bytes], int]) -> bytes:
        while len(self._held) < (length := end(self._held)) or length < 2:
            try:
                received = self.socket.recv(65536)
            except ConnectionResetError:
                received = b""
            if not received:
                left, self._held = self._held, b""
                return left
            self._held += received
        found, self._held = self._held[:length], self._held[length:]
        return found

    def anything(self) -> bytes:
        """What comes although nothing is expected."""
        self.socket.settimeout(SILENCE_S)
        try:
            self._held += self.socket.recv(65536)
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(PATIENCE_S)
        found, self._held = self._held, b""
        return found


class Player:
    """
    Plays scenes with the server at a port of this machine.

    @ivar exchanges: what was noted so far.
    """

    def __init__(self, port: int) -> None:
        self.exchanges: list[Exchange] = []
        self._port = port
        self._scene = ""
        self._connections: dict[str, Connection] = {}
        self._names: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def play(self, name: str, scene: Callable[[Player], None]) -> None:
        """Play one scene, and close its connections."""
        self._scene = name
        try:
            scene(self)
        finally:
            for connection in self._connections.values():
                connection.socket.close()
            self._connections.clear()
            self.wait(NOTICE_S)

    # --- what scenes do -------------------------------------------------------------

    def ask(self, text: str, by: str = "a", name: str = "", timed: bool = False) -> str:
        """
        Say something, and note the one answer to it.

        @param text: what to say, with C{<name>} for the id of a job; the end of the line is
            added where there is none.
        @param by: which connection says it; it is made where it is not there.
        @param name: what to call the job that the answer tells of.
        @param timed: the time that the answer takes matters.
        """
        self.say(text, by)
        return self.hear(by, name=name, timed=timed, said=text)

    def put(self, name: str, options: str = "0 0 60", body: str = "x", by: str = "a") -> str:
        """Put a job, and call it by a name."""
        return self.ask(f"put {options} {len(body)}\r\n{body}\r\n", by, name)

    def attempt(self, text: str, by: str = "a") -> None:
        """Say a line that may be answered or not; go on with another connection if not."""
        self.say(text + "\r\n", by)
        connection = self._of(by)
        connection.socket.settimeout(SILENCE_S)
        try:
            answer = connection.answer().decode("latin-1")
        except TimeoutError:
            answer = ""
        connection.socket.settimeout(PATIENCE_S)
        self._note(f"{by}: {text}", answer, None)
        if not answer:
            self.close(by)

    def say(self, text: str, by: str = "a") -> None:
        """Say something, and wait for no answer."""
        if not text.endswith("\n") and not text.endswith("\0"):
            text += "\r\n"
        for name, number in self._ids.items():
            text = text.replace(f"<{name}>", number)
        self._of(by).send(text.rstrip("\0").encode("latin-1"))

    def hear(
        self, by: str = "a", *, name: str = "", timed: bool = False, said: str = "(waits)"
    ) -> str:
        """Note the next answer."""
        began = time.monotonic()
        try:
            answer = self._of(by).answer().decode("latin-1")
        except TimeoutError:
            answer = NOTHING
        took = time.monotonic() - began
        if name and (match := _ID.match(answer)):
            self._ids[name] = match[2]
            self._names[match[2]] = name
        self._note(f"{by}: {said}", self._named(answer), round(took, 3) if timed else None)
        return answer

    def silent(self, by: str = "a") -> None:
        """Note that there is no answer."""
        self._note(f"{by}: (nothing?)", self._of(by).anything().decode("latin-1"), None)

    def over(self, by: str = "a") -> None:
        """Note that the server has closed the connection."""
        self._note(f"{by}: (over?)", self._of(by).answer().decode("latin-1"), None)

    def close(self, by: str = "a") -> None:
        """Close a connection."""
        self._connections.pop(by).socket.close()
        self.wait(NOTICE_S)

    def half_close(self, by: str = "a") -> None:
        """Say no more on a connection, but go on listening."""
        self._of(by).socket.shutdown(socket.SHUT_WR)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        threading.Event().wait(seconds)

    # --------------------------------------------------------------------------------

    def _of(self, name: str) -> Connection:
        if name not in self._connections:
            self._connections[name] = Connection(self._port)
        return self._connections[name]

    def _note(self, said: str, heard: str, took_s: float | None) -> None:
        self.exchanges.append(Exchange(self._scene, _short(said), _short(heard), took_s))

    def _named(self, answer: str) -> str:
        def name(number: str) -> str:
            return f"<{self._names.get(number, 'unknown')}>"

        answer = _ID.sub(lambda match: f"{match[1]} {name(match[2])}", answer, count=1)
        return _ID_FIELD.sub(lambda match: f"id: {name(match[1])}", answer)


def _short(text: str) -> str:
    """A text without long runs of one character."""
    return _LONG_RUN.sub(lambda match: f"{match[1]}*{len(match[0])}", text)


def as_record(exchange: Exchange) -> dict[str, Any]:
    """An exchange as it is kept in a file."""
    record = exchange._asdict()
    if exchange.took_s is None:
        del record["took_s"]
    return record
