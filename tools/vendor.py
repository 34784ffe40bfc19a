"""
Renew the JavaScript libraries of the dashboard: install what package-lock.json
names, and copy the few files that browsers load, with their licences, into the
package.  What was copied, and what it must be, is written to manifest.json.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "taskqueue" / "web" / "dashboard" / "assets" / "vendor"

#: The address of a source map, which is not shipped.
_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)

#: What npm reads.
_LOCKED = ("package.json", "package-lock.json")


class Part(NamedTuple):
    """
    A file of a package that is shipped.

    @ivar source: its path in the package.
    @ivar name: what it is called here.
    @ivar change: a text of it, and what stands in its place here.
    @ivar tail: what is written behind it.
    """

    package: str
    source: str
    name: str
    change: tuple[str, str] | None = None
    tail: str = ""


#: Browsers find modules by address, not by the name of a package.  uPlot's only small
#: file is a script: with its last line it is a module.
PARTS = (
    Part("preact", "dist/preact.mjs", "preact.js"),
    Part("preact", "hooks/dist/hooks.mjs", "hooks.js", change=('"preact"', '"./preact.js"')),
    Part("preact", "LICENSE", "preact.LICENSE"),
    Part("htm", "dist/htm.module.js", "htm.js"),
    Part("htm", "LICENSE", "htm.LICENSE"),
    Part("uplot", "dist/uPlot.iife.min.js", "uplot.js", tail="export default uPlot;\n"),
    Part("uplot", "dist/uPlot.min.css", "uplot.css"),
    Part("uplot", "LICENSE", "uplot.LICENSE"),
)


def without_hosts(lock: dict[str, Any]) -> dict[str, Any]:
    """A lock file that does not say where packages were downloaded from."""
    for package in lock["packages"].values():
        package.pop("resolved", None)
    return lock


def installed(work: Path) -> Path:
    """Install what is locked into C{work}; the folder of the packages."""
    for name in _LOCKED:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, work)
    # An install that follows the lock where there is one, and writes it where not.
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(install, cwd=work, check=True)
    lock = json.loads((work / "package-lock.json").read_text(encoding="utf-8"))
    text = json.dumps(without_hosts(lock), indent=2) + "\n"
    (ROOT / "package-lock.json").write_text(text, encoding="utf-8")
    return work / "node_modules"


def copy(part: Part, modules: Path) -> dict[str, str]:
    """Copy a file; its entry in the manifest."""
    about = json.loads((modules / part.package / "package.json").read_text(encoding="utf-8"))
    text = (modules / part.package / part.source).read_text(encoding="utf-8")
    if part.change is not None:
        old, new = part.change
        if text.count(old) != 1:
            raise SystemExit(f"{part.package}: {part.source} has no {old} to change")
        text = text.replace(old, new)
    text = _MAP.sub("", text)
    data = (text.rstrip("\n") + "\n" + part.tail).encode()
    (VENDOR / part.name).write_bytes(data)
    return {
        "file": part.name,
        "package": part.package,
        "version": about["version"],
        "license": about["license"],
        "source": part.source,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def main() -> None:
    """Copy every part and write the manifest."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        modules = installed(Path(work))
        entries = [copy(part, modules) for part in PARTS]
    manifest = json.dumps({"files": entries}, indent=2) + "\n"
    (VENDOR / "manifest.json").write_text(manifest, encoding="utf-8")


if __name__ == "__main__":
    main()
