"""
Run the targets under Atheris, one after another, and say what was found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz.targets import TARGETS

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
FOUND = HERE / "found"

#: The longest input, bytes.
LONGEST = 4096


def run(target: str, minutes: float, corpus: Path) -> int:
    """
    Fuzz one target in a process of its own.

    What is new goes to a folder beside C{corpus}, which is left as it is.

    @return: the status of the process: not zero when something was found.
    """
    new = HERE / "grown" / target
    for folder in (new, FOUND):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.one", target, str(new), str(corpus / target)]
    command += [
        f"-max_total_time={round(minutes * 60)}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={FOUND}/{target}-",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    return subprocess.call(command, cwd=HERE.parent)


def main(arguments: Sequence[str]) -> int:
    """@return: the exit status: not zero when something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (1)")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are: {list(TARGETS)}")
    failed = [
        name for name in options.targets or TARGETS if run(name, options.minutes, CORPUS) != 0
    ]
    for name in failed:
        print(f"{name}: something was found: see {FOUND}/{name}-*", file=sys.stderr)
    if not failed:
        print("Nothing was found.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
