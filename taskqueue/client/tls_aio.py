"""
TLS towards a broker, on asyncio: the broker's certificate is verified, and for whom it is.
"""

from __future__ import annotations

import ssl
from typing import Any

from cryptography import x509

from taskqueue.client.tls import TLS, not_trusted, reading
from taskqueue.errors import BadRequest, CannotConnect
from taskqueue.transport.certificates import read_certificates, read_chain
from taskqueue.transport.contexts import CIPHERS, words_of
from taskqueue.transport.naming import wrong_host


def make_context(settings: TLS) -> ssl.SSLContext:
    """
    What connections are made with.

    The name is verified by L{verify}, which says what it found, not by this.

    @raises BadRequest: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS.decode("ascii"))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.insecure_accept_any_certificate:
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca:
        reading(read_certificates, settings.ca)  # it says what is wrong
        context.load_verify_locations(settings.ca)
    else:
        context.load_default_certs()
    if settings.certificate:
        reading(read_chain, settings.certificate, settings.key or "")
        try:
            context.load_cert_chain(settings.certificate, settings.key or None)
        except (ssl.SSLError, OSError) as error:
            raise BadRequest(f"TLS: {settings.certificate} is refused: {error}") from None
    return context


def verify(transport: Any, name: str) -> CannotConnect | None:
    """
    Whether the broker that was connected to is another than C{name}.

    @param transport: of asyncio, its handshake over; its chain was verified.
    """
    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if shown is None:
        return CannotConnect("the broker showed no certificate")
    why = wrong_host(x509.load_der_x509_certificate(shown), name)
    return None if why is None else CannotConnect(why)


def refusal(error: BaseException) -> CannotConnect:
    """Why a handshake came to nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CannotConnect(not_trusted(error.verify_code, error.verify_message))
    return CannotConnect(f"TLS: {words_of(error)}")
