"""
Where the broker of a connection is, and how it is talked to: from kombu's URL and options.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu import Connection

from taskqueue.client.addresses import DEFAULT_PORT
from taskqueue.client.all_calls import TIMEOUT_S
from taskqueue.client.options import ClientOptions
from taskqueue.client.tls import TLS
from taskqueue.errors import BadRequest

#: The schemes that mean TLS.
SECURE_SCHEMES = ("taskqueues", "tqs")

_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")

#: What C{broker_use_ssl} may say: the names of Redis' options and of AMQP's, and our own.
_CA = ("ssl_ca_certs", "ca_certs", "ca")
_CERTIFICATE = ("ssl_certfile", "certfile", "certificate")
_KEY = ("ssl_keyfile", "keyfile", "key")
_NAME = ("server_hostname", "server_name")
_REQUIRED = ("ssl_cert_reqs", "cert_reqs")
_KNOWN = frozenset((*_CA, *_CERTIFICATE, *_KEY, *_NAME, *_REQUIRED))


@dataclass(frozen=True)
class Options:
    """
    What C{transport_options} may say.

    @ivar visibility_timeout: how long a delivery is a consumer's without a sign of life of its
        process, seconds; C{None}: as the queue and the broker have it.
    @ivar timeout_s: how long an answer of the broker may take.
    @ivar reconnect_timeout_s: how long a lost connection is made anew before the program is
        told of it.
    @ivar api_key: the key by which the broker knows the program; the URL's password
        otherwise, or what the environment has.
    @ivar name: what the program calls itself.
    @ivar global_keyprefix: what the names of its queues begin with at the broker.
    @ivar max_prefetch: deliveries that may wait in the program where it names no limit.
    """

    visibility_timeout: float | None = None
    timeout_s: float = TIMEOUT_S
    reconnect_timeout_s: float = 30.0
    api_key: str | None = None
    name: str = "kombu"
    global_keyprefix: str = ""
    max_prefetch: int = 100

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """
        What is meant for this transport; the others' options may stand beside it.

        @raises BadRequest: an option has a value that means nothing.
        """
        known = {name: given[name] for name in cls.__dataclass_fields__ if name in given}
        options = cls(**known)
        for name in ("visibility_timeout", "timeout_s", "reconnect_timeout_s", "max_prefetch"):
            value = known.get(name)
            if value is not None and not (type(value) in (int, float) and value > 0):
                raise BadRequest(
                    f"transport_options[{name!r}] is {value!r}, expected a number above 0"
                )
        return options


def address_of(connection: Connection) -> str:
    """The client's address of the broker that C{connection} is to."""
    host = connection.hostname or "localhost"
    if host.startswith("unix:"):
        return "unix:/" + host.removeprefix("unix:").lstrip("/")
    if ":" in host:
        host = f"[{host}]"
    scheme = "tqs" if tls_of(connection) else "tq"
    return f"{scheme}://{host}:{connection.port or DEFAULT_PORT}"


def tls_of(connection: Connection) -> TLS | None:
    """
    How the connection is encrypted; C{None}: not at all.

    @raises BadRequest: its C{ssl} says what is not known.
    """
    given = connection.ssl
    secure = connection.transport_cls in SECURE_SCHEMES
    if isinstance(given, str):
        given = _flag(given)
    if given is None or given is False or given == {}:
        return TLS() if secure else None
    if given is True:
        return TLS()
    if not isinstance(given, Mapping):
        raise BadRequest(f"ssl is {given!r}, expected true, false or a mapping of options")
    return _tls(given)


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise BadRequest(f"ssl={text} means nothing: write ssl=true or ssl=false")


def _tls(given: Mapping[str, Any]) -> TLS:
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        raise BadRequest(
            f"ssl has no option {', '.join(unknown)}; there are {', '.join(sorted(_KNOWN))}"
        )

    def first(names: tuple[str, ...]) -> Any:
        return next((given[name] for name in names if given.get(name) is not None), None)

    required = first(_REQUIRED)
    return TLS(
        ca=first(_CA),
        certificate=first(_CERTIFICATE),
        key=first(_KEY),
        server_name=first(_NAME),
        insecure_accept_any_certificate=required in (ssl.CERT_NONE, "none", "CERT_NONE"),
    )


def client_options(connection: Connection, options: Options) -> ClientOptions:
    """
    How the client of C{connection} is made.

    The key is the URL's password, as in C{taskqueue://:key@host}.

    @raises BadRequest: it is somewhere else in the URL.
    """
    given: ClientOptions = {"name": options.name, "timeout_s": options.timeout_s, "codec": "bytes"}
    tls = tls_of(connection)
    if tls is not None:
        given["tls"] = tls
    password = connection.password() if callable(connection.password) else connection.password
    if connection.userid and not password:
        raise BadRequest(
            "the URL names a user and no password: the key is the password, as in"
            " taskqueue://:KEY@host (as a user it would be shown in logs)"
        )
    key = password or options.api_key
    if key:
        given["api_key"] = key
    return given
