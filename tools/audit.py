"""
Look for known weaknesses in what is deployed: requirements/deploy.txt, by pip-audit.

The status is 0 where there are none, 1 where there are some, and 3 where nobody can say:
the advisories cannot be reached from here, for all of the packages or for some.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEPLOYED = ROOT / "requirements" / "deploy.txt"

CLEAN, WEAK, UNKNOWN = 0, 1, 3


def ask(program: Sequence[str]) -> tuple[str, str]:
    """What pip-audit says of the packages, as JSON, and what it complains of."""
    done = subprocess.run(
        [
            *program,
            "--disable-pip",
            "--require-hashes",
            "--progress-spinner=off",
            "--format=json",
            "--requirement",
            str(DEPLOYED),
        ],
        capture_output=True,
        check=False,
        text=True,
    )
    return done.stdout, done.stderr


def judge(answer: str, complaint: str) -> tuple[int, list[str]]:
    """
    What the answer of pip-audit means.

    @return: the status, and lines for people.
    """
    try:
        found: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
        return UNKNOWN, [f"NOT AUDITED: the advisories cannot be reached from here ({last})"]
    skipped = [each["name"] for each in found if "skip_reason" in each]
    weak = [each for each in found if each.get("vulns")]
    lines = [
        f"{each['name']} {each['version']}: {flaw['id']}"
        + (f", mended in {', '.join(flaw['fix_versions'])}" if flaw.get("fix_versions") else "")
        for each in weak
        for flaw in each["vulns"]
    ]
    if skipped:
        lines.append(
            f"NOT AUDITED: of {len(skipped)} of {len(found)} packages the advisories cannot be "
            f"reached from here ({', '.join(skipped)}); run it where they can"
        )
    elif not weak:
        lines.append(f"no known weakness in {len(found)} packages")
    return (WEAK if weak else UNKNOWN if skipped else CLEAN), lines


def main(program: Sequence[str]) -> int:
    """Ask, and tell."""
    status, lines = judge(*ask(program or ["pip-audit"]))
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
