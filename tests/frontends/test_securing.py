"""The certificates of endpoints: which are shown, and how new ones come into force."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import ListenConfig
from taskqueue.config.endpoints import parse_endpoint
from taskqueue.frontends.securing import (
    WARN_BEFORE_S,
    WARN_EVERY_S,
    ServerIdentity,
    TLSFiles,
    below_tls,
    tls_files,
)
from taskqueue.transport.certificates import BadCertificate
from tests.transport.authority import Files, stranger


class SettingsTests(SynchronousTestCase):
    def files(self, text: str, **listen: str) -> TLSFiles:
        return tls_files(parse_endpoint(text), ListenConfig(**listen))

    def test_the_endpoint_comes_before_the_settings(self) -> None:
        settings = {"tls_certificate": "/c", "tls_key": "/k", "tls_client_ca": "/a"}
        required = {**settings, "tls_client": "required"}
        for text, listen, expected in (
            ("tls:port=1", settings, TLSFiles("/c", "/k")),
            ("tls:port=1", required, TLSFiles("/c", "/k", client_ca="/a", client="required")),
            ("tls:port=1:client=none", required, TLSFiles("/c", "/k")),
            ("tls:port=1:certificate=/d", settings, TLSFiles("/d", "")),
            (
                "tls:port=1:certificate=/d:key=/e:client_ca=/b:client=optional",
                settings,
                TLSFiles("/d", "/e", client_ca="/b", client="optional"),
            ),
            ("tls:/dir:1", {}, TLSFiles("", "", directory="/dir")),
            ("ssl:1:privateKey=k:certKey=c:extraCertChain=x", {}, TLSFiles("c", "k", "x")),
            ("ssl:1", {}, TLSFiles("server.pem", "server.pem")),
        ):
            self.assertEqual(self.files(text, **listen), expected, text)

    def test_what_carries_the_bytes(self) -> None:
        for text, below in (
            ("tls:port=1", "tcp:1"),
            ("tls:port=1:interface=127.0.0.1:backlog=7", "tcp:1:interface=127.0.0.1:backlog=7"),
            ("tls:port=1:interface=\\:\\:1", "tcp6:1:interface=\\:\\:1"),
            ("tls:/dir", "tcp6:443:interface=\\:\\:"),
            ("tls:systemd=web", "systemd:domain=INET:name=web"),
            ("tls:systemd=a\\:b:domain=INET6", "systemd:domain=INET6:name=a\\:b"),
            ("ssl:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.1"),
        ):
            self.assertEqual(below_tls(parse_endpoint(text)), below)
            parse_endpoint(below)


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = Files(self.mktemp())
        self.path = self.files.issue()
        self.now = 0.0
        self.told: list[tuple[LogLevel, str]] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event) -> None:
        """What certificates say; a client that another test left in this process may speak, too."""
        if event.get("log_namespace", "").startswith("taskqueue.frontends.securing"):
            self.told.append((event["log_level"], event["log_format"].format(**event)))

    def identity(self, **files: str) -> ServerIdentity:
        named = {"certificate": self.path, "key": "", **files}
        identity = ServerIdentity("tls:port=1", TLSFiles(**named))
        identity.load(self.now)
        self.told.clear()
        return identity

    def serial(self, identity: ServerIdentity) -> int:
        found = identity.serverConnectionForTLS(None).get_certificate()
        assert found is not None
        return found.get_serial_number()

    def replace(self, **how) -> None:
        self.files.issue(**how)

    def test_a_new_certificate_comes_into_force(self) -> None:
        """When it has kept still for one look, and is told of."""
        identity = self.identity()
        old = self.serial(identity)
        identity.look(self.now)
        self.assertEqual((self.serial(identity), self.told), (old, []))
        self.replace()
        identity.look(self.now)
        self.assertEqual(self.serial(identity), old)
        identity.look(self.now)
        self.assertNotEqual(self.serial(identity), old)
        [(_, text)] = self.told
        self.assertIn("the certificate of tls:port=1 is valid until", text)

    def test_a_broken_one_changes_nothing(self) -> None:
        """It is told of once, and the next good one comes into force."""
        identity = self.identity()
        old = self.serial(identity)
        Path(self.path).write_text("nonsense")
        for _ in range(4):
            identity.look(self.now)
        self.assertEqual(self.serial(identity), old)
        [(level, text)] = self.told
        self.assertEqual(level, LogLevel.error)
        self.assertIn("the old one stays in force", text)
        self.assertIn(f"{self.path} holds no certificate", text)
        self.replace()
        identity.look(self.now)
        identity.look(self.now)
        self.assertNotEqual(self.serial(identity), old)

    def test_one_that_is_gone_changes_nothing(self) -> None:
        identity = self.identity()
        old = self.serial(identity)
        os.unlink(self.path)
        identity.look(self.now)
        identity.look(self.now)
        self.assertEqual(self.serial(identity), old)
        self.assertIn("No such file", self.told[0][1])

    def test_halfway_is_not_looked_at(self) -> None:
        """The certificate is new, the key not yet: nothing is said while files still change."""
        certificate, key = self.files.split(self.path)
        identity = self.identity(certificate=certificate, key=key)
        old = self.serial(identity)
        fresh = Path(self.files.issue(to="fresh")).read_text()
        begin = fresh.index("-----BEGIN CERTIFICATE")
        Path(certificate).write_text(fresh[begin:])
        identity.look(self.now)
        Path(key).write_text(fresh[:begin])
        identity.look(self.now)
        self.assertEqual(self.told, [])
        identity.look(self.now)
        self.assertNotEqual(self.serial(identity), old)

    def test_renewed_when_asked_to(self) -> None:
        identity = self.identity()
        old = self.serial(identity)
        self.replace()
        identity.renew(self.now)
        self.assertNotEqual(self.serial(identity), old)

    def test_a_new_file_in_a_directory(self) -> None:
        directory = str(self.files.directory / "many")
        many = Files(directory)
        os.unlink(many.ca)
        many.issue("a.example.org", to="a")
        identity = self.identity(directory=directory)
        many.issue("b.example.org", to="b")
        identity.look(self.now)
        identity.look(self.now)
        self.assertIn("a.example.org, b.example.org", self.told[0][1])
        os.rename(directory, f"{directory}.away")
        identity.look(self.now)
        identity.look(self.now)
        self.assertIn("the old one stays in force", self.told[-1][1])

    def test_another_authority_of_clients(self) -> None:
        identity = self.identity(client_ca=self.files.ca, client="required")
        stranger().cert_pem.write_to_path(self.files.ca)
        identity.look(self.now)
        identity.look(self.now)
        self.assertIn("is valid until", self.told[0][1])

    def test_nothing_to_show(self) -> None:
        identity = ServerIdentity("tls:port=1", TLSFiles("/no/where.pem", ""))
        self.assertRaises(BadCertificate, identity.load, 0.0)

    def test_a_key_that_all_can_read(self) -> None:
        os.chmod(self.path, 0o644)
        ServerIdentity("tls:port=1", TLSFiles(self.path, "")).load(0.0)
        [text] = [text for level, text in self.told if level is LogLevel.warn]
        self.assertIn("can be read by every user of this machine", text)

    def test_an_end_that_is_near(self) -> None:
        """Told of two weeks before, then daily, then as an error."""
        identity = self.identity()
        ends_at = identity.expires_at
        identity.look(ends_at - WARN_BEFORE_S - 1)
        self.assertEqual(self.told, [])
        identity.look(ends_at - WARN_BEFORE_S)
        identity.look(ends_at - WARN_BEFORE_S + WARN_EVERY_S - 1)
        [(level, text)] = self.told
        self.assertEqual(level, LogLevel.warn)
        self.assertIn("for 14 more days only", text)
        identity.look(ends_at - WARN_BEFORE_S + WARN_EVERY_S)
        self.assertEqual(len(self.told), 2)
        identity.look(ends_at)
        level, text = self.told[-1]
        self.assertEqual(level, LogLevel.error)
        self.assertIn("has expired", text)
