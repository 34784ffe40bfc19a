"""
Whom a certificate names: the subject and the names of a client's, and whether a broker's is
for the host that was asked for.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, NamedTuple

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from taskqueue.transport.certificates import alternatives

#: How each kind of name in a certificate is called; others are left out.
_KINDS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.RFC822Name: "EMAIL",
    x509.UniformResourceIdentifier: "URI",
}


class PeerCertificate(NamedTuple):
    """
    Whom a certificate names.

    @ivar subject: as RFC 4514 writes it, such as C{CN=worker 7,O=Example}.
    @ivar names: its alternative names, each with its kind: C{DNS:worker7.example.org},
        C{URI:spiffe://example.org/worker}, C{EMAIL:...}, C{IP:...}.
    """

    subject: str
    names: tuple[str, ...]


def named_by(certificate: x509.Certificate) -> PeerCertificate:
    """Whom a certificate names."""
    found = alternatives(certificate) or ()
    names = tuple(f"{_KINDS[type(each)]}:{each.value}" for each in found if type(each) in _KINDS)
    return PeerCertificate(certificate.subject.rfc4514_string(), names)


def certificate_of(transport: Any) -> PeerCertificate | None:
    """
    Whom the certificate of a connection's other end names; it was verified in the handshake.

    @param transport: of Twisted, encrypted or not.
    @return: C{None} where it has shown none, or the connection is not encrypted.
    """
    ask = getattr(transport, "getPeerCertificate", None)
    shown = None if ask is None else ask()
    return None if shown is None else named_by(shown.to_cryptography())


def wrong_host(certificate: x509.Certificate, host: str) -> str | None:
    """
    Whether a certificate is for another host than C{host}.

    @param host: a name or an address.
    @return: what was expected and what the certificate has; C{None} where it fits.
    """
    verify = verify_certificate_ip_address if is_address(host) else verify_certificate_hostname
    try:
        verify(certificate, host)
    except (VerificationError, CertificateError):
        pass
    except Exception as error:  # a certificate may hold anything, and so may an address
        return f"the broker's certificate cannot be checked for {host}: {error}"
    else:
        return None
    subject, names = named_by(certificate)
    has = ", ".join(names) or f"no alternative names at all (its subject is {subject})"
    return f"the broker's certificate is not for {host}: it has {has}"


def is_address(host: str) -> bool:
    """Whether a host is named by its address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
