"""
What somebody may do: actions, and the queues for which they are allowed.

Which operation needs which action stands in C{taskqueue.operations}; what each
action means, in L{MEANINGS}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from taskqueue.errors import BadRequest

#: No one holds more words than this; a pattern says more than a list of queues.
MAX_WORDS = 100

#: Answers that are remembered, for each action; queues can be made up without end.
REMEMBERED_QUEUES = 1024

_PATTERN = re.compile(r"[A-Za-z0-9_.:/+;$()*-]{1,128}", re.ASCII)
_PATTERN_RULE = "1 to 128 characters of letters, digits and _ - . : / * + ; $ ( )"
_LONGEST_SHOWN = 80

#: The first part of the actions that have two.
_VALUES = "values"


class Action(StrEnum):
    """What may be allowed."""

    SUBMIT = "submit"
    CLAIM = "claim"
    READ = "read"
    CANCEL = "cancel"
    ADMIN = "admin"
    METRICS = "metrics"
    VALUES_READ = "values:read"
    VALUES_WRITE = "values:write"


#: What is allowed with an action, for people.
MEANINGS: Mapping[Action, str] = {
    Action.SUBMIT: "submit tasks to the queue, put and trigger periodic tasks that do",
    Action.CLAIM: "claim tasks of the queue, and finish, extend or release what one has claimed",
    Action.READ: "see the queue, its tasks, their payloads, results and events",
    Action.CANCEL: "cancel, retry, delete and purge tasks of the queue, pause, resume and bound it",
    Action.ADMIN: "everything, in every queue, and what concerns the broker as a whole",
    Action.METRICS: "read the metrics of the whole broker",
    Action.VALUES_READ: "read, list and wait for values of the namespace",
    Action.VALUES_WRITE: "put, take, delete and increase values of the namespace, and read them",
}

#: These concern the broker, so no queue is named with them.
WITHOUT_QUEUE: Final = frozenset({Action.ADMIN, Action.METRICS})

#: These concern values: what is named with them is a namespace.
OF_NAMESPACES: Final = frozenset({Action.VALUES_READ, Action.VALUES_WRITE})

#: What is allowed beside an action, in the namespaces that its queues' patterns fit: who submits
#: or does tasks keeps their results and counters there.
IMPLIED: Mapping[Action, tuple[Action, ...]] = {
    Action.VALUES_READ: (Action.VALUES_WRITE, Action.SUBMIT, Action.CLAIM),
    Action.VALUES_WRITE: (Action.SUBMIT, Action.CLAIM),
}

#: What a role may do.
ROLES: Mapping[str, tuple[str, ...]] = {
    "viewer": ("read:*", "metrics", "values:read:*"),
    "operator": ("read:*", "cancel:*", "metrics", "values:read:*", "values:write:*"),
    "admin": ("admin",),
}


class Permissions:
    """
    Actions with the queues for which they are allowed.

    Made by L{parse}; never changed.  Two that allow the same words are equal.

    @ivar unrestricted: everything is allowed.  Who looks at this first needs not ask for
        each queue.
    """

    __slots__ = ("_answers", "_patterns", "_words", "unrestricted")

    def __init__(self, patterns: Mapping[Action, Iterable[str]]) -> None:
        """
        @param patterns: of each action, for which queues it is allowed; C{*} stands for any run
            of characters.
        """
        given = {action: tuple(patterns[action]) for action in Action if action in patterns}
        found = {action: _fewest(allowed) for action, allowed in given.items()}
        self._patterns: dict[Action, tuple[str, ...]] = found
        self._answers: dict[Action, dict[str, bool]] = {action: {} for action in Action}
        self.unrestricted = Action.ADMIN in found
        self._words = tuple(
            action.value if action in WITHOUT_QUEUE else f"{action.value}:{pattern}"
            for action, allowed in found.items()
            for pattern in allowed
        )
        for action, others in IMPLIED.items():
            beside = [pattern for each in (action, *others) for pattern in given.get(each, ())]
            if beside:
                found[action] = _fewest(beside)

    @classmethod
    def parse(cls, words: Iterable[str]) -> Permissions:
        """
        @param words: each an action, or C{action:pattern} for the queues that the pattern fits;
            C{*} stands for any run of characters.  An action alone is allowed in every queue.
        @raises BadRequest: what is wrong with one of them, and which word was probably meant.
        """
        patterns: dict[Action, list[str]] = {}
        for count, word in enumerate(words, 1):
            if count > MAX_WORDS:
                raise BadRequest(
                    f"No more than {MAX_WORDS} permissions can be given; use patterns such as"
                    " read:mail-*."
                )
            action, pattern = _parse_word(word)
            patterns.setdefault(action, []).append(pattern)
        return cls(patterns)

    @classmethod
    def of_role(cls, role: str, words: Iterable[str] = ()) -> Permissions:
        """
        What a role may do, and C{words} beside it.

        @raises BadRequest: there is no such role, or something is wrong with a word.
        """
        if role not in ROLES:
            near = get_close_matches(role.lower(), ROLES, 1, 0.6)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise BadRequest(
                f"There is no role {_shown(role)}.{hint} The roles are {', '.join(ROLES)}."
            )
        return cls.parse([*ROLES[role], *words])

    def allows(self, action: Action, queue: str | None = None) -> bool:
        """
        Whether C{action} is allowed in C{queue}.

        @param queue: its name; C{None}: whether it is allowed everywhere.
        """
        if self.unrestricted:
            return True
        if queue is None or action in WITHOUT_QUEUE:
            return self.everywhere(action)
        answers = self._answers[action]
        answer = answers.get(queue)
        if answer is None:
            if len(answers) >= REMEMBERED_QUEUES:
                answers.clear()
            answer = any(fits(pattern, queue) for pattern in self._patterns.get(action, ()))
            answers[queue] = answer
        return answer

    def everywhere(self, action: Action) -> bool:
        """Whether C{action} is allowed in every queue."""
        return self.unrestricted or "*" in self._patterns.get(action, ())

    def anywhere(self, action: Action) -> bool:
        """Whether C{action} is allowed in some queue, which need not exist."""
        return self.unrestricted or action in self._patterns

    def patterns(self, action: Action) -> tuple[str, ...]:
        """For which queues C{action} is allowed: C{("*",)} for all, nothing for none."""
        return ("*",) if self.unrestricted else self._patterns.get(action, ())

    def words(self) -> list[str]:
        """As L{parse} takes them; what another word includes is left out."""
        return list(self._words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Permissions) and self._words == other._words

    def __hash__(self) -> int:
        return hash(self._words)

    def __repr__(self) -> str:
        return f"<Permissions {', '.join(self._words) or 'none'}>"


def fits(pattern: str, queue: str) -> bool:
    """
    Whether a queue's name is one that C{pattern} stands for.

    The parts between asterisks are looked for from left to right, so the time grows with the
    length of the name only: a regular expression would try every division of it.
    """
    first, *parts = pattern.split("*")
    if not parts:
        return first == queue
    last = parts.pop()
    if len(queue) < len(first) + len(last):
        return False
    if not (queue.startswith(first) and queue.endswith(last)):
        return False
    at, end = len(first), len(queue) - len(last)
    for part in parts:
        at = queue.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _fewest(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns in order, without those that another one includes."""
    found = sorted({re.sub(r"\*+", "*", pattern) for pattern in patterns})
    # What a pattern fits, taken as a name, it includes: its asterisks stand for anything there.
    return tuple(
        one for one in found if not any(fits(other, one) for other in found if other != one)
    )


def _parse_word(word: str) -> tuple[Action, str]:
    name, colon, pattern = word.strip().partition(":")
    if name.strip() == _VALUES and colon:
        name, colon, pattern = pattern.partition(":")
        name = f"{_VALUES}:{name.strip()}"
    action = _action(name.strip(), word)
    if action in WITHOUT_QUEUE:
        if colon:
            raise BadRequest(
                f"{_shown(word)}: {action.value} concerns the whole broker and takes no queue;"
                f" write {action.value}."
            )
        return action, "*"
    pattern = pattern.strip() if colon else "*"
    if _PATTERN.fullmatch(pattern) is None:
        raise BadRequest(
            f"{_shown(word)}: after the colon stands the name of a queue, or a pattern such as"
            f" mail-*: {_PATTERN_RULE}. For every queue write {action.value}:*."
        )
    return action, pattern


def _action(name: str, word: str) -> Action:
    known = [action.value for action in Action]
    if name in known:
        return Action(name)
    near = get_close_matches(name.lower(), known, 1, 0.6)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadRequest(
        f"{_shown(word)}: there is no action {_shown(name)}.{hint} The actions are"
        f" {', '.join(known)}; a permission is an action and a queue, such as submit:mail."
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
