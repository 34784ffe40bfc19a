"""What is read from the files of certificates, and what is said of those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.transport.certificates import (
    BadCertificate,
    day_of,
    host_names,
    read_chain,
    read_directory,
    readable_by_all,
)
from taskqueue.transport.contexts import server_context, words_of
from taskqueue.transport.naming import certificate_of, named_by, wrong_host
from tests.transport.authority import Files


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = Files(self.mktemp())

    def refusal(self, certificate: str, key: str = "") -> str:
        return str(self.assertRaises(BadCertificate, read_chain, certificate, key))

    def write(self, content: str | bytes) -> str:
        path = str(self.files.directory / "odd.pem")
        Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def test_one_file_or_two(self) -> None:
        path = self.files.issue("broker.example.org")
        whole, parts = read_chain(path), read_chain(*self.files.split(path))
        self.assertEqual(whole.certificate, parts.certificate)
        self.assertEqual(host_names(whole.certificate), ["broker.example.org"])
        self.assertAlmostEqual(whole.expires_at, whole.certificate.not_valid_after_utc.timestamp())

    def test_the_order_of_certificates_does_not_matter(self) -> None:
        """What belongs to the key is one's own, the rest is the chain."""
        path = self.files.issue("broker.example.org")
        odd = self.write(Path(self.files.ca).read_text() + Path(path).read_text())
        chain = read_chain(odd)
        self.assertEqual(host_names(chain.certificate), ["broker.example.org"])
        self.assertEqual(len(chain.above), 1)

    def test_what_is_missing(self) -> None:
        certificate, key = self.files.split(self.files.issue())
        self.assertIn("No such file", self.refusal("/nowhere/at/all.pem"))
        self.assertIn(f"{key} holds no certificate", self.refusal(key))
        self.assertIn(f"{certificate} holds no private key", self.refusal(certificate))
        self.assertIn("Is a directory", self.refusal(str(self.files.directory)))

    def test_a_key_of_another(self) -> None:
        certificate, _ = self.files.split(self.files.issue())
        other = self.files.issue(to="other")
        self.assertIn("does not belong to the certificate", self.refusal(certificate, other))

    def test_damaged(self) -> None:
        path = self.files.issue()
        text = Path(path).read_text()
        end = text.index("-----BEGIN CERTIFICATE")
        nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        self.assertIn("cannot be read", self.refusal(self.write(text[:end] + nonsense)))
        nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        self.assertIn("cannot be read", self.refusal(path, self.write(nonsense)))
        self.assertIn("longer than", self.refusal(self.write(b"x" * 2**20 + b"y")))

    def test_an_encrypted_key(self) -> None:
        path = self.files.issue()
        encrypted = self.write(
            read_chain(path).key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            )
        )
        self.assertIn("is encrypted", self.refusal(path, encrypted))

    def test_nothing_of_the_key_is_shown(self) -> None:
        chain = read_chain(self.files.issue())
        self.assertNotIn("key", repr(chain))
        self.assertIn("Chain of", repr(chain))

    def test_a_directory(self) -> None:
        directory = str(self.files.directory / "many")
        many = Files(directory)
        os.unlink(many.ca)
        self.assertIn(
            "no file that ends in .pem",
            str(self.assertRaises(BadCertificate, read_directory, directory)),
        )
        many.issue("b.example.org", to="b")
        many.issue("a.example.org", to="a")
        names = [host_names(chain.certificate) for chain in read_directory(directory)]
        self.assertEqual(names, [["a.example.org"], ["b.example.org"]])
        self.assertIn(
            "No such file", str(self.assertRaises(BadCertificate, read_directory, "/no/where"))
        )

    def test_modes(self) -> None:
        path = self.files.issue()
        self.assertFalse(readable_by_all(path))
        os.chmod(path, 0o644)
        self.assertTrue(readable_by_all(path))
        self.assertFalse(readable_by_all("/no/where"))

    def test_days(self) -> None:
        self.assertEqual(day_of(0.0), "1970-01-01 00:00 UTC")


class NamingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = Files(self.mktemp())

    def certificate(self, *names: str, **how: str):
        return read_chain(self.files.issue(*names, **how)).certificate

    def test_whom_it_names(self) -> None:
        certificate = self.certificate(
            "w1.example.org", "10.0.0.1", "w@example.org", common_name="worker 1"
        )
        subject, names = named_by(certificate)
        self.assertIn("CN=worker 1", subject)
        self.assertEqual(set(names), {"DNS:w1.example.org", "IP:10.0.0.1", "EMAIL:w@example.org"})

    def test_a_transport_without_certificates(self) -> None:
        self.assertIsNone(certificate_of(object()))

    def test_hosts(self) -> None:
        certificate = self.certificate("broker.example.org", "*.cells.example.org", "10.0.0.1")
        for host in ("broker.example.org", "BROKER.example.org", "a.cells.example.org", "10.0.0.1"):
            self.assertIsNone(wrong_host(certificate, host), host)
        for host in ("example.org", "a.b.cells.example.org", "10.0.0.2", "::1", "a b"):
            why = wrong_host(certificate, host)
            self.assertIsNotNone(why, host)
            self.assertIn(host, str(why))
        why = str(wrong_host(certificate, "other.example.org"))
        self.assertIn("is not for other.example.org: it has", why)
        self.assertIn("DNS:broker.example.org", why)

    def test_a_common_name_is_no_host(self) -> None:
        """As RFC 9525 has it: only what is in subjectAltName counts."""
        certificate = self.certificate("w@example.org", common_name="broker.example.org")
        self.assertIn("EMAIL:w@example.org", str(wrong_host(certificate, "broker.example.org")))


class ContextTests(SynchronousTestCase):
    def test_openssl_refuses(self) -> None:
        """A key that is too weak to be used, as OpenSSL sees it."""
        chain = read_chain(Files(self.mktemp()).issue())
        other = read_chain(Files(self.mktemp()).issue())
        error = self.assertRaises(BadCertificate, server_context, chain._replace(key=other.key))
        self.assertIn("is refused", str(error))

    def test_words(self) -> None:
        for error, words in (
            (SSL.Error([("SSL routines", "", "wrong version number")]), "it is not TLS"),
            (SSL.Error([("SSL routines", "", "http request")]), "plain HTTP"),
            (SSL.Error([("SSL routines", "", "something else")]), "something else"),
            (SSL.Error([]), "TLS was ended"),
            (ValueError(), "ValueError"),
        ):
            self.assertIn(words, words_of(error))
