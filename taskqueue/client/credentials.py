"""
The key by which a broker knows a client.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from ipaddress import ip_address

from twisted.logger import Logger

from taskqueue.client.addresses import places_of
from taskqueue.errors import BadRequest

#: Where the key is, when the program does not say; of both, the first comes first.
KEY_VARIABLE = "TASKQUEUE_API_KEY"
FILE_VARIABLE = "TASKQUEUE_API_KEY_FILE"

_LONGEST_KEY = 1024

_log = Logger()


class ApiKey:
    """
    A key, or the file that it is in.

    The file is read anew for each connection, so that a key can be replaced while the
    program runs.
    """

    def __init__(self, text: str | None = None, path: str | None = None) -> None:
        """
        @param text: the key.
        @param path: or the file that has it, and nothing else.
        @raises BadRequest: there is no such file, or what it has is no key.
        """
        self._text = text
        self._path = path
        self.read()

    def __repr__(self) -> str:
        """Nothing of the key."""
        return "<ApiKey>" if self._path is None else f"<ApiKey in {self._path}>"

    def read(self) -> str | None:
        """
        The key as it is now; C{None}: the client has none.

        @raises BadRequest: the file cannot be read now, or what it has is no key.
        """
        if self._path is not None:
            return _checked(_read(self._path), f"the file {self._path}")
        return None if not self._text else _checked(self._text, "api_key")


def api_key_for(given: str | ApiKey | None, environ: Mapping[str, str] | None = None) -> ApiKey:
    """
    The key that a client uses.

    @param given: what the program says: a key, or where it is; empty: none, whatever the
        environment has; C{None}: what that has.
    @raises BadRequest: it is no key, or cannot be read.
    """
    environ = os.environ if environ is None else environ
    if isinstance(given, ApiKey):
        return given
    if given is not None:
        return ApiKey(given)
    if text := environ.get(KEY_VARIABLE):
        return ApiKey(text)
    return ApiKey(path=environ.get(FILE_VARIABLE) or None)


def warn_where_readable(key: ApiKey, address: str, tls: object) -> None:
    """
    Say it where a key leaves this machine unencrypted.

    @param tls: whether connections are encrypted whatever the address says.
    """
    try:
        places = places_of(address)
    except BadRequest:  # another endpoint of Twisted's, which may be anything
        return
    if tls or key.read() is None:
        return
    exposed = [str(place) for place in places if not (place.secure or _is_local(place.host))]
    if exposed:
        _log.warn(
            "the api key goes to {where} unencrypted, for everybody on the way to read: use "
            "tqs:// addresses",
            where=", ".join(exposed),
        )


def _is_local(host: str | None) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(text: str, where: str) -> str:
    """Nothing of the text must get into a message."""
    text = text.strip()
    if not text:
        raise BadRequest(f"{where} holds no key: it is empty")
    if len(text) > _LONGEST_KEY or not text.isascii() or not text.isprintable() or " " in text:
        raise BadRequest(
            f"{where} holds no key: a key is one word, as taskqueue keys create printed it"
        )
    return text


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST_KEY + 2)
    except OSError as error:
        raise BadRequest(
            f"the file of the api key, {path}, cannot be read: {error.strerror or error}"
        ) from None
    if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise BadRequest(
            f"the file of the api key, {path}, can be read or written by others (mode "
            f"{stat.S_IMODE(mode):o}): chmod 600 {path}"
        )
    return content.decode("ascii", "replace")
