"""The configuration as text, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple

from configobj import ConfigObj

from taskqueue.config.checks import FOREVER
from taskqueue.config.sections import GIB, KIB, MIB, SECTIONS, Config, QueueConfig
from taskqueue.config.spec import QUEUES

#: What a running broker cannot change: whole sections, and single keys.
_FIXED_SECTIONS = frozenset({"listen", "store", "http"})
_FIXED_KEYS = frozenset(
    {
        ("broker", "name"),
        ("beanstalkd", "open_to_network"),
        ("faktory", "password_file"),
        ("access", "authentication"),
        ("access", "file"),
        ("access", "audit_log"),
        ("log", "format"),
    }
)


class Difference(NamedTuple):
    """
    One value that differs between two configurations.

    @ivar key: the key; in C{queues}, the queue's name and the key with a dot
        between them, or the name alone where only one of both names the queue.
    @ivar old: its value before; C{None} also for a queue that was not named.
    @ivar new: its value now; C{None} also for a queue that is not named any more.
    @ivar reloadable: whether a running broker can change to it.
    """

    section: str
    key: str
    old: Any
    new: Any
    reloadable: bool


def as_text(config: Config) -> str:
    """
    The whole configuration as a file; L{taskqueue.config.load} makes an equal
    one of it.
    """
    written = ConfigObj(interpolation=False, indent_type="")
    for section in SECTIONS:
        if section == "workers":  # queues stand between store and workers, as in Config
            written[QUEUES] = {name: _texts(queue) for name, queue in config.queues.items()}
        written[section] = _texts(getattr(config, section))
    for section in written.sections[1:]:
        written.comments[section] = [""]
    return "\n".join(written.write()) + "\n"


def differences(old: Config, new: Config) -> list[Difference]:
    """What must change to get from one configuration to the other, in file order."""
    found = [
        Difference(section, name, before, after, is_reloadable(section, name))
        for section in SECTIONS
        for name, before, after in _pairs(getattr(old, section), getattr(new, section))
    ]
    for name in sorted({*old.queues, *new.queues}):
        found.extend(_queue_differences(name, old.queues.get(name), new.queues.get(name)))
    return found


def is_reloadable(section: str, key: str) -> bool:
    """Whether a running broker can change this key."""
    return section not in _FIXED_SECTIONS and (section, key) not in _FIXED_KEYS


def applicable(old: Config, new: Config) -> Config:
    """The new configuration, but as before where a running broker cannot change."""
    kept: dict[str, Any] = {section: getattr(old, section) for section in _FIXED_SECTIONS}
    for section, key in _FIXED_KEYS:
        before = getattr(getattr(old, section), key)
        kept[section] = replace(kept.get(section, getattr(new, section)), **{key: before})
    return replace(new, **kept)


def _queue_differences(
    name: str, before: QueueConfig | None, after: QueueConfig | None
) -> Iterator[Difference]:
    if before is None or after is None:
        yield Difference(QUEUES, name, before, after, True)
        return
    for key, old, new in _pairs(before, after):
        yield Difference(QUEUES, f"{name}.{key}", old, new, True)


def _pairs(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, old and new value of the fields in which two of a class differ."""
    for field in fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            yield field.name, old, new


def _texts(section: Any) -> dict[str, str | list[str]]:
    """Key to text of everything a section says; a queue is silent where it inherits."""
    texts: dict[str, str | list[str]] = {}
    for field in fields(section):
        value = getattr(section, field.name)
        if value is not None or not isinstance(section, QueueConfig):
            texts[field.name] = _text(field.name, value)
    return texts


def _text(key: str, value: Any) -> str | list[str]:
    if value is None:
        return FOREVER
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 and "," not in value[0] else list(value)
    if key.endswith("_bytes") or key == "memory_limit":
        return size_text(value)
    return str(value)


def size_text(size: int) -> str:
    """A number of bytes in the largest unit that keeps it whole."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return str(size)
