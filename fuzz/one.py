"""
Fuzz one target in this process: C{python -m fuzz.one TARGET [what libFuzzer takes]}.
"""

from __future__ import annotations

import sys

import atheris

#: What coverage is looked at in: what reads what strangers send.
INSTRUMENTED = [
    "taskqueue.config",
    "taskqueue.framing",
    "taskqueue.frontends",
    "taskqueue.operations",
    "taskqueue.strictjson",
    "taskqueue.web.api",
    "taskqueue.wire",
]

with atheris.instrument_imports(include=INSTRUMENTED):
    from fuzz.targets import TARGETS


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
