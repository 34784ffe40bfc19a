"""
The doors for clients of other brokers: made where the configuration opens them, and
watched over, as nobody who comes in there can say who they are as our own clients do.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.logger import Logger

from taskqueue.config import LimitsConfig
from taskqueue.config.doors import FOREIGN
from taskqueue.frontends.connection import Connection
from taskqueue.service import TaskQueueService

#: The doors by language.  Only those that are open are imported: it costs start-up time.
_DOORS = {"beanstalkd": "BeanstalkdDoor", "faktory": "FaktoryDoor"}

#: Those whose clients know that a broker may take no more jobs.
_DRAINED = ("beanstalkd",)


class ForeignDoor(Protocol):
    """What all connections of one language share; made once, with the service."""

    def connect(self, limits: LimitsConfig) -> Connection:
        """The protocol of a new connection."""


class OpenDoor(NamedTuple):
    """A door that the configuration opens."""

    language: str
    door: ForeignDoor
    endpoints: tuple[str, ...]


def open_doors(service: TaskQueueService) -> Iterator[OpenDoor]:
    """
    The doors that the configuration opens.

    @raises ConfigError: a door needs something that is not there.
    """
    for language in FOREIGN:
        endpoints = getattr(service.config.listen, language)
        if not endpoints:
            continue
        module = import_module(f"taskqueue.frontends.{language}")
        door: Any = getattr(module, _DOORS[language])(service)
        if language in _DRAINED:
            service.at_drain(door.drain)
        yield OpenDoor(language, door, endpoints)


class DoorKeys(Service):
    """
    Says so when nobody can come in at a foreign door, as it stands for nobody.
    """

    _log = Logger()

    def __init__(self, broker: TaskQueueService) -> None:
        self._broker = broker
        self._said: set[str] = set()
        broker.gate.when_changed(self.look)

    def startService(self) -> None:
        """Look for the first time; from then on, when keys have changed."""
        super().startService()
        self.look()

    def look(self) -> None:
        """Is there anybody for each door to stand for?"""
        config, gate = self._broker.config, self._broker.gate
        for language in FOREIGN:
            key = getattr(config, language).key
            is_shut = getattr(config.listen, language) and not gate.open and not gate.by_name(key)
            if not is_shut:
                self._said.discard(language)
            elif language not in self._said:
                self._said.add(language)
                self._log.error(
                    "nobody can come in at the door for {language}: there are keys, and "
                    "[{language}] key names none that is valid (it is {key!r})",
                    language=language,
                    key=key,
                )
