"""
TLS towards a broker, on Twisted: the broker's certificate is verified, and for whom it is.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.client.addresses import Place
from taskqueue.client.tls import TLS, expected_name, not_trusted, reading
from taskqueue.errors import CannotConnect
from taskqueue.transport.certificates import read_certificates, read_chain
from taskqueue.transport.contexts import client_context, words_of
from taskqueue.transport.naming import is_address, wrong_host


def make_context(settings: TLS) -> SSL.Context:
    """
    What connections are made with.

    @raises BadRequest: a file cannot be used.
    """
    trusted = reading(read_certificates, settings.ca) if settings.ca else None
    own = None
    if settings.certificate:
        own = reading(read_chain, settings.certificate, settings.key or "")
    context: SSL.Context = reading(lambda: client_context(trusted, own))
    return context


def secured(
    endpoint: IStreamClientEndpoint, place: Place, settings: TLS, context: SSL.Context
) -> IStreamClientEndpoint:
    """The endpoint, encrypted."""
    name = expected_name(settings, place)
    checked = not settings.insecure_accept_any_certificate
    wrapped: IStreamClientEndpoint = wrapClientTLS(Verifying(context, name, checked), endpoint)
    return wrapped


@implementer(IOpenSSLClientConnectionCreator)
class Verifying:
    """Makes the connections, of OpenSSL, to one broker."""

    def __init__(self, context: SSL.Context, name: str, checked: bool) -> None:
        """
        @param name: whom the broker's certificate has to be for.
        @param checked: whether anything is verified at all.
        """
        self._context = context
        self._name = name
        self._checked = checked

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A new one."""
        connection = SSL.Connection(self._context, None)
        if not is_address(self._name):
            connection.set_tlsext_host_name(self._name.encode("idna"))
        if self._checked:
            judge = Judge(self._name, protocol.failVerification)
            connection.set_verify(SSL.VERIFY_PEER, judge.verify)
        return connection


class Judge:
    """Verifies the certificates of one handshake."""

    _log = Logger()

    def __init__(self, name: str, refuse: Any) -> None:
        """
        @param refuse: called once with the L{Failure} for which a certificate is refused.
        """
        self._name = name
        self._refuse = refuse

    def verify(
        self, connection: SSL.Connection, shown: X509, fault: int, depth: int, good: int
    ) -> bool:
        """
        Whether one certificate of the chain is good; OpenSSL asks from the top down to the
        broker's own.
        """
        try:
            why = self._fault_of(shown, fault, depth, bool(good))
        except Exception:  # OpenSSL would swallow it
            self._log.failure("a broker's certificate could not be verified")
            why = "the broker's certificate could not be verified"
        if why is None:
            return True
        self._refuse(Failure(CannotConnect(why)))
        return False

    def _fault_of(self, shown: X509, fault: int, depth: int, good: bool) -> str | None:
        if not good:
            return not_trusted(fault)
        return wrong_host(shown.to_cryptography(), self._name) if depth == 0 else None


def refusal(reason: Failure) -> CannotConnect:
    """Why a handshake came to nothing."""
    error = reason.value
    if isinstance(error, CannotConnect):
        return error
    return CannotConnect(f"TLS: {words_of(error) if error is not None else 'it was ended'}")
