"""
TLS as OpenSSL is told to speak it: what Mozilla calls "intermediate".

TLS 1.2 and 1.3, for the former only suites with forward secrecy and authenticated
encryption; no renegotiation, no compression.  See
U{https://wiki.mozilla.org/Security/Server_Side_TLS}, version 5.7; of its list, the suites with
finite-field Diffie-Hellman are left out, for they need parameters and no client of the last
ten years needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509Name, X509StoreFlags

from taskqueue.transport.certificates import BadCertificate, Chain

#: For TLS 1.2; those of 1.3 are all good.
CIPHERS = ":".join(
    f"ECDHE-{kind}-{suite}"
    for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for kind in ("ECDSA", "RSA")
).encode("ascii")

#: Whether a client is asked for a certificate, to how OpenSSL is told.
VERIFY = {
    "none": SSL.VERIFY_NONE,
    "optional": SSL.VERIFY_PEER,
    "required": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}

_OPTIONS = SSL.OP_ALL | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_SINGLE_ECDH_USE


def server_context(
    chain: Chain,
    authorities: Sequence[x509.Certificate] = (),
    client: str = "none",
    protocols: Sequence[bytes] = (),
) -> SSL.Context:
    """
    For the side that is connected to.

    @param authorities: who may sign the certificates of clients.
    @param client: C{"none"}, C{"optional"} or C{"required"}.
    @param protocols: what may be spoken inside, the preferred first, for ALPN; empty: it is
        not negotiated.
    @raises BadCertificate: OpenSSL refuses the certificate or its key.
    """
    context = _context(SSL.TLS_SERVER_METHOD)
    _present(context, chain)
    if client != "none":
        _trust(context, authorities)
        context.set_client_ca_list([_name(each) for each in authorities])
        # A session that is taken up again would not show the certificate again.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)
    context.set_verify(VERIFY[client])
    if protocols:
        _choose(context, protocols)
    return context


def client_context(
    authorities: Iterable[x509.Certificate] | None, chain: Chain | None
) -> SSL.Context:
    """
    For the side that connects.  It verifies nothing: whether, and for which host, is for
    whoever uses it.

    @param authorities: who may sign the certificates of brokers; C{None}: whom this machine
        trusts.
    @param chain: the client's own; C{None} for none.
    @raises BadCertificate: OpenSSL refuses the client's certificate or its key.
    """
    context = _context(SSL.TLS_CLIENT_METHOD)
    if authorities is None:
        context.set_default_verify_paths()
    else:
        _trust(context, authorities)
    if chain is not None:
        _present(context, chain)
    return context


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_cipher_list(CIPHERS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _present(context: SSL.Context, chain: Chain) -> None:
    try:
        context.use_certificate(chain.certificate)
        for each in chain.above:
            context.add_extra_chain_cert(each)
        context.use_privatekey(chain.key)
        context.check_privatekey()
    except SSL.Error as error:
        subject = chain.certificate.subject.rfc4514_string()
        raise BadCertificate(
            f"the certificate of {subject} is refused: {words_of(error)}"
        ) from None


def _trust(context: SSL.Context, authorities: Iterable[x509.Certificate]) -> None:
    store = context.get_cert_store()
    assert store is not None
    # Whoever names a certificate that is not self-signed trusts that one, not all of its kind.
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    for each in authorities:
        store.add_cert(X509.from_cryptography(each))


def _name(authority: x509.Certificate) -> X509Name:
    return X509.from_cryptography(authority).get_subject()


def _choose(context: SSL.Context, protocols: Sequence[bytes]) -> None:
    """Negotiate what is spoken inside; whoever offers none of it finds out by speaking."""

    def choose(_: SSL.Connection, offered: list[bytes]) -> Any:
        return next((each for each in protocols if each in offered), SSL.NO_OVERLAPPING_PROTOCOLS)

    context.set_alpn_select_callback(choose)


#: What OpenSSL says, and how we say it.
_WORDS = (
    ("http request", "it is plain HTTP, not TLS: the address begins with https here"),
    ("wrong version number", "it is not TLS: the other side speaks without encryption"),
    ("unsupported protocol", "the other side offers nothing newer than TLS 1.1; 1.2 is needed"),
    ("alert protocol version", "the other side takes no TLS of 1.2 or newer"),
    ("no shared cipher", "there is no cipher that both sides take"),
    ("alert handshake failure", "the other side found nothing that both take, or refuses us"),
    ("did not return a certificate", "the client showed no certificate, and one is required"),
    ("certificate required", "the broker requires a client certificate, and none was shown"),
    ("alert unknown ca", "the other side does not know who signed our certificate"),
    ("alert bad certificate", "the other side refuses our certificate"),
    ("alert certificate expired", "the other side says that our certificate has expired"),
    ("alert certificate unknown", "the other side refuses our certificate"),
    ("no renegotiation", "a renegotiation was asked for, which is refused"),
    ("unexpected eof", "the other side closed the connection in the middle of it"),
)


def is_no_tls(error: BaseException | None) -> bool:
    """Whether OpenSSL says that what the other side sent is no TLS at all."""
    said = str(error).lower()
    return "wrong version number" in said or "http request" in said


def words_of(error: BaseException) -> str:
    """What OpenSSL, or Python about it, says went wrong, for people."""
    arguments = error.args[0] if error.args and isinstance(error.args[0], list) else None
    if arguments is None:
        text = str(error) or type(error).__name__
    else:
        text = "; ".join(reason for _, _, reason in arguments) or "TLS was ended"
    lower = text.lower().replace("_", " ")
    for sign, words in _WORDS:
        if sign in lower:
            return f"{words} ({text})"
    return text
