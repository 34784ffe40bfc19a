"""
Tests of the dashboard's files: that they are what they should be, and stay small.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.web.dashboard import assets, shell

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "taskqueue" / "web" / "dashboard" / "assets"
VENDOR = ASSETS / "vendor"

LONGEST_MODULE = 400

#: What a module imports, or passes on.
IMPORT = re.compile(
    r"""^(?:(?:import|export)\b[^;"]*\bfrom|import) "(?P<path>[^"]+)";$""", re.MULTILINE
)


def own(*suffixes: str) -> Iterator[Path]:
    """The files that are written here."""
    for path in sorted(ASSETS.rglob("*")):
        if path.suffix in suffixes and VENDOR not in path.parents:
            yield path


class VendorTests(SynchronousTestCase):
    def setUp(self) -> None:
        manifest = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))
        self.entries = manifest["files"]

    def test_files_are_what_the_manifest_says(self) -> None:
        """What was vendored is renewed by `make vendor`, and never edited."""
        for entry in self.entries:
            digest = hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest()
            self.assertEqual(digest, entry["sha256"], entry["file"])

    def test_every_file_is_in_the_manifest(self) -> None:
        there = {path.name for path in VENDOR.iterdir()} - {"manifest.json"}
        self.assertEqual(there, {entry["file"] for entry in self.entries})

    def test_every_package_has_its_licence(self) -> None:
        packages = {entry["package"] for entry in self.entries}
        licences = {e["package"] for e in self.entries if e["file"].endswith(".LICENSE")}
        self.assertEqual(packages, licences)

    def test_versions_are_those_that_are_locked(self) -> None:
        wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"]
        text = (ROOT / "package-lock.json").read_text(encoding="utf-8")
        locked = json.loads(text)["packages"]
        self.assertNotIn("resolved", text)
        for entry in self.entries:
            name, version = entry["package"], entry["version"]
            self.assertEqual(wanted[name], version)
            self.assertEqual(locked[f"node_modules/{name}"]["version"], version)


class OwnFilesTests(SynchronousTestCase):
    def test_modules_stay_small(self) -> None:
        for path in own(".js", ".css"):
            lines = path.read_text(encoding="utf-8").count("\n")
            self.assertLessEqual(lines, LONGEST_MODULE, path.name)

    def test_imports_lead_somewhere(self) -> None:
        """There is no bundler that would notice."""
        self.assertEqual(len(IMPORT.findall((ASSETS / "kit" / "view.js").read_text())), 3)
        for path in own(".js"):
            for found in IMPORT.finditer(path.read_text(encoding="utf-8")):
                self.assertTrue(found["path"].startswith("."), f"{path.name}: {found['path']}")
                target = (path.parent / found["path"]).resolve()
                self.assertTrue(target.is_file(), f"{path.name} imports {found['path']}")

    def test_nothing_that_the_policy_forbids(self) -> None:
        for path in own(".js"):
            text = path.read_text(encoding="utf-8")
            self.assertNotRegex(text, r"\sstyle=|innerHTML|dangerouslySet|eval\(|new Function")

    def test_nothing_from_outside(self) -> None:
        for path in own(".js", ".css", ".svg"):
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            self.assertNotRegex(text, r"https?://|@import|url\(", path.name)

    def test_colours_are_variables(self) -> None:
        """A colour that has one value for both themes is wrong in one of them."""
        for name in ("parts.css", "pages.css"):
            text = (ASSETS / "style" / name).read_text(encoding="utf-8")
            bare = re.sub(r"light-dark\([^)]*\)", "", text)
            self.assertNotRegex(bare, r"#[0-9a-fA-F]{3,8}\b(?!:)", name)

    def test_every_file_is_sent(self) -> None:
        there = {p.relative_to(ASSETS).as_posix() for p in ASSETS.rglob("*") if p.is_file()}
        self.assertEqual(set(assets.load().found), there)

    def test_the_style_sheets_are_there(self) -> None:
        page = shell.document("x", "full").decode()
        for path in re.findall(r"/assets/[0-9a-f]+/([^\"]+)", page):
            self.assertIn(path, assets.load().found)

    def test_names_are_escaped(self) -> None:
        self.assertIn(b'data-broker="&quot;&lt;b&gt;"', shell.document('"<b>', "full"))
