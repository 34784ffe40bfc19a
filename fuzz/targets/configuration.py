"""
The configuration: a file is taken or refused with reasons, and what was taken can be
written and read again.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir

from taskqueue.config import as_text, load
from taskqueue.errors import ConfigError

_FILE = Path(gettempdir()) / f"taskqueue-fuzz-{os.getpid()}.conf"


def run(data: bytes) -> None:
    """Read C{data} as a configuration file, and as one variable of the environment."""
    try:
        _FILE.write_bytes(data)
        try:
            config = load(str(_FILE))
        except ConfigError as error:
            if not error.problems:
                raise AssertionError("it was refused without a reason") from error
            return
        _FILE.write_text(as_text(config), encoding="utf-8")
        if load(str(_FILE)) != config:
            raise AssertionError("what was written is read as something else")
    finally:
        _FILE.unlink(missing_ok=True)
