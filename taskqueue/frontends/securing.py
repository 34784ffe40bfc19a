"""
The broker's side of TLS: which certificate an endpoint shows, and how a new one comes into
force while the broker runs.

Files are looked at again and again (L{ServerIdentity.look}).  What has changed is read once
it has kept still from one look to the next, for a certificate and its key are seldom replaced
in one instant.  What cannot be used is told of, and what was in force stays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from taskqueue.beanstalkd_line import escaped
from taskqueue.config import ListenConfig
from taskqueue.config.endpoints import Endpoint
from taskqueue.transport.certificates import (
    BadCertificate,
    Chain,
    day_of,
    files_in,
    host_names,
    read_certificates,
    read_chain,
    read_directory,
    readable_by_all,
)
from taskqueue.transport.contexts import server_context

#: How long before a certificate ends to be valid this is told, seconds, and how often.
WARN_BEFORE_S = 14 * 86400.0
WARN_EVERY_S = 86400.0

#: What a file looks like from outside, and so all files of an identity.
_Mark = tuple[tuple[str, int, int, int] | None, ...]


class TLSFiles(NamedTuple):
    """
    Where an endpoint has its certificates from; empty where there is no such file.

    @ivar directory: with a file for each name of the broker, instead of C{certificate}.
    @ivar client: whether a client needs a certificate: C{"none"}, C{"optional"} or
        C{"required"}.
    """

    certificate: str
    key: str
    extra: str = ""
    directory: str = ""
    client_ca: str = ""
    client: str = "none"


def tls_files(endpoint: Endpoint, listen: ListenConfig) -> TLSFiles:
    """What a C{tls:} or C{ssl:} endpoint says, and C{[listen]} where that says nothing."""
    given = endpoint.arguments
    if endpoint.type == "ssl":
        # As Twisted reads it: the certificate may be in the key's file.
        key = given.get("privateKey", "server.pem")
        return TLSFiles(given.get("certKey", key), key, given.get("extraCertChain", ""))
    certificate, key = listen.tls_certificate, listen.tls_key
    if "certificate" in given:
        certificate, key = given["certificate"], given.get("key", "")
    client = given.get("client", listen.tls_client)
    authority = given.get("client_ca", listen.tls_client_ca) if client != "none" else ""
    return TLSFiles(certificate, key, "", given.get("path", ""), authority, client)


def below_tls(endpoint: Endpoint) -> str:
    """The endpoint string of what a C{tls:} or C{ssl:} endpoint encrypts."""
    given = endpoint.arguments
    if "systemd" in given:
        return f"systemd:domain={given.get('domain', 'INET')}:name={escaped(given['systemd'])}"
    interface = given.get("interface", "::" if "path" in given else "")
    parts = ["tcp6" if ":" in interface else "tcp", given["port"]]
    if interface:
        parts.append(f"interface={escaped(interface)}")
    if "backlog" in given:
        parts.append(f"backlog={given['backlog']}")
    return ":".join(parts)


@implementer(IOpenSSLServerConnectionCreator)
class ServerIdentity:
    """
    The certificates that one endpoint shows.

    @ivar expires_at: when the first of them ends to be valid, in seconds since 1970.
    """

    _log = Logger()

    def __init__(self, name: str, files: TLSFiles, protocols: Sequence[bytes] = ()) -> None:
        """
        @param name: what to call the endpoint in logs.
        @param protocols: what may be spoken inside, for ALPN.
        """
        self.name = name
        self.files = files
        self.expires_at = 0.0
        self._protocols = protocols
        self._context: SSL.Context | None = None
        self._by_host: dict[str, SSL.Context] = {}
        self._loaded: _Mark = ()
        self._seen: _Mark = ()
        self._warned_at = 0.0

    def load(self, now: float) -> None:
        """
        Read the files, and use what they hold for connections from now on.

        @param now: seconds since 1970.
        @raises BadCertificate: they cannot be used; what was in force stays.
        """
        self._loaded = self._seen = self._mark()
        files = self.files
        if files.directory:
            chains = read_directory(files.directory)
        else:
            chains = [read_chain(files.certificate, files.key, files.extra)]
        authorities = read_certificates(files.client_ca) if files.client_ca else []
        contexts = [
            server_context(chain, authorities, files.client, self._protocols) for chain in chains
        ]
        self._by_host = {
            host: context
            for chain, context in zip(chains, contexts, strict=True)
            for host in host_names(chain.certificate)
        }
        contexts[0].set_tlsext_servername_callback(self._choose)
        self._context = contexts[0]
        self._tell(chains, now)

    def _tell(self, chains: Sequence[Chain], now: float) -> None:
        """Say what is in force from now on."""
        self.expires_at = min(chain.expires_at for chain in chains)
        self._warned_at = 0.0
        self._log.info(
            "the certificate of {name} is valid until {until}: {hosts}",
            name=self.name,
            until=day_of(self.expires_at),
            hosts=", ".join(sorted(self._by_host)) or "it names no host",
        )
        for path in self._secret_files():
            if readable_by_all(path):
                self._log.warn(
                    "the private key in {path} can be read by every user of this machine: chmod "
                    "it to 600 or 640",
                    path=path,
                )
        self._warn_of_end(now)

    def _secret_files(self) -> list[str]:
        if self.files.directory:
            return [each for each in files_in(self.files.directory) if each.endswith(".pem")]
        return [self.files.key or self.files.certificate]

    def _choose(self, connection: SSL.Connection) -> None:
        """Show the certificate for the host that a client names; else the first one."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        found = self._by_host.get(name) or self._by_host.get("*." + name.partition(".")[2])
        if found is not None:
            connection.set_context(found)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A new connection, of OpenSSL, with what is in force."""
        assert self._context is not None, "an identity is loaded before it is used"
        return SSL.Connection(self._context, None)

    # --- while it is in force ---------------------------------------------------------------

    def look(self, now: float) -> None:
        """
        Read the files again where they have changed; warn of an end that is near.

        @param now: seconds since 1970.
        """
        before, self._seen = self._seen, self._mark()
        if self._seen != self._loaded and self._seen == before:
            self.renew(now)
        self._warn_of_end(now)

    def renew(self, now: float) -> None:
        """Read the files again; where they cannot be used, say so and go on as before."""
        try:
            self.load(now)
        except BadCertificate as error:
            self._log.error(
                "the certificate of {name} is not renewed, the old one stays in force: {error}",
                name=self.name,
                error=error,
            )

    def _warn_of_end(self, now: float) -> None:
        left_s = self.expires_at - now
        if left_s > WARN_BEFORE_S or now - self._warned_at < WARN_EVERY_S:
            return
        self._warned_at = now
        if left_s > 0:
            self._log.warn(
                "the certificate of {name} is valid for {days} more days only, until {until}: "
                "replace its file, the broker reads it again by itself",
                name=self.name,
                days=int(left_s / 86400),
                until=day_of(self.expires_at),
            )
        else:
            self._log.error(
                "the certificate of {name} has expired, at {until}, and clients refuse it: "
                "replace its file, the broker reads it again by itself",
                name=self.name,
                until=day_of(self.expires_at),
            )

    def _mark(self) -> _Mark:
        """What the files look like from outside: another mark, other content."""
        paths = [each for each in self.files[:5] if each]
        if self.files.directory:
            try:
                paths += files_in(self.files.directory)
            except BadCertificate:
                paths.append("")
        return tuple(_look_at(path) for path in paths)


def _look_at(path: str) -> tuple[str, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return path, found.st_mtime_ns, found.st_ino, found.st_size
