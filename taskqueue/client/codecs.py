"""
How values become payloads, and results become values.

A codec has a name, and is found by it.  C{"json"} is what clients use unless
told otherwise; C{"bytes"} lets nothing through but bytes.  Nothing here reads
pickles: a payload that can run code when it is read belongs to whoever can
submit.
"""

from __future__ import annotations

from typing import Any, Protocol

import ujson

from taskqueue import strictjson
from taskqueue.errors import BadRequest

Bytes = bytes | bytearray | memoryview


class Codec(Protocol):
    """
    A way to write values as bytes.

    @ivar name: what it is asked for by.
    """

    @property
    def name(self) -> str: ...

    def encode(self, value: Any) -> bytes:
        """
        Write a value.

        @raises BadRequest: this codec has no form for it.
        """

    def decode(self, data: bytes) -> Any:
        """
        Read what L{encode} wrote; of nothing (C{b""}) comes C{None}.

        @raises BadRequest: these bytes are not of this codec.
        """


class JsonCodec:
    """
    JSON, compact and in UTF-8.

    As JSON does, it makes a list of a tuple, and a text of a key that is a number.
    """

    name = "json"

    def encode(self, value: Any) -> bytes:
        """
        Write a value.

        @raises BadRequest: JSON has no form for it: C{NaN}, bytes within it, half a
            character, an object of a class.
        """
        try:
            # In order: no ASCII escapes, no HTML escapes, no escaped slashes, keys as they
            # come, no indentation, no NaN.  Names would cost as much again.
            text: str = ujson.dumps(value, False, False, False, False, 0, False)
            return text.encode("utf-8")
        except (TypeError, ValueError, OverflowError) as error:
            raise BadRequest(
                f"A value of type {type(value).__name__} cannot be written as JSON: {error}."
                " Submit bytes, or use another codec."
            ) from None

    def decode(self, data: bytes) -> Any:
        """
        Read a value; nothing is C{None}.

        @raises BadRequest: it is no JSON.
        """
        return strictjson.loads(data) if data else None


class BytesCodec:
    """Bytes as they are."""

    name = "bytes"

    def encode(self, value: Any) -> bytes:
        """
        The same bytes.

        @raises BadRequest: they are none.
        """
        if isinstance(value, Bytes):
            return bytes(value)
        raise BadRequest(
            f"A payload must be bytes, not {type(value).__name__}: encode it, or use another codec."
        )

    def decode(self, data: bytes) -> bytes:
        """The same bytes."""
        return data


JSON = JsonCodec()
BYTES = BytesCodec()

_codecs: dict[str, Codec] = {codec.name: codec for codec in (JSON, BYTES)}


def register(codec: Codec) -> None:
    """
    Let a codec be found by its name, in this process.

    @raises BadRequest: another one has this name.
    """
    known = _codecs.setdefault(codec.name, codec)
    if known is not codec:
        raise BadRequest(f"There is a codec {codec.name!r} already: give yours another name.")


def codec_of(wanted: str | Codec) -> Codec:
    """
    The codec with this name; a codec itself passes as it is.

    @raises BadRequest: there is none.
    """
    if not isinstance(wanted, str):
        return wanted
    try:
        return _codecs[wanted]
    except KeyError:
        raise BadRequest(
            f"There is no codec {wanted!r}; there are {', '.join(sorted(_codecs))}."
            " Others must be registered first."
        ) from None


def encoded(value: Any, codec: Codec) -> bytes:
    """
    The payload for a value: bytes as they are, all else as the codec writes it.

    @raises BadRequest: the codec cannot.
    """
    return bytes(value) if isinstance(value, Bytes) else codec.encode(value)
