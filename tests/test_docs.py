"""
The documents build into a site, and everything that would be wrong with it is seen.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools import build_docs, docs_site

ROOT = Path(__file__).resolve().parent.parent

PAGES = sorted((ROOT / "docs").rglob("*.md"))


class SiteTests(SynchronousTestCase):
    def test_builds_without_a_complaint(self) -> None:
        """Links, anchors, the navigation, and every docstring's markup."""
        site = Path(os.path.realpath(self.mktemp()))
        self.assertEqual(build_docs.main(["--site", str(site)]), 0, "see what it said above")
        for page in PAGES:
            made = site / page.relative_to(ROOT / "docs").with_suffix(".html")
            self.assertTrue(made.is_file(), made)
        reference = site / "api" / "taskqueue.client.Submission.html"
        self.assertTrue(reference.is_file(), reference)
        # Links to sources would lead nowhere.
        self.assertNotIn("(source)", reference.read_text())


class ComplaintTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(os.path.realpath(self.mktemp()))
        (self.folder / "docs").mkdir(parents=True)
        self.config = self.folder / "mkdocs.yml"
        settings = (ROOT / "mkdocs.yml").read_text()
        settings = settings.replace("tools/docs_site.py", str(ROOT / "tools" / "docs_site.py"))
        self.config.write_text(re.sub(r"(?s)^nav:.*", "", settings, flags=re.MULTILINE))

    def site(self, text: str) -> list[str]:
        """What is complained of when the only page says C{text}."""
        (self.folder / "docs" / "index.md").write_text(text)
        return build_docs.site(self.folder / "site", self.folder / "api", self.config)

    def test_links(self) -> None:
        self.assertEqual(self.site("[setup](../setup.cfg) [here](#a-title)\n\n# A title\n"), [])
        shown = (self.folder / "site" / "source" / "setup.cfg.txt").read_text()
        self.assertEqual(shown, (ROOT / "setup.cfg").read_text())

    def test_a_link_that_leads_nowhere(self) -> None:
        for link in ("none.md", "../none.py", "#none", "../examples/none"):
            found = self.site(f"[x]({link})")
            self.assertEqual(len(found), 1, f"{link}: {found}")
            self.assertIn("WARNING", found[0])

    def reference(self, docstring: str) -> list[str]:
        package = self.folder / "some"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(f'"""{docstring}"""\n\nHERE = 1\n"""Something."""\n')
        return build_docs.reference(self.folder / "api", package)

    def test_docstrings(self) -> None:
        self.assertEqual(self.reference("L{HERE}, and L{twisted.internet.defer.Deferred}."), [])
        self.assertTrue((self.folder / "api" / "index.html").is_file())
        self.assertIn("NOWHERE", self.reference("L{NOWHERE}")[0])
        self.assertTrue(self.reference("C{never closed"))


class LinkTests(SynchronousTestCase):
    def test_only_links_out_of_the_documents_are_led(self) -> None:
        for page, before, after in (
            ("a.md", "[x](../b.py)", "[x](source/b.py.txt)"),
            ("how/a.md", "[x](../../b.py#L3)", "[x](../source/b.py.txt#L3)"),
            ("how/a.md", "[x](../examples)", "[x](../examples)"),
            ("a.md", "[x](../examples/census)", "[x](source/examples/census/README.md.txt)"),
            ("a.md", "[x](b.md) [y](https://z/../w)", "[x](b.md) [y](https://z/../w)"),
        ):
            self.assertEqual(docs_site.retarget(page, before), after)
