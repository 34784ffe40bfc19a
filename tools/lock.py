"""
Renew requirements/runtime.txt and requirements/dev.txt: install what setup.cfg
asks for into a fresh environment and write down what came of it; and
requirements/deploy.txt, which has the hashes of the files of runtime.txt too.
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
DEPLOY_HEAD = [
    "# What a broker that is deployed is made of: every version pinned, every file by its hash.",
    "# Install with:  pip install --require-hashes --only-binary=:all: -r requirements/deploy.txt",
    _RENEW,
]
DEV_HEAD = [
    "# What the checks need, every version pinned.",
    _RENEW,
    "-r build.txt",
    "-r runtime.txt",
]

#: Django has tasks of its own from 6 on, and needs a newer Python then: pinned by hand.
NEWER_DJANGO = 'Django==6.1.3; python_version >= "3.12"'


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


def by_python(line: str) -> list[str]:
    """The pin of a package, for each Python where it is not the same for all."""
    if not line.startswith("Django=="):
        return [line]
    return [f'{line}; python_version < "3.12"', NEWER_DJANGO]


def hashed(python: str, directory: str) -> list[str]:
    """The lines of runtime.txt and build.txt, each with the hashes of all its files."""
    made = Path(directory, "deploy.txt")
    sources = [str(REQUIREMENTS / f"{name}.txt") for name in ("runtime", "build")]
    # Nothing of where they came from here: whoever installs has an index of their own.
    quiet = [f"--no-emit-{what}" for what in ("index-url", "trusted-host", "find-links")]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "pip-tools"], check=True)
    subprocess.run(
        [python, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--allow-unsafe",
         "--strip-extras", "--no-header", "--no-annotate", *quiet,
         "--output-file", str(made), *sources],
        check=True,
    )  # fmt: skip
    lines = made.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def main() -> None:
    """Write the files; requirements/build.txt and audit.txt are edited by hand."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory, "bin", "python"))
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        runtime = frozen(pip, str(ROOT))
        dev = [line for line in frozen(pip, f"{ROOT}[dev]") if line not in runtime]
        dev = [more for line in dev for more in by_python(line)]
        write("runtime", RUNTIME_HEAD + runtime)
        write("dev", DEV_HEAD + dev)
        write("deploy", DEPLOY_HEAD + hashed(python, directory))


def write(name: str, lines: list[str]) -> None:
    """Write one of the files."""
    (REQUIREMENTS / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
