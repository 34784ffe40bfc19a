"""
Judging endpoint strings without a reactor, a file or a socket.

C{twisted.internet.endpoints.serverFromString} needs a reactor, reads
certificates and looks for sockets that systemd handed over, so it cannot tell
on one machine whether a configuration for another is sound.  What it would
refuse for its form is refused here.

C{tls:} means more than to Twisted, which knows only the form with a directory: it is
like C{tcp:}, or like C{systemd:} where it names a socket that systemd handed over, and
takes its certificate from C{[listen] tls_certificate} unless it names its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

#: Endpoint type to the names of its positional arguments, as
#: C{twisted.internet.endpoints} documents them; the first C{_REQUIRED} must be there.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "ssl": (
        "port",
        "privateKey",
        "certKey",
        "sslmethod",
        "interface",
        "backlog",
        "extraCertChain",
        "dhParameters",
    ),
    "tls": (
        "path",
        "port",
        "backlog",
        "interface",
        "certificate",
        "key",
        "client_ca",
        "client",
        "systemd",
        "domain",
    ),
    "systemd": ("domain", "index", "name"),
}

_REQUIRED: Mapping[str, str] = {
    "tcp": "port",
    "tcp6": "port",
    "unix": "address",
    "ssl": "port",
    "systemd": "domain",
}

#: Of C{tls:}, only these may stand without their names, as Twisted has it.
_POSITIONAL_OF_TLS = 4

#: Whether a client is asked for a certificate.
CLIENT_WORDS = ("none", "optional", "required")

_WRAPPER = "haproxy"

#: Of these the description says where they listen; of others only the socket does.
_TELLING = frozenset({"tcp", "tcp6", "ssl", "tls"})


class Endpoint(NamedTuple):
    """
    A taken-apart endpoint string.

    @ivar type: the part before the first colon, of what C{haproxy:} wraps.
    @ivar arguments: name to text; of types that packages add, what has no name
        stands as a name without text.
    """

    type: str
    arguments: Mapping[str, str]

    def clashes(self, other: Endpoint) -> bool:
        """Whether both could not be listened on at the same time."""
        if "port" in self.arguments and "port" in other.arguments:
            return self._same_port(other)
        if self._handed_over() and self._handed_over() == other._handed_over():
            return True
        if self.type != other.type:
            return False
        if self.type == "unix":
            return self.arguments["address"] == other.arguments["address"]
        return self.arguments == other.arguments

    def _same_port(self, other: Endpoint) -> bool:
        mine, theirs = self._interface(), other._interface()
        port = int(self.arguments["port"])
        if port == 0 or port != int(other.arguments["port"]):  # 0 is any free one
            return False
        # Without an interface it is all of them, of one family.
        return mine == theirs or (self._family() == other._family() and "" in (mine, theirs))

    def _handed_over(self) -> str:
        """The name of a socket that systemd hands over; empty for none that has a name."""
        return self.arguments.get("name" if self.type == "systemd" else "systemd", "")

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.type in ("ssl", "tls")

    @property
    def exposed(self) -> bool:
        """
        Whether another machine may reach it, as far as the description tells: of what systemd
        hands over, and of endpoint types that packages add, only the socket does.
        """
        if self.type not in _TELLING or "systemd" in self.arguments:
            return False
        return not is_loopback(self.arguments.get("interface", ""))

    def _family(self) -> str:
        sixth = "path" in self.arguments or ":" in self.arguments.get("interface", "")
        return "tcp6" if self.type == "tcp6" or (self.type == "tls" and sixth) else "tcp"

    def _interface(self) -> str:
        given = self.arguments.get("interface", "")
        return "" if given in ("0.0.0.0", "::") else given


def parse_endpoint(text: str) -> Endpoint:
    """
    Take an endpoint string apart.

    @raises ValueError: it cannot be an endpoint; the message says why.
    """
    positional, named = _split(text)
    if positional and _is_wrapper(positional[0]):
        del positional[0]
    if not positional or not positional[0]:
        raise ValueError("it does not begin with an endpoint type such as tcp: or unix:")
    kind = positional.pop(0)
    if kind in _ARGUMENTS:
        endpoint = Endpoint(kind, _bind(kind, positional, named))
        _check(endpoint)
        return endpoint
    if kind.lower() not in _plugin_types():
        raise ValueError(f"no endpoint type is called {kind!r}")
    return Endpoint(kind, {**dict.fromkeys(positional, ""), **named})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or a name that stands for it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # none is all of them
        return False


def unwrapped(text: str) -> tuple[bool, str]:
    """
    What an endpoint string says without C{haproxy:} before it.

    @return: whether that stood there, and the rest.
    """
    first, _, rest = text.partition(":")
    return (True, rest) if _is_wrapper(first) else (False, text)


def _is_wrapper(kind: str) -> bool:
    return kind.lower() == _WRAPPER


def _split(text: str) -> tuple[list[str], dict[str, str]]:
    """The colon-separated parts: those without and those with a name; C{\\} escapes."""
    positional: list[str] = []
    named: dict[str, str] = {}
    name, part = None, ""
    characters = iter(text + ":")
    for character in characters:
        if character == "\\":
            escaped = next(characters)
            part += escaped
        elif character == "=" and name is None:
            name, part = part, ""
        elif character != ":":
            part += character
        elif name is None:
            positional.append(part)
            part = ""
        else:
            named[name] = part
            name, part = None, ""
    if name is not None or part:  # the closing colon was escaped
        raise ValueError("it ends in a backslash that escapes nothing")
    return positional, named


def _bind(kind: str, positional: list[str], named: Mapping[str, str]) -> dict[str, str]:
    names = _ARGUMENTS[kind]
    most = _POSITIONAL_OF_TLS if kind == "tls" else len(names)
    if len(positional) > most:
        raise ValueError(
            f"{kind}: takes at most {most} arguments without a name ({', '.join(names[:most])})"
        )
    arguments = dict(zip(names, positional, strict=False))
    for name, value in named.items():
        if name not in names:
            raise ValueError(f"{kind}: has no argument {name!r}; it has {', '.join(names)}")
        if name in arguments:
            raise ValueError(f"the argument {name!r} of {kind}: is given twice")
        arguments[name] = value
    if kind == "tls" and arguments.get("path") == "":
        del arguments["path"]  # of tls: alone
    if kind == "tls" and "path" in arguments:
        arguments.setdefault("port", "443")
    if kind in _REQUIRED and not arguments.get(_REQUIRED[kind]):
        raise ValueError(f"{kind}: needs the argument {_REQUIRED[kind]!r}")
    return arguments


def _check(endpoint: Endpoint) -> None:
    """@raises ValueError: an argument has a value that it cannot have."""
    arguments = endpoint.arguments
    for name, base, lowest, highest in (
        ("port", 10, 0, 65535),
        ("backlog", 10, 1, 2**31 - 1),
        ("mode", 8, 0, 0o777),
        ("lockfile", 10, 0, 1),
        ("index", 10, 0, 2**31 - 1),
    ):
        text = arguments.get(name)
        if text is not None and not _is_integer(text, base, lowest, highest):
            octal = "an octal number" if base == 8 else "a whole number"
            limits = f"{lowest:o} to {highest:o}" if base == 8 else f"{lowest} to {highest}"
            raise ValueError(f"its {name} {text!r} is not {octal} from {limits}")
    if endpoint.type == "systemd" and ("index" in arguments) == ("name" in arguments):
        raise ValueError("systemd: needs either index= or name=, not both and not neither")
    if endpoint.type == "tls":
        _check_tls(arguments)


def _check_tls(arguments: Mapping[str, str]) -> None:
    """@raises ValueError: the arguments of a C{tls:} do not make an endpoint."""
    if not arguments.get("port") and not arguments.get("systemd"):
        raise ValueError(
            "tls: needs the argument 'port', as in tls:port=7780, or systemd= with the name of a "
            "socket that systemd hands over"
        )
    if "systemd" in arguments and not {"port", "interface", "backlog"}.isdisjoint(arguments):
        raise ValueError("tls: with systemd= takes no port, interface or backlog: systemd has them")
    if "domain" in arguments and "systemd" not in arguments:
        raise ValueError("tls: takes domain= only beside systemd=")
    if "path" in arguments and "certificate" in arguments:
        raise ValueError(
            "tls: takes either a path, of a directory of certificates, or certificate="
        )
    if "key" in arguments and "certificate" not in arguments:
        raise ValueError("tls: has a key=, but no certificate= that it belongs to")
    client = arguments.get("client")
    if client is not None and client not in CLIENT_WORDS:
        raise ValueError(f"its client {client!r} is none of {', '.join(CLIENT_WORDS)}")


def _is_integer(text: str, base: int, lowest: int, highest: int) -> bool:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return False
    try:
        return lowest <= int(text, base) <= highest
    except ValueError:  # 8 and 9 are digits, but not octal ones
        return False


def _plugin_types() -> set[str]:
    """The endpoint types that installed packages add to the built-in ones."""
    return {plugin.prefix.lower() for plugin in getPlugins(IStreamServerEndpointStringParser)}
