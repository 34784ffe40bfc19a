"""
What C{TASKS} says about a backend in its C{OPTIONS}, read and checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from taskqueue.app.application import ADDRESS_VARIABLE, DEFAULT_ADDRESS
from taskqueue.client.addresses import places_of
from taskqueue.client.aio_link import check_settings
from taskqueue.client.credentials import ApiKey
from taskqueue.client.options import ClientOptions, ClientSettings
from taskqueue.client.tls import TLS, tls_for
from taskqueue.errors import BadRequest

#: How long the broker may take to answer, seconds: a request of a visitor waits for it.
TIMEOUT_S = 5.0

#: What the broker takes.
MOST_RETRIES = 1000
LONGEST_S = 86_400.0 * 365

#: The broker's own rule for names of queues.
QUEUE_NAME = re.compile(r"[A-Za-z0-9_\-.:/]{1,128}")

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class BadOptions(ImproperlyConfigured):
    """
    The options of a backend are wrong.

    @ivar problems: a sentence for each thing that is.
    """

    def __init__(self, alias: str, problems: Sequence[str]) -> None:
        super().__init__(f"TASKS[{alias!r}]: {'; '.join(problems)}")
        self.problems = list(problems)


class Treatment(NamedTuple):
    """
    How the tasks of a queue are treated.

    @ivar max_retries: how often one is tried again after it raised an exception; Django
        knows of no retries, so it is 0 unless said.
    @ivar max_lost: how many workers may be lost over one; C{None}: as the broker has it.
    @ivar retry_delay: the pause before the first retry, seconds, which doubles each time;
        C{None}: as the broker has it.
    @ivar retry_max_delay: the longest pause, seconds.
    @ivar task_timeout: how long one run may take, seconds; C{None}: as long as it likes.
    """

    max_retries: int = 0
    max_lost: int | None = None
    retry_delay: float | None = None
    retry_max_delay: float | None = None
    task_timeout: float | None = None


class Reach(NamedTuple):
    """
    How a process reaches the broker; two backends that say the same share a connection.

    @ivar address: one or several, as clients take it.
    @ivar timeout_s: how long the broker may take to answer.
    @ivar api_key: a key, C{None}: what the environment says.
    @ivar api_key_file: or the file that it is in.
    """

    address: str
    timeout_s: float = TIMEOUT_S
    tls: TLS | bool | None = None
    api_key: str | None = None
    api_key_file: str | None = None

    def __repr__(self) -> str:
        """Nothing of the key."""
        return f"<how to reach {self.address}>"

    def problem(self) -> str | None:
        """Why this machine, or this user, cannot use what is said: a file is not there."""
        try:
            check_settings(self.address, ClientSettings(**self.client_options("check")))
        except BadRequest as error:
            return str(error)
        return None

    def client_options(self, name: str) -> ClientOptions:
        """
        What a client is made with.

        @param name: what it calls itself.
        @raises BadRequest: the key's file cannot be used.
        """
        key = self.api_key if self.api_key_file is None else ApiKey(path=self.api_key_file)
        return ClientOptions(name=name, timeout_s=self.timeout_s, tls=self.tls, api_key=key)


class Options(NamedTuple):
    """
    @ivar treatment: of the tasks of queues that C{queues} does not name.
    @ivar modules: where tasks are, beside the C{tasks} modules of apps.
    """

    reach: Reach
    treatment: Treatment
    queues: Mapping[str, Treatment]
    modules: tuple[str, ...]

    def of_queue(self, name: str) -> Treatment:
        """How the tasks of a queue are treated."""
        return self.queues.get(name, self.treatment)


# --- values ------------------------------------------------------------------------------

Check = Callable[[Any], Any]


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_RETRIES:
        raise ValueError(f"a whole number, 0 to {MOST_RETRIES}")
    return value


def _seconds(value: Any) -> float:
    value = value.total_seconds() if hasattr(value, "total_seconds") else value
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_S:
        raise ValueError(f"seconds, 0 to {LONGEST_S:g}, or a timedelta")
    return float(value)


def _some_seconds(value: Any) -> float:
    try:
        if (seconds := _seconds(value)) > 0:
            return seconds
    except ValueError:
        pass
    raise ValueError("seconds, more than 0, or a timedelta")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text, not empty")
    return value


def _path(value: Any) -> str:
    return _text(value.__fspath__() if hasattr(value, "__fspath__") else value)


def _address(value: Any) -> str:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError("an address such as 'tq://127.0.0.1:7780', or a list of them")
    return ",".join(_text(part) for part in parts)


def _tls(value: Any) -> TLS | bool:
    if isinstance(value, TLS | bool):
        return value
    names = [field.name for field in fields(TLS)]
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise ValueError(f"True, or a dictionary of {', '.join(names)}")
    given: dict[str, Any] = {
        name: str(part) if hasattr(part, "__fspath__") else part for name, part in value.items()
    }
    return TLS(**given)


def _modules(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and _MODULE.fullmatch(name) for name in value
    ):
        raise ValueError("a list of dotted names of modules, such as ['shop.jobs']")
    return tuple(value)


_TREATMENT: Mapping[str, Check] = {
    "max_retries": _whole,
    "max_lost": _whole,
    "retry_delay": _seconds,
    "retry_max_delay": _seconds,
    "task_timeout": _some_seconds,
}

_REACH: Mapping[str, Check] = {
    "address": _address,
    "timeout": _some_seconds,
    "tls": _tls,
    "api_key": _text,
    "api_key_file": _path,
}

_KNOWN = (*_REACH, *_TREATMENT, "queues", "modules")


# --- reading -----------------------------------------------------------------------------


class _Reader:
    """
    @ivar problems: a sentence for each thing that is wrong.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, given: Mapping[str, Any], checks: Mapping[str, Check], where: str) -> Any:
        """The values that are given and right, by name."""
        found = {}
        for name in checks.keys() & given.keys():
            if given[name] is not None:
                try:
                    found[name] = checks[name](given[name])
                except ValueError as error:
                    shown = "" if name == "api_key" else f" is {given[name]!r:.80},"
                    self.problems.append(f"{where}[{name!r}]{shown} must be {error}")
        return found

    def unknown(self, given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        """Complain of names that mean nothing."""
        for name in given.keys() - set(known):
            self.problems.append(
                f"{where} has {name!r}, which means nothing; there are {', '.join(sorted(known))}"
            )

    def queues(self, given: Any, defaults: Treatment, names: Sequence[str]) -> dict[str, Treatment]:
        """How the tasks of each queue are treated that is named."""
        found: dict[str, Treatment] = {}
        if not isinstance(given, Mapping):
            self.problems.append("OPTIONS['queues'] must be a dictionary: options by queue")
            return found
        for name, options in given.items():
            where = f"OPTIONS['queues'][{name!r}]"
            if names and name not in names:
                self.problems.append(f"{where}: there is no such queue in QUEUES")
            if not isinstance(options, Mapping):
                self.problems.append(f"{where} must be a dictionary of options")
                continue
            self.unknown(options, _TREATMENT, where)
            found[name] = defaults._replace(**self.read(options, _TREATMENT, where))
        return found

    def queue_names(self, names: Iterable[Any]) -> None:
        """Complain of names that the broker does not take."""
        for name in names:
            if not isinstance(name, str) or not QUEUE_NAME.fullmatch(name):
                self.problems.append(
                    f"QUEUES has {name!r}: a name is 1 to 128 characters out of letters of ASCII,"
                    " digits and _ - . : /"
                )

    def reach(self, given: Mapping[str, Any], environ: Mapping[str, str]) -> Reach:
        """How the broker is reached; whether files are there is for L{Reach.problem} to say."""
        found = self.read(given, _REACH, "OPTIONS")
        found.setdefault("address", environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS)
        found["timeout_s"] = found.pop("timeout", TIMEOUT_S)
        reach = Reach(**found)
        if reach.api_key is not None and reach.api_key_file is not None:
            self.problems.append("OPTIONS has api_key and api_key_file: say one of them")
        try:
            tls_for(places_of(reach.address), reach.tls)
        except BadRequest as error:
            self.problems.append(f"OPTIONS: {error}")
        return reach


def read(alias: str, options: Any, queues: Sequence[str], environ: Mapping[str, str]) -> Options:
    """
    Read the options of the backend C{alias}.

    @param queues: the names of its queues; none: any.
    @param environ: may say C{TASKQUEUE_BROKER}, the address where the options have none.
    @raises BadOptions: something is wrong with them.
    """
    reader = _Reader()
    if not isinstance(options, Mapping):
        raise BadOptions(alias, [f"OPTIONS is {options!r:.80}, must be a dictionary"])
    reader.unknown(options, _KNOWN, "OPTIONS")
    reader.queue_names(queues)
    treatment = Treatment(**reader.read(options, _TREATMENT, "OPTIONS"))
    modules = reader.read(options, {"modules": _modules}, "OPTIONS").get("modules", ())
    found = Options(
        reader.reach(options, environ),
        treatment,
        reader.queues(options.get("queues") or {}, treatment, queues),
        modules,
    )
    if reader.problems:
        raise BadOptions(alias, sorted(reader.problems))
    return found
