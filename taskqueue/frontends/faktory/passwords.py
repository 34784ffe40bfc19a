"""
The password of this door, which stands in a file of its own.
"""

from __future__ import annotations

from taskqueue.errors import ConfigError

#: The longest one, bytes.
LONGEST = 1024


def read_password(path: str) -> bytes | None:
    """
    The password in a file: its only line.

    @param path: empty where clients need no password.
    @return: C{None} where they need none.
    @raises ConfigError: there is none in it, or it cannot be read.
    """
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            password = file.read(LONGEST + 3).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(
            [f"[faktory] password_file = {path} cannot be read: {error.strerror or error}"]
        ) from error
    if not password or len(password) > LONGEST or b"\n" in password:
        raise ConfigError(
            [
                f"[faktory] password_file = {path} must hold the password as its only line, of 1 "
                f"to {LONGEST} bytes"
            ]
        )
    return password
