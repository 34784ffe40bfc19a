"""
From a file, the environment and the command line to one L{Config}.

Later sources win: defaults, file, environment, command line.  Every source is
judged in full before anything is refused, so that one look tells all that is
wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from taskqueue.config.checks import IDENTIFIER_RULE, Unusable, is_identifier
from taskqueue.config.file import Entry, read_file, split_list
from taskqueue.config.rules import Path, contradictions, show
from taskqueue.config.sections import SECTIONS, Config, QueueConfig
from taskqueue.config.spec import QUEUES, Spec
from taskqueue.errors import ConfigError

PREFIX = "TASKQUEUE_"

#: Variables of ours that are not keys: the client's broker, the configuration file.
_OTHER_VARIABLES = frozenset({"TASKQUEUE_BROKER", "TASKQUEUE_CONFIG"})

#: What Kubernetes and Docker put into the environment of a service called
#: "taskqueue-http" and the like: not meant for us.
_SERVICE_LINK = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$"
)

_LONGEST_SHOWN = 120


def load(
    path: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Config:
    """
    Read the configuration.

    @param path: the configuration file; C{None} for none.
    @param environ: variables of which C{TASKQUEUE_<SECTION>_<KEY>} are heeded.
    @param overrides: C{"section.key"} (or C{"queues.NAME.key"}) to the text of its value.
    @param defaults: likewise, of what goes before our own defaults only.
    @raises ConfigError: it is not usable; C{problems} lists everything that is wrong.
    """
    reader = _Reader()
    reader.take(reader.from_overrides(defaults or {}))
    if path is not None:
        entries, problems = read_file(path)
        reader.problems += problems
        reader.take(entries)
    reader.take(reader.from_environ(environ or {}))
    reader.take(reader.from_overrides(overrides or {}))
    config = reader.config()
    if reader.problems:
        raise ConfigError(reader.problems)
    return config


class _Value(NamedTuple):
    value: Any
    origin: str


class _Reader:
    """Collects values, and what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._spec = Spec()
        self._values: dict[Path, _Value] = {}
        self._queues: dict[str, None] = {}
        self._refused: set[Path] = set()
        self._said: set[tuple[str, str]] = set()

    # --- the sources ---------------------------------------------------------

    def from_environ(self, environ: Mapping[str, str]) -> Iterator[Entry]:
        """The entries that environment variables make."""
        for variable, text in sorted(environ.items()):
            if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
                continue
            section, key = self._split_variable(variable.removeprefix(PREFIX))
            if section is None or _SERVICE_LINK.search(variable):
                continue
            origin = f"environment variable {variable}"
            if section == QUEUES:
                self.problems.append(
                    f"{origin}: queues cannot be set by environment variables, whose names do not"
                    " hold a queue's; use the file, or --set queues.NAME.key=value"
                )
            else:
                yield from self._listed(Entry((section, key), text, origin))

    def _split_variable(self, rest: str) -> tuple[str | None, str]:
        """The section (known, or nearly) and key that a variable's name means."""
        rest = rest.lower()
        for section in self._spec.sections:
            if rest.startswith(section + "_"):
                return section, rest.removeprefix(section + "_")
        word, _, key = rest.partition("_")
        near = get_close_matches(word, self._spec.sections, 1, 0.75)
        # One word alike is no proof: the variable is ours if its key is, too.
        if near and key in self._spec.keys(near[0]):
            return word, key
        return None, ""

    def from_overrides(self, overrides: Mapping[str, str]) -> Iterator[Entry]:
        """The entries that a command line makes."""
        for name, text in overrides.items():
            section, dot, key = name.partition(".")
            path: Path = (section, key)
            if section == QUEUES:
                queue, dot, key = key.rpartition(".")
                path = (section, queue, key)
            if not dot:
                self.problems.append(
                    f"command line: {name!r} names no key; write section.key=value,"
                    " or queues.NAME.key=value"
                )
            else:
                yield from self._listed(Entry(path, text, "command line"))

    def _listed(self, entry: Entry) -> Iterator[Entry]:
        """The entry, its text split at commas where its key takes a list."""
        section, key = entry.path[0], entry.path[-1]
        if not (entry.text and self._spec.takes_list(section, key)):
            yield entry
        elif (texts := split_list(str(entry.text))) is not None:
            yield entry._replace(text=texts)
        else:
            self._wrong(entry, "its quotes or commas do not match", "a comma-separated list")

    # --- judging -------------------------------------------------------------

    def take(self, entries: Iterable[Entry]) -> None:
        """Judge entries; those that pass replace what earlier sources said."""
        for entry in entries:
            if self._is_known(entry) and len(entry.path) > 1:  # not an empty section
                self._judge(entry)

    def _judge(self, entry: Entry) -> None:
        path = entry.path
        if path[0] == QUEUES:
            self._queues[path[1]] = None
            if len(path) == 2:
                return
        try:
            value = self._spec.check(path[0], path[-1], entry.text)
        except Unusable as error:
            self._refused.add(path)
            self._wrong(entry, error.reason, error.allowed)
        else:
            self._values[path] = _Value(value, entry.origin)

    def _wrong(self, entry: Entry, reason: str, allowed: str) -> None:
        found = repr(entry.text)
        if len(found) > _LONGEST_SHOWN:
            found = found[:_LONGEST_SHOWN] + "..."
        self.problems.append(
            f"{entry.origin}: {show(entry.path)} = {found}: {reason}; allowed: {allowed}"
        )

    def _is_known(self, entry: Entry) -> bool:
        problem = self._unknown(entry.path, is_section=entry.text is None)
        if problem is None:
            return True
        # An unknown section is told of once, not for each of its keys.
        said = entry.origin.partition(" line ")[0], problem
        if said not in self._said:
            self._said.add(said)
            self.problems.append(f"{entry.origin}: {problem}")
        return False

    def _unknown(self, path: Path, is_section: bool) -> str | None:
        """What is wrong with where a value stands."""
        section, key = path[0], path[-1]
        if section == "":
            hint = self._homes(key) or "put it below the [section] that it belongs to"
            if key in self._spec.sections:
                hint = f"a section begins with [{key}] on a line of its own"
            return f"{key!r} stands before the first section; {hint}"
        if section not in self._spec.sections:
            return f"unknown section [{section}]{_near(section, self._spec.sections)}"
        if len(path) == 1:
            return None
        if section == QUEUES:
            return self._unknown_in_queues(path, is_section)
        if is_section or len(path) > 2:
            return f"[{section}] cannot hold a section [[{path[1]}]]"
        known = self._spec.keys(section)
        if key in known:
            return None
        if home := self._homes(key):
            return f"unknown key {key!r} in [{section}]; {home}"
        hint = _near(key, known, f"known keys: {', '.join(known)}")
        return f"unknown key {key!r} in [{section}]{hint}"

    def _unknown_in_queues(self, path: Path, is_section: bool) -> str | None:
        known = self._spec.keys(QUEUES)
        if len(path) == 2 and not is_section:
            return (
                f"{path[1]!r} stands in [{QUEUES}] itself; settings of a queue go below its"
                " name, as [[NAME]]"
            )
        if not is_identifier(path[1]):
            return f"{path[1]!r} cannot be the name of a queue; allowed: {IDENTIFIER_RULE}"
        if len(path) > 3 or (is_section and len(path) == 3):
            return f"{show(path[:2])} cannot hold a section [[[{path[2]}]]]"
        if len(path) == 2 or path[2] in known:
            return None
        hint = _near(path[2], known, f"known keys: {', '.join(known)}")
        return f"unknown key {path[2]!r} in {show(path[:2])}{hint}"

    def _homes(self, key: str) -> str:
        """In which sections a key belongs, as a hint; empty for none."""
        homes = [
            f"[{section}]"
            for section in self._spec.sections
            if section != QUEUES and key in self._spec.keys(section)
        ]
        return f"it belongs in {' or '.join(homes)}" if homes else ""

    # --- the whole -----------------------------------------------------------

    def config(self) -> Config:
        """What was taken, as a whole; adds its contradictions to the problems."""
        sections = {name: cls(**self._chosen((name,))) for name, cls in SECTIONS.items()}
        queues = {name: QueueConfig(**self._chosen((QUEUES, name))) for name in self._queues}
        config = Config(**sections, queues=queues)
        for paths, text in contradictions(config):
            # A default in place of a refused value proves nothing.
            if self._refused.isdisjoint(paths):
                given = [self._values[path].origin for path in paths if path in self._values]
                origin = ", ".join(dict.fromkeys(given)) or "defaults"
                self.problems.append(f"{origin}: {text}")
        return config

    def _chosen(self, place: Path) -> dict[str, Any]:
        return {path[-1]: found.value for path, found in self._values.items() if path[:-1] == place}


def _near(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint at the known name that was probably meant."""
    near = get_close_matches(name.lower(), list(known), 1, 0.7)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; {otherwise}" if otherwise else f"; known: {', '.join(known)}"
