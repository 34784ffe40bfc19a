"""
How a running broker learns that the keyring has changed.
"""

from __future__ import annotations

from twisted.logger import Logger

from taskqueue.access.file import KeyringFile, KeyringUnusable, Reading, Signature
from taskqueue.access.gate import Gate


class KeyringWatch:
    """
    Has the gate go by what stands in the file.

    A file that cannot be used, or has vanished, changes nothing: what was in force stays so, and
    the log says what is wrong, once.  To let nobody in, or everybody, somebody has to say so.
    """

    _log = Logger()

    def __init__(self, file: KeyringFile, gate: Gate) -> None:
        self.file = file
        self._gate = gate
        self._seen: Signature | None = None
        self._complaint = ""

    def start(self) -> None:
        """
        Read the file for the first time.

        @raises KeyringUnusable: it cannot be used.
        """
        self._complaint = ""
        reading = self.file.read()
        self._seen = None
        if reading is None:
            self._gate.adopt(None)
        else:
            self._take(reading)

    def look(self, *, anew: bool = False) -> None:
        """
        Read the file again if it has changed, and see what has expired.

        @param anew: even if it has not changed.
        """
        try:
            signature = self.file.signature()
            if signature != self._seen or anew or self._complaint:
                self._read(signature)
        except KeyringUnusable as problem:
            self._complain(str(problem))
        self._gate.expire()

    def _read(self, signature: Signature | None) -> None:
        reading = None if signature is None else self.file.read()
        if reading is not None:
            self._take(reading)
            self._complaint = ""
            self._log.info(
                "keys and users read anew: {keys} keys, {users} users, {certificates} certificates",
                keys=len(reading.keyring.keys),
                users=len(reading.keyring.users),
                certificates=len(reading.keyring.certificates),
            )
        elif self._seen is not None:
            self._complain(f"The file of keys and users, {self.file.path}, is not there any more.")

    def _take(self, reading: Reading) -> None:
        self._gate.adopt(reading.keyring)
        self._seen = reading.signature
        for warning in reading.warnings:
            self._log.warn("{problem}", problem=warning)

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self._complaint = why
            self._log.error("{problem} What it said before stays in force.", problem=why)
