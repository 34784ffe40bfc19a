"""
Commands as clients send them: a verb, and what stands behind it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from taskqueue import strictjson
from taskqueue.errors import BadRequest
from taskqueue.operations.fields import is_name

#: How deep lists and objects may stand in one another in what a client sends.
DEEPEST = 100

#: The longest name of a verb that an error repeats, characters.
_LONGEST_SHOWN = 40


class Command(NamedTuple):
    """
    One command.

    @ivar verb: its first word, as it was written: verbs are in upper case.
    @ivar rest: all behind the space that follows it; C{None} where none does.
    """

    verb: str
    rest: bytes | None


def read_command(line: bytes) -> Command:
    """The command in a line, which is without its end."""
    verb, space, rest = line.partition(b" ")
    shown = verb[:_LONGEST_SHOWN].decode("utf-8", "replace")
    return Command(shown, rest if space else None)


def json_object(command: Command) -> dict[str, Any]:
    """
    The JSON object that stands behind a verb.

    @raises BadRequest: there is none.
    """
    value = _json(command)
    if type(value) is not dict:
        raise BadRequest(f"invalid JSON: {command.verb} takes an object, {{...}}")
    return value


def json_list(command: Command) -> list[Any]:
    """
    The JSON list that stands behind a verb.

    @raises BadRequest: there is none.
    """
    value = _json(command)
    if type(value) is not list:
        raise BadRequest(f"invalid JSON: {command.verb} takes a list, [...]")
    return value


def _json(command: Command) -> Any:
    if not command.rest:
        raise BadRequest(f"{command.verb} takes JSON, after one space")
    try:
        value = strictjson.loads(command.rest)
    except BadRequest as error:
        raise BadRequest(f"invalid JSON: {error.message}") from None
    if is_too_deep(value, DEEPEST):
        raise BadRequest(f"invalid JSON: nested deeper than {DEEPEST} levels")
    return value


def is_too_deep(value: Any, most: int) -> bool:
    """Whether lists and objects stand in one another more than C{most} levels deep."""
    level = [value]
    for _ in range(most + 1):
        inner: list[Any] = []
        for one in level:
            if type(one) is dict:
                inner += one.values()
            elif type(one) is list:
                inner += one
        level = [one for one in inner if type(one) is dict or type(one) is list]
        if not level:
            return False
    return True


def words(command: Command) -> list[str]:
    """
    The words behind a verb; spaces that follow one another count as one.

    @raises BadRequest: they are no text.
    """
    try:
        return (command.rest or b"").decode("utf-8").split()
    except UnicodeDecodeError:
        raise BadRequest(f"what follows {command.verb} is not UTF-8") from None


def queue_name(value: Any) -> str:
    """
    @raises BadRequest: no queue can have this name.
    """
    return _name(value, "queue")


def job_type(value: Any) -> str:
    """
    @raises BadRequest: no type of jobs can have this name.
    """
    return _name(value, "jobtype")


def worker_name(value: Any) -> str:
    """
    @raises BadRequest: no worker can have this name.
    """
    return _name(value, "wid")


def _name(value: Any, what: str) -> str:
    if type(value) is not str or not is_name(value):
        shown = f"{value[:_LONGEST_SHOWN]!r}" if type(value) is str else "this"
        raise BadRequest(
            f"{what} cannot be {shown}: it is 1 to 128 characters out of letters, digits and "
            f"_ - . : /",
            field=what,
        )
    return value
