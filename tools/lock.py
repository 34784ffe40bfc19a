"""
Renew requirements/runtime.txt and requirements/dev.txt: install what setup.cfg
asks for into a fresh environment and write down what came of it.
"""

from __future__ import annotations

import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

_RENEW = "# For Python 3.11, 3.12 and 3.13.  Renew with: make lock"
RUNTIME_HEAD = ["# What a broker, a client and a worker need, every version pinned.", _RENEW]
DEV_HEAD = [
    "# What the checks need, every version pinned.",
    _RENEW,
    "-r build.txt",
    "-r runtime.txt",
]


def frozen(pip: list[str], what: str) -> list[str]:
    """Install the checkout C{what} with C{pip}; return every package that is there then."""
    subprocess.run([*pip, "install", "--quiet", "--editable", what], check=True)
    listing = subprocess.run(
        [*pip, "freeze", "--exclude", "taskqueue", "--exclude", "setuptools"],
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(listing.stdout.split("\n")[:-1], key=str.casefold)


def main() -> None:
    """Write both files; requirements/build.txt is edited by hand."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        pip = [str(Path(directory, "bin", "python")), "-m", "pip", "--disable-pip-version-check"]
        runtime = frozen(pip, str(ROOT))
        dev = [line for line in frozen(pip, f"{ROOT}[dev]") if line not in runtime]
    for name, lines in (("runtime", RUNTIME_HEAD + runtime), ("dev", DEV_HEAD + dev)):
        (REQUIREMENTS / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
