"""
A broker whose disk is full, and has room again later.

The disk is a small file system in memory, where one may be mounted.  Anywhere
else, and besides, the process's files may grow no further: to write fails
likewise then, with another error.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

from taskqueue.wire import Header, MessageType
from tests.process.children import PATIENCE_S, Child, ProcessTestCase, until
from tests.process.peer import Peer, Refused

DISK_BYTES = 16 * 1024 * 1024
PAYLOAD_BYTES = 50_000


class NoRoom:
    """What holds wherever the room comes from, and goes to."""

    child: Child

    def take_room(self) -> None:
        """From now on, nothing more can be written, or soon."""
        raise NotImplementedError

    def give_room(self) -> None:
        """From now on, everything can be written."""
        raise NotImplementedError

    def health(self) -> tuple[int, Header]:
        """The status and the answer of C{/health}."""
        url = f"http://127.0.0.1:{self.child.port('HTTP')}/health"
        try:
            with urlopen(url, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    def fill(self, peer: Peer, accepted: list[str]) -> None:
        """Submit until that is refused; what was refused first may be stored yet."""
        for _ in range(2 * DISK_BYTES // PAYLOAD_BYTES):
            task_id = str(uuid4())
            try:
                peer.submit({"type": "t", "id": task_id, "payload": bytes(PAYLOAD_BYTES)})
            except Refused as refusal:
                self.assertUnavailable(refusal)
                return
            accepted.append(task_id)
        self.fail("the disk does not get full")

    def assertUnavailable(self, refusal: Refused) -> None:
        self.assertEqual(refusal.code, "STORE_UNAVAILABLE", refusal)
        self.assertGreater(refusal.header["retry_after_s"], 0)

    def refused(self, ask: Any, *arguments: Any, **more: Any) -> None:
        self.assertUnavailable(self.assertRaises(Refused, ask, *arguments, **more))

    def test_full(self) -> None:
        with Peer(self.child.port()) as peer:
            accepted = peer.submit(*({"type": "t", "priority": 255} for _ in range(20)))
            done, held, *_ = peer.claim(5)
            self.assertEqual(peer.complete(done, b"result"), "completed")
            self.take_room()
            self.fill(peer, accepted)
            late = str(uuid4())
            self.nothing_is_accepted(peer, held, late)
            self.what_is_stored_is_told(peer, done, held, accepted, late)
            self.give_room()
            self.it_goes_on(peer, held)
            accepted += peer.submit({"type": "t"})
        self.child.end(signal.SIGKILL)
        self.nothing_is_lost(done, held, accepted, late)

    def nothing_is_accepted(self, peer: Peer, held: Header, late: str) -> None:
        self.refused(peer.submit, {"type": "t", "id": late})
        self.refused(peer.complete, held, b"not yet")
        self.refused(peer.ask, MessageType.CANCEL_TASK, tasks=[held["id"]])
        status, told = self.health()
        self.assertEqual((status, told["status"]), (503, "degraded"))
        self.assertIn("the store fails", told["reason"])

    def what_is_stored_is_told(
        self, peer: Peer, done: Header, held: Header, accepted: list[str], late: str
    ) -> None:
        self.assertFalse(peer.stats()["healthy"])
        one, two, three = peer.status(done["id"], held["id"], late, result=True, history=True)
        self.assertEqual((one["state"], one["result"]), ("completed", b"result"))
        self.assertEqual(two["state"], "in_progress")
        self.assertIs(three, None)
        self.assertLessEqual(set(accepted), {task["id"] for task in peer.every_task()})
        payload = peer.ask(MessageType.GET_PAYLOAD, task=accepted[-1])["tasks"][0]["payload"]
        self.assertIn(len(payload), (0, PAYLOAD_BYTES))

    def it_goes_on(self, peer: Peer, held: Header) -> None:
        """By itself, and a worker that asks again is heard."""
        until("the store works again", lambda: peer.stats()["healthy"])
        self.assertEqual(peer.complete(held, b"in the end"), "completed")
        status, told = self.health()
        self.assertEqual((status, told["status"]), (200, "ok"))

    def nothing_is_lost(self, done: Header, held: Header, accepted: list[str], late: str) -> None:
        with Peer(self.start_broker().port()) as peer:
            known = {task["id"]: task for task in peer.every_task()}
            self.assertLessEqual(set(accepted), known.keys())
            self.assertNotIn(late, known)
            self.assertLessEqual(len(known), len(accepted) + 1)  # the one whose fate was not known
            one, two = peer.status(done["id"], held["id"], result=True)
            self.assertEqual((one["result"], two["result"]), (b"result", b"in the end"))


class FullDisk(NoRoom, ProcessTestCase):
    """A file system without room."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(self.disk)]
        if not shutil.which("mount"):
            self.skipTest("there is no mount here")
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            self.skipTest("no file system may be mounted here")
        self.addCleanup(subprocess.run, ["umount", str(self.disk)], check=True)
        self.child = self.start_broker()

    def start_broker(self) -> Child:
        return self.start(f"--data-dir={self.disk}/data", "--http=tcp:0:interface=127.0.0.1")

    def take_room(self) -> None:
        with open(self.disk / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                return

    def give_room(self) -> None:
        (self.disk / "filler").unlink()


class LimitedFiles(NoRoom, ProcessTestCase):
    """Files that may not grow."""

    def setUp(self) -> None:
        super().setUp()
        if not hasattr(resource, "prlimit"):
            self.skipTest("the limits of a running process cannot be changed here")
        self.child = self.start_broker()

    def start_broker(self) -> Child:
        return self.start("--http=tcp:0:interface=127.0.0.1")

    def limit(self, most_bytes: int) -> None:
        """Change how large a file of the broker may become."""
        _, hard = resource.prlimit(self.child.process.pid, resource.RLIMIT_FSIZE)
        limits = (most_bytes, hard)
        resource.prlimit(self.child.process.pid, resource.RLIMIT_FSIZE, limits)

    def take_room(self) -> None:
        # Well above the log of this process, which is a file too.
        sizes = [os.path.getsize(path) for path in (self.folder / "data").iterdir()]
        self.limit(max(sizes) + 1024 * 1024)

    def give_room(self) -> None:
        self.limit(resource.RLIM_INFINITY)
