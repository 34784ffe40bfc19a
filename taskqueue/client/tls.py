"""
How a client makes sure whom it talks to, and that nobody listens: what can be said about it,
and what went wrong, in words.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from taskqueue.client.addresses import Place
from taskqueue.errors import BadRequest

#: Where files are named when the program does not name them.
CA_VARIABLE = "TASKQUEUE_TLS_CA"
CERTIFICATE_VARIABLE = "TASKQUEUE_TLS_CERTIFICATE"
KEY_VARIABLE = "TASKQUEUE_TLS_KEY"

_log = Logger()


@dataclass(frozen=True, kw_only=True)
class TLS:
    """
    How to speak TLS with a broker.

    @ivar ca: the file of those who may sign the broker's certificate, PEM; C{None}: what
        C{TASKQUEUE_TLS_CA} names, or else those that this machine trusts.
    @ivar certificate: the file of the client's own certificate and its chain, where the broker
        asks for one; C{None}: what C{TASKQUEUE_TLS_CERTIFICATE} names, or else none.
    @ivar key: the file of its key; C{None}: what C{TASKQUEUE_TLS_KEY} names, or else the
        certificate's file.
    @ivar server_name: whom the broker's certificate has to be for; C{None}: the host in the
        address.
    @ivar insecure_accept_any_certificate: verify nothing: anybody on the way can pretend to be
        the broker, and read and change everything, the key of this client too.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None
    insecure_accept_any_certificate: bool = False

    def completed(self, environ: Mapping[str, str]) -> TLS:
        """The same, with what the environment says where it says nothing."""
        certificate, key = self.certificate, self.key
        if certificate is None:
            certificate = environ.get(CERTIFICATE_VARIABLE)
            key = environ.get(KEY_VARIABLE) if key is None else key
        return TLS(
            ca=self.ca if self.ca is not None else environ.get(CA_VARIABLE),
            certificate=certificate,
            key=key,
            server_name=self.server_name,
            insecure_accept_any_certificate=self.insecure_accept_any_certificate,
        )


def tls_for(
    places: Sequence[Place], tls: TLS | bool | None, environ: Mapping[str, str] | None = None
) -> TLS | None:
    """
    How the connections to C{places} are encrypted; C{None}: not at all.

    @param tls: what the program says: C{None}: as the addresses have it.
    @raises BadRequest: it contradicts the addresses.
    """
    wanted = any(place.secure for place in places)
    if not tls:
        if tls is False and wanted:
            raise BadRequest("tls=False, but an address begins with tqs://, which is encrypted")
        if not wanted:
            return None
        if not all(place.secure for place in places):
            raise BadRequest(
                "some addresses begin with tqs:// and some do not: encrypt all of them, or none"
            )
    if any(place.host is None for place in places):
        raise BadRequest("a Unix socket is not encrypted: leave tls out with unix: addresses")
    settings = tls if isinstance(tls, TLS) else TLS()
    return settings.completed(os.environ if environ is None else environ)


def warn_where_insecure(tls: TLS | None) -> None:
    """Say it at each start."""
    if tls is not None and tls.insecure_accept_any_certificate:
        _log.warn(
            "TLS CERTIFICATES ARE NOT VERIFIED (insecure_accept_any_certificate): anybody on the "
            "way can pretend to be the broker, and read and change everything, keys too"
        )


#: What OpenSSL finds wrong with a certificate, by number, and how we say it.
_FAULTS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself, and by nobody that this client trusts",
    19: "it is signed by an authority that this client does not trust",
    20: "it is signed by an authority that this client does not know",
    21: "it is signed by an authority that this client does not know",
    23: "it was revoked",
}

#: Those that are mended by naming an authority.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)


def not_trusted(fault: int, otherwise: str = "") -> str:
    """
    Why a broker's certificate is refused.

    @param fault: as OpenSSL numbers it.
    @param otherwise: what to say of a number that is rare.
    """
    why = _FAULTS.get(fault) or otherwise or f"OpenSSL finds fault {fault} with it"
    hint = ""
    if fault in _UNKNOWN_AUTHORITY:
        hint = (
            f"; name the file of its authority (tls=TLS(ca=FILE), --tls-ca FILE, or {CA_VARIABLE})"
        )
    return f"the broker's certificate is refused: {why}{hint}"


def expected_name(settings: TLS, place: Place) -> str:
    """Whom the broker's certificate has to be for."""
    return settings.server_name or place.host or ""


def speaks_tls(data: bytes) -> bool:
    """Whether what came in without TLS is an alert of TLS."""
    return data.startswith((b"\x15\x03", b"\x16\x03"))


#: What to say to whoever speaks plainly at an endpoint that speaks TLS.
IT_SPEAKS_TLS = "the broker there speaks TLS: write tqs:// instead of tq://"


def reading(call: Any, *files: str) -> Any:
    """
    What C{call} makes of files.

    @raises BadRequest: they cannot be used.
    """
    from taskqueue.transport.certificates import BadCertificate

    try:
        return call(*files)
    except BadCertificate as error:
        raise BadRequest(f"TLS: {error}") from None
