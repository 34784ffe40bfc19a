"""
Whether anybody on another machine could reach a broker.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IAddress

from taskqueue.config.endpoints import is_loopback, parse_endpoint
from taskqueue.errors import ConfigError


def exposed(endpoints: Iterable[str]) -> list[str]:
    """
    Those endpoints that another machine may reach, as their descriptions say.  What systemd
    hands over, and endpoint types that packages add, are known when they listen only: see
    L{is_reachable}.

    @param endpoints: Twisted server endpoint strings.
    """
    return [text for text in endpoints if parse_endpoint(text).exposed]


def is_reachable(address: IAddress) -> bool:
    """
    Whether another machine may reach what listens on an address.

    @param address: of a listening port.
    """
    host = getattr(address, "host", None)
    # A Unix socket has no host, but a name.
    return not is_loopback(host) if host is not None else not hasattr(address, "name")


def refusal(endpoint: str, path: str | None) -> ConfigError:
    """
    Why a broker does not start that everybody could reach, and nobody has to be known to.

    @param endpoint: what is reachable.
    @param path: of the file of keys and users; C{None} where there is to be none.
    """
    where = f"--file {path} " if path is not None else ""
    first = "name a file in [access] file, then " if path is None else ""
    return ConfigError(
        [
            f"{endpoint} can be reached from other machines, and nobody is known who may come in:"
            f" {first}make a key with `taskqueue keys create {where}--name NAME --role admin`, or"
            " let everybody do everything with [access] authentication = open_to_everyone."
        ]
    )
