"""Keys made, rotated and revoked by commands, as a broker process sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from taskqueue.wire import MessageType
from tests.process.children import PATIENCE_S, ProcessTestCase, environment, until
from tests.process.peer import Gone, Peer, Refused

REFUSAL = "the broker does not start: "


class KeyedPeer(Peer):
    """One that shows a key."""

    def __init__(self, port: int, key: str) -> None:
        self._key = key
        super().__init__(port)

    def send(self, message_type: MessageType, **header: object) -> int:
        if message_type is MessageType.HELLO:
            header["key"] = self._key
        return super().send(message_type, **header)


class AccessTests(ProcessTestCase):
    def command(self, *arguments: str) -> str:
        """What a command prints that acts on the broker's file."""
        done = subprocess.run(
            [sys.executable, "-m", "taskqueue.cli", *arguments, "--data-dir=data"],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def refused(self, port: int, key: str | None = None) -> str:
        """With which code a HELLO is refused."""
        with self.assertRaises(Refused) as caught:
            Peer(port).close() if key is None else KeyedPeer(port, key).close()
        return str(caught.exception.code)

    def test_a_key_made_while_it_runs_shuts_the_gate(self) -> None:
        child = self.start()
        port = child.port()
        child.said("Nobody needs to authenticate")
        peer = Peer(port)
        self.addCleanup(peer.close)
        key = self.command("keys", "create", "--name=a", "--role=admin")
        child.said("keys and users read anew: 1 keys")
        self.assertEqual(self.refused(port), "UNAUTHENTICATED")
        until("who came in before is out", lambda: not self.is_in(peer))
        with KeyedPeer(port, key) as keyed:
            keyed.submit({"type": "t"})
        self.assertNotIn(key, child.log)

    def is_in(self, peer: Peer) -> bool:
        try:
            peer.ask(MessageType.PING)
        except (Gone, Refused):
            return False
        return True

    def test_rotated_and_revoked(self) -> None:
        first = self.command("keys", "create", "--name=a", "--allow=submit:mail")
        child = self.start()
        port = child.port()
        self.assertEqual(self.refused(port), "UNAUTHENTICATED")
        with KeyedPeer(port, first) as peer:
            second = self.command("keys", "rotate", "a", "--grace=1h")
            child.said("2 keys")
            peer.submit({"type": "t", "queue": "mail"})
            with KeyedPeer(port, second) as renewed:
                self.command("keys", "revoke", first[3:15])
                until("the old key is out", lambda: not self.is_in(peer))
                renewed.submit({"type": "t", "queue": "mail"})
        self.assertEqual(self.refused(port, first), "UNAUTHENTICATED")
        self.assertIn(f"({first[3:15]}) was revoked", self.why(port, first))

    def why(self, port: int, key: str) -> str:
        with self.assertRaises(Refused) as caught:
            KeyedPeer(port, key).close()
        return str(caught.exception)

    def test_everybody_could_reach_it(self) -> None:
        child = self.start("--listen=tcp:0")
        self.assertEqual(child.wait(), 1, child.log)
        (line,) = [line for line in child.log.splitlines() if REFUSAL in line]
        for words in ("tcp:0 can be reached from other machines", "keys create --file"):
            self.assertIn(words, line)
        self.assertIn(str(os.path.realpath(self.folder / "data" / "access.json")), line)
        self.assertNotIn("Traceback", child.log)
        self.command("keys", "create", "--name=a", "--role=admin")
        self.start("--listen=tcp:0").port()

    def test_everybody_is_let_in_on_purpose(self) -> None:
        child = self.start("--listen=tcp:0", "--set=access.authentication=open_to_everyone")
        with Peer(child.port()) as peer:
            peer.submit({"type": "t"})
        child.said("is open_to_everyone")

    def test_a_file_that_others_could_change(self) -> None:
        self.command("keys", "create", "--name=a", "--role=admin")
        os.chmod(self.folder / "data" / "access.json", 0o666)
        child = self.start()
        self.assertEqual(child.wait(), 1, child.log)
        self.assertIn("chmod 600", child.log)
        self.assertNotIn("Traceback", child.log)

    def test_the_audit_log_is_rotated(self) -> None:
        self.command("keys", "create", "--name=a", "--role=admin")
        child = self.start("--set=access.audit_log=audit.log")
        port = child.port()
        log, old = self.folder / "audit.log", self.folder / "audit.log.1"
        self.refused(port, "tq_wrong")
        entry = json.loads(log.read_text())
        self.assertEqual(
            (entry["operation"], entry["what"], entry["door"], entry["peer"]),
            ("authenticate", "key (malformed)", "framed", "127.0.0.1"),
        )
        log.rename(old)
        child.tell(signal.SIGHUP)
        child.said("nothing changed")
        self.refused(port, "tq_wrong")
        self.assertEqual(len(log.read_text().splitlines()), 1)
        self.assertEqual(len(old.read_text().splitlines()), 1)
        self.assertEqual(child.end(), 0)
