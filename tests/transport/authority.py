"""
A private authority, and the files of those whom it signs.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import trustme

HOST = "localhost"
LOOPBACK = "127.0.0.1"


@cache
def authority() -> trustme.CA:
    """The one that everybody in the tests trusts."""
    return trustme.CA()


@cache
def stranger() -> trustme.CA:
    """One that nobody trusts."""
    return trustme.CA()


class Files:
    """
    Files of certificates in a directory.

    @ivar ca: of the authority that is trusted.
    """

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.ca = self._path("ca")
        authority().cert_pem.write_to_path(self.ca)

    def _path(self, name: str) -> str:
        return str(self.directory / f"{name}.pem")

    def issue(
        self,
        *names: str,
        to: str = "server",
        ca: trustme.CA | None = None,
        expired: bool = False,
        **how: Any,
    ) -> str:
        """
        Write a certificate, its chain and its key.

        @param names: of hosts, addresses or mail accounts.
        @param to: what to call the file; one that is there is replaced.
        @return: the path of the file.
        """
        if expired:
            how["not_after"] = datetime.now(UTC) - timedelta(days=1)
            how["not_before"] = datetime.now(UTC) - timedelta(days=2)
        issued = (ca or authority()).issue_cert(*(names or (HOST, LOOPBACK)), **how)
        path = self._path(to)
        fresh = f"{path}.new"
        Path(fresh).write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        os.chmod(fresh, 0o600)
        os.replace(fresh, path)
        return path

    def split(self, path: str) -> tuple[str, str]:
        """Another two files: the certificates alone, and the key alone."""
        whole = Path(path).read_text()
        begin = whole.index("-----BEGIN CERTIFICATE")
        certificate, key = self._path("certificate"), self._path("key")
        Path(certificate).write_text(whole[begin:])
        Path(key).write_text(whole[:begin])
        os.chmod(key, 0o600)
        return certificate, key
