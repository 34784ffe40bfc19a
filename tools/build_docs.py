"""
Build the documents: the reference from the docstrings with pydoctor, then the
site with mkdocs.  Either one's warnings are errors.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.docs_site import API_FOLDER, ROOT

#: Ends pydoctor's complaint about a name of another project: those are not linked.
ELSEWHERE = "(you can link to external docs with --intersphinx)"


def environment(**more: str) -> dict[str, str]:
    """
    That of the tools.  Nothing of this package runs in them: where its coverage
    is measured, they are left out, which would be slow.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**kept, **more}


def complaints(printed: str) -> list[str]:
    """Pydoctor's warnings about this package, of all that it said."""
    return [
        line.strip()
        for line in printed.splitlines()
        if line.strip() and not line.rstrip().endswith(ELSEWHERE)
    ]


def reference(folder: Path, package: Path) -> list[str]:
    """
    Write the pages of C{package} into C{folder}.

    @return: what is wrong with the docstrings.
    """
    command = [
        sys.executable,
        *("-m", "pydoctor", "-q", "--docformat=epytext"),
        *("--project-name=taskqueue", f"--project-base-dir={package.parent}"),
        # What starts with an underscore is nobody's business, nor are the pages slowed by it.
        *("--privacy=HIDDEN:**._*", "--privacy=PUBLIC:**.__init__"),
        *(f"--html-output={folder}", str(package)),
    ]
    done = subprocess.run(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = complaints(done.stdout)
    if done.returncode and not found:
        found = [f"pydoctor ended with the status {done.returncode}"]
    return found


def site(folder: Path, api: Path, config: Path) -> list[str]:
    """
    Write the whole site into C{folder}.

    @return: what mkdocs complains of.
    """
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "mkdocs", "build", "--strict", "--clean"),
            f"--config-file={config}",
            f"--site-dir={folder}",
        ],
        env=environment(**{API_FOLDER: str(api), "PYTHONPATH": str(ROOT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not done.returncode:
        return []
    lines = done.stdout.splitlines()
    return [line for line in lines if line.startswith(("WARNING", "ERROR"))] or lines


def main(arguments: Sequence[str]) -> int:
    """Build; the exit status is 1 when anything was complained of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="taskqueue-docs-") as work:
        api = Path(work)
        found = reference(api, ROOT / "taskqueue")
        found += site(options.site.resolve(), api, ROOT / "mkdocs.yml")
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"Open {options.site / 'index.html'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
