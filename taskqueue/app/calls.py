"""
Calls of functions as payloads, and what fits a function's signature.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from taskqueue.app.context import Context
from taskqueue.client.codecs import Codec
from taskqueue.errors import BadRequest

Arguments = tuple[list[Any], dict[str, Any]]

#: A first parameter of this name is given the L{Context}, whatever its annotation.
CONTEXT_NAME = "ctx"

_FORM = frozenset({"args", "kwargs"})


class BadCall(Exception):
    """A payload that is no call, or does not fit the function that it is for."""


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any], codec: Codec) -> bytes:
    """
    A call as a payload: an object of C{"args"}, a list, and C{"kwargs"}, an
    object by name; both as C{codec} writes them.

    @raises BadRequest: an argument is of a kind that the codec has no form for.
    """
    return codec.encode({"args": list(args), "kwargs": dict(kwargs)})


def decode_call(payload: bytes, codec: Codec) -> Arguments:
    """
    The arguments in a payload.

    Beside what L{encode_call} writes, two forms are taken from whoever submits
    without the function at hand: any other object holds keyword arguments by
    name, and no bytes at all are no arguments.

    @raises BadCall: it is something else.
    """
    if not payload:
        return [], {}
    try:
        value = codec.decode(payload)
    except BadRequest as error:
        raise BadCall(f"the payload cannot be read: {error}") from None
    if type(value) is dict and value.keys() == _FORM:
        args, kwargs = value["args"], value["kwargs"]
        if type(args) is list and type(kwargs) is dict:
            return args, kwargs
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise BadCall(
            f"the payload is {_a(value)}, not a call: it must be an object of arguments by name,"
            ' or one of "args" and "kwargs"; a task that wants other payloads says raw=True'
        )
    if not value.keys() <= _FORM or not value:
        return [], value
    args, kwargs = value.get("args", []), value.get("kwargs", {})
    if isinstance(args, list) and isinstance(kwargs, dict):
        return args, kwargs
    if "args" in value and "kwargs" in value:
        raise BadCall('the payload is not a call: "args" must be a list and "kwargs" an object')
    return [], value


def _a(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), repr(value)[:40])


class Parameters:
    """
    What a function can be called with by a task.

    @ivar wants_context: its first parameter is named C{ctx}, or annotated with
        L{Context}; that one is not part of the task's arguments.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """
        @raises BadRequest: the function does not tell what it takes; some built into
            Python do not.
        """
        self._name = name
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise BadRequest(
                f"{name} cannot be a task: {error}; write a function around it"
            ) from None
        parameters = list(signature.parameters.values())
        self.wants_context = bool(parameters) and _is_context(function, parameters[0])
        if self.wants_context:
            signature = signature.replace(parameters=parameters[1:])
        self.signature = signature
        self._shape = Shape.of(signature)

    def fit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """
        Make sure that arguments fit.

        @raises TypeError: they do not; the text is for people.
        """
        if self._shape is None or not self._shape.fits(len(args), kwargs):
            self.check(args, kwargs)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """
        The arguments by parameter.

        @raises TypeError: they do not fit; the text is for people.
        """
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}{self.signature}: {error}") from None


class Shape(NamedTuple):
    """
    How many arguments a function takes, and by which names: enough to tell of most calls
    that they fit, at a tenth of what it costs to bind them.

    @ivar in_order: names of those that may stand without their name.
    @ivar named: names of those that may be given by it.
    @ivar required: names of those that must be given.
    """

    in_order: tuple[str, ...]
    named: frozenset[str]
    required: frozenset[str]

    @classmethod
    def of(cls, signature: inspect.Signature) -> Shape | None:
        """The shape of a signature; C{None} where it takes any number."""
        parameters = signature.parameters.values()
        if any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters):
            return None
        return cls(
            tuple(one.name for one in parameters if one.kind is not one.KEYWORD_ONLY),
            frozenset(one.name for one in parameters if one.kind is not one.POSITIONAL_ONLY),
            frozenset(one.name for one in parameters if one.default is one.empty),
        )

    def fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        """Whether so many arguments, and these by name, certainly fit."""
        given = self.in_order[:count]
        if count > len(self.in_order) or not kwargs.keys() <= self.named:
            return False
        return kwargs.keys().isdisjoint(given) and self.required <= {*given, *kwargs}


def _is_context(function: Callable[..., Any], first: inspect.Parameter) -> bool:
    positional = (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)
    if first.kind not in positional:
        return False
    if first.name == CONTEXT_NAME or first.annotation is Context:
        return True
    if not isinstance(first.annotation, str):
        return False
    try:
        return typing.get_type_hints(function).get(first.name) is Context
    except Exception:  # an annotation that names what is only imported for type checkers
        return first.annotation.rpartition(".")[2] == Context.__name__
