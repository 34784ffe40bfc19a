"""
Doors for clients of other brokers, which cannot say who they are as ours do: where those
may listen.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from taskqueue.config.sections import Config
from taskqueue.errors import ConfigError

#: The languages of other brokers; each has its key in C{[listen]}, and a section.
FOREIGN = ("beanstalkd", "faktory")


class Unguarded(NamedTuple):
    """
    Why a door may listen on this machine only.

    @ivar setting: the section and key that would allow more.
    @ivar text: in words, after where it would listen.
    """

    setting: tuple[str, str]
    text: str


def unguarded(config: Config, language: str) -> Unguarded | None:
    """
    Why the door of a language must not be reached from other machines, if that is so.

    @param language: one of L{FOREIGN}.
    """
    if language == "beanstalkd" and not config.beanstalkd.open_to_network:
        return Unguarded(
            ("beanstalkd", "open_to_network"),
            "can be reached from other machines, but clients of beanstalkd cannot say who they"
            " are: listen on this machine only, as in tcp:11300:interface=127.0.0.1 or"
            " unix:/run/taskqueue/beanstalkd.sock, or let whoever reaches it put, take and"
            " delete tasks with [beanstalkd] open_to_network = yes",
        )
    if language == "faktory" and not config.faktory.password_file:
        return Unguarded(
            ("faktory", "password_file"),
            "can be reached from other machines, and would ask nobody for a password: name a file"
            " that holds one in [faktory] password_file, or listen on this machine only, as in"
            " tcp:7419:interface=127.0.0.1",
        )
    return None


def read_password(path: str) -> bytes | None:
    """
    The password of a door, from the file of it: its first line.

    @param path: as C{[faktory] password_file} says; empty for none.
    @raises ConfigError: there is none in the file, or the file cannot be read.
    """
    if not path:
        return None
    where = f"[faktory] password_file = {path!r}"
    try:
        password = Path(path).read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    except OSError as error:
        raise ConfigError([f"{where} cannot be read: {error.strerror or error}"]) from error
    if not password:
        raise ConfigError([f"{where}: its first line is empty; write the password there"])
    return password
