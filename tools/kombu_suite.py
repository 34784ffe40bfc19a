"""
Fetch kombu's integration tests, which its wheel does not have, for the tests of our transport.

They are taken from its source archive, which pip downloads and whose hash stands in
requirements/kombu-suite.txt, into the virtual environment.  Where it cannot be had, this
says why, and the test that needs them skips: see C{tests/contrib/kombu/test_suite.py}.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENT = ROOT / "requirements" / "kombu-suite.txt"

#: What is wanted of the archive, below its first folder, and where it goes.
WANTED = "t/integration/common.py"
FOLDER = Path(sys.prefix) / "kombu-suite"

#: How long the download may take, seconds.
PATIENCE_S = 300.0


def fetch(folder: Path = FOLDER) -> str | None:
    """
    Have the file in C{folder}.

    @return: C{None}; or why it is not there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                _download(scratch), capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"pip took longer than {PATIENCE_S:g} s"
        if done.returncode:
            return (done.stderr.strip() or "pip failed").splitlines()[-1]
        (archive,) = Path(scratch).glob("*.tar.gz")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(WANTED).name).write_bytes(_member(archive))
    return None


def _download(scratch: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-build-isolation", "--no-binary=:all:", "--require-hashes"),
        *("--dest", scratch, "-r", str(REQUIREMENT)),
    ]


def _member(archive: Path) -> bytes:
    """What is wanted of an archive; nothing else of it is written anywhere."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.partition("/")[2] == WANTED:
                file = tar.extractfile(member)
                assert file is not None
                return file.read()
    raise SystemExit(f"{archive.name} has no {WANTED}")


def main() -> int:
    """Fetch it; the exit status says whether it is there."""
    why = fetch()
    if why is not None:
        print(f"Kombu's own tests of transports cannot be had, and are skipped: {why}")
    return int(why is not None)


if __name__ == "__main__":
    sys.exit(main())
