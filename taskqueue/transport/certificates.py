"""
Certificates and keys in files, read and judged.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from taskqueue.errors import TaskQueueError

#: A larger file is something else.
_LONGEST_FILE = 1024 * 1024

_BEGINS_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_BEGINS_KEY = b"PRIVATE KEY-----"


class BadCertificate(TaskQueueError):
    """A file does not hold the certificate, or the key, that it should."""

    code = "BAD_CERTIFICATE"


class Chain(NamedTuple):
    """
    Who one is, and how one proves it.

    @ivar certificate: one's own.
    @ivar above: those of who signed it, from it upward.
    @ivar key: its private key; of one of the classes of C{cryptography}.
    """

    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...]
    key: Any

    def __repr__(self) -> str:
        """Nothing of the key."""
        return f"<Chain of {self.certificate.subject.rfc4514_string()}>"

    @property
    def expires_at(self) -> float:
        """When the first of its certificates ends to be valid, in seconds since 1970."""
        return min(ends_at(each) for each in (self.certificate, *self.above))


def ends_at(certificate: x509.Certificate) -> float:
    """When a certificate ends to be valid, in seconds since 1970."""
    return certificate.not_valid_after_utc.timestamp()


def day_of(moment: float) -> str:
    """A moment in seconds since 1970, for people."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def read_chain(certificate_file: str, key_file: str = "", extra_file: str = "") -> Chain:
    """
    A certificate with its chain and its key.

    @param key_file: where the key is; empty: in the same file.
    @param extra_file: where more of the chain is; empty: nowhere.
    @raises BadCertificate: they cannot be read, or do not belong together.
    """
    found = read_certificates(certificate_file)
    key_file = key_file or certificate_file
    key = _read_key(key_file)
    spoken = _public_bytes(key.public_key())
    own = [each for each in found if _public_bytes(each.public_key()) == spoken]
    if not own:
        raise BadCertificate(
            f"the key in {key_file} does not belong to the certificate in {certificate_file}: if "
            f"one of them is new, the other is still the old one"
        )
    above = [each for each in found if each is not own[0]]
    if extra_file:
        above += read_certificates(extra_file)
    return Chain(own[0], tuple(above), key)


def read_certificates(path: str) -> list[x509.Certificate]:
    """
    All certificates in a file.

    @raises BadCertificate: it cannot be read, or has none.
    """
    content = _read(path)
    if _BEGINS_CERTIFICATE not in content:
        raise BadCertificate(f"{path} holds no certificate in PEM format")
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise BadCertificate(f"{path} holds a certificate that cannot be read: {error}") from None


def _read_key(path: str) -> Any:
    content = _read(path)
    if _BEGINS_KEY not in content:
        raise BadCertificate(f"{path} holds no private key in PEM format")
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        raise BadCertificate(
            f"the private key in {path} is encrypted: nobody is there to type its password, so "
            f"decrypt it (openssl pkey) and let nobody but this program read it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # What the library says may show parts of the key.
        raise BadCertificate(f"the private key in {path} cannot be read") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise BadCertificate(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > _LONGEST_FILE:
        raise BadCertificate(f"{path} is longer than {_LONGEST_FILE} bytes: no certificate is")
    return content


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def read_directory(path: str) -> list[Chain]:
    """
    The chains in a directory: in each file that ends in C{.pem}, a certificate, its chain
    and its key; by the names of the files.

    @raises BadCertificate: there is none, or one of them cannot be used.
    """
    files = [name for name in files_in(path) if name.endswith(".pem")]
    if not files:
        raise BadCertificate(f"there is no file that ends in .pem in the directory {path}")
    return [read_chain(name) for name in files]


def files_in(path: str) -> list[str]:
    """
    What is in a directory, sorted.

    @raises BadCertificate: it is none.
    """
    try:
        return sorted(str(each) for each in Path(path).iterdir())
    except OSError as error:
        raise BadCertificate(f"{path} cannot be read: {error.strerror or error}") from None


def readable_by_all(path: str) -> bool:
    """Whether any user of this machine may read a file, as far as its own mode tells."""
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False


def host_names(certificate: x509.Certificate) -> list[str]:
    """The names of hosts that a certificate is for, in lower case; such as C{*.example.org}."""
    names = alternatives(certificate)
    return (
        [] if names is None else [each.lower() for each in names.get_values_for_type(x509.DNSName)]
    )


def alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """The names in a certificate's subjectAltName; C{None} where it has none that can be read."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return found.value
