"""
Brokers that are killed while values are put, counted, taken and deleted: what they
acknowledged stays true, and no version comes twice.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from taskqueue.wire import MessageType
from tests.process.children import ProcessTestCase
from tests.process.peer import Gone, Peer, Refused

#: How often the broker is killed.
KILLS = 3

#: How many programs write at a time, each to keys of its own.
WRITERS = 3


class Writer:
    """
    Writes until its broker is gone.

    @ivar acknowledged: by key the value that was last acknowledged, C{None} for none.
    @ivar under_way: the key that was being written, and what it would be.
    @ivar versions: all that were ever answered.
    @ivar wrong: what went wrong, in words.
    """

    def __init__(self, number: int) -> None:
        self.name = f"writer-{number}"
        self.acknowledged: dict[str, bytes | None] = {}
        self.under_way: tuple[str, bytes | None] | None = None
        self.versions: list[int] = []
        self.wrong: list[str] = []
        self.rounds = 0

    def write(self, port: int, enough: threading.Event) -> None:
        """One life of a broker."""
        try:
            with Peer(port) as peer:
                while True:
                    self._round(peer)
                    if self.rounds % 20 == 0:
                        enough.set()
        except Gone:
            return
        except Refused as refusal:
            self.wrong.append(str(refusal))

    def _round(self, peer: Peer) -> None:
        self.rounds += 1
        key = f"{self.name}-{self.rounds % 5}"
        known = self.acknowledged.get(key)
        if self.rounds % 7 == 0 and known is not None:
            taken = self._do(peer, key, None, MessageType.TAKE_VALUE, key=key)["values"][0]
            if taken["value"] != known:
                self.wrong.append(f"{key} was {known!r}, taken was {taken['value']!r}")
        elif self.rounds % 3 == 0:
            count = f"{self.name}-count"
            value = int(self.acknowledged.get(count) or b"0") + 1
            answer = self._do(peer, count, b"%d" % value, MessageType.INCREASE_VALUE, key=count)
            if answer["count"] != value:
                self.wrong.append(f"{count} is {answer['count']}, not {value}")
            self.versions.append(answer["version"])
        else:
            value = b"%d of " % self.rounds + bytes(self.rounds % 3000)
            item = {"namespace": "n", "key": key, "value": value}
            answer = self._do(peer, key, value, MessageType.PUT_VALUES, values=[item])
            self.versions += answer["versions"]

    def _do(
        self, peer: Peer, place: str, after: bytes | None, kind: MessageType, /, **header: Any
    ) -> Any:
        """Ask for a change of one value, after which it is as said."""
        self.under_way = place, after
        if kind is not MessageType.PUT_VALUES:
            header["namespace"] = "n"
        answer = peer.ask(kind, **header)
        self.under_way = None
        self.acknowledged[place] = after
        return answer

    def compare(self, peer: Peer) -> None:
        """What is there is what was acknowledged, or what was being written instead."""
        keys = sorted({*self.acknowledged, *([self.under_way[0]] if self.under_way else [])})
        found = peer.ask(MessageType.GET_VALUES, namespace="n", keys=keys)["values"]
        for key, view in zip(keys, found, strict=True):
            value = None if view is None else view["value"]
            allowed = [self.acknowledged.get(key)]
            if self.under_way is not None and self.under_way[0] == key:
                allowed.append(self.under_way[1])
            if value not in allowed:
                self.wrong.append(f"{key} is {value!r}, expected one of {allowed!r}")
            self.acknowledged[key] = value
        self.under_way = None


class KillTests(ProcessTestCase):
    measured = False

    def test_what_was_acknowledged_stays_true(self) -> None:
        writers = [Writer(number) for number in range(WRITERS)]
        highest = 0
        for _ in range(KILLS):
            child = self.start()
            enough = [threading.Event() for _ in writers]
            threads = [
                threading.Thread(target=writer.write, args=(child.port(), event), daemon=True)
                for writer, event in zip(writers, enough, strict=True)
            ]
            for thread in threads:
                thread.start()
            for event in enough:
                self.assertTrue(event.wait(30), child.log)
            child.end(signal.SIGKILL)
            for thread in threads:
                thread.join(30)
            highest = self.check(writers, highest)
        self.assertGreater(sum(writer.rounds for writer in writers), 20 * KILLS)

    def check(self, writers: list[Writer], highest: int) -> int:
        """
        Look at all in the next life of the broker.

        @param highest: no version of this life is below it.
        @return: the same for the next one.
        """
        child = self.start()
        with Peer(child.port()) as peer:
            for writer in writers:
                writer.compare(peer)
                self.assertEqual(writer.wrong, [])
            item = {"namespace": "other", "key": "k", "value": b""}
            [version] = peer.ask(MessageType.PUT_VALUES, values=[item])["versions"]
            self.assertEqual(peer.ask(MessageType.AUDIT)["differences"], [])
        versions = [version for writer in writers for version in writer.versions]
        self.assertEqual(len(versions), len(set(versions)), "no version comes twice")
        self.assertGreater(min(versions, default=version), highest)
        self.assertGreater(version, max(versions, default=0))
        for writer in writers:
            writer.versions.clear()
        child.end(signal.SIGKILL)
        return int(version)
