"""
Everything can be done without a mouse; and themes, which are chosen by a button.
"""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.staged import SceneCase

FOCUS = "() => document.activeElement.textContent.trim() || document.activeElement.tagName"
# On its way round, the focus also visits the browser itself: then it is the body's.
FOCUS_IN_DIALOG = """() => {
  const focus = document.activeElement;
  return focus === document.body || focus.closest("dialog") !== null;
}"""


class KeyboardTests(SceneCase):
    def test_letters_lead_to_pages(self) -> None:
        page = self.visit("/")
        expect(page.locator("h1")).to_have_text("Overview")
        for letter, title in (
            ("q", "Queues"),
            ("t", "Tasks"),
            ("w", "Workers"),
            ("d", "Dead letters"),
            ("p", "Periodic tasks"),
            ("b", "Broker"),
            ("o", "Overview"),
        ):
            page.keyboard.press("g")
            page.keyboard.press(letter)
            expect(page.locator("h1")).to_have_text(title)

    def test_to_search(self) -> None:
        page = self.visit("/workers")
        search = page.get_by_label("Name or host")
        expect(search).to_be_visible()
        page.keyboard.press("/")
        expect(search).to_be_focused()
        page.keyboard.type("g w/?")
        expect(search).to_have_value("g w/?")
        expect(page).to_have_url(re.compile("/workers"))

    def test_help(self) -> None:
        page = self.visit("/queues")
        expect(page.locator("h1")).to_be_visible()
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        expect(dialog).to_contain_text("Go to Workers")
        self.assertTrue(page.evaluate(FOCUS_IN_DIALOG))
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)

    def test_the_first_key_skips_to_the_page(self) -> None:
        page = self.visit("/workers")
        expect(page.locator("h1")).to_be_visible()
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate(FOCUS), "Skip to the page")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        inside = page.evaluate("() => document.activeElement.closest('main') !== null")
        self.assertTrue(inside, page.evaluate(FOCUS))

    def test_the_order_is_that_of_the_page(self) -> None:
        page = self.visit("/workers/media-1")
        expect(page.locator("h1")).to_be_visible()
        found = []
        for _ in range(9):
            page.keyboard.press("Tab")
            found.append(re.sub(r"[\d,.]+[KM]?$", "", page.evaluate(FOCUS)))
        self.assertEqual(found[:2], ["Skip to the page", "shop"])
        wanted = ["Overview", "Queues", "Tasks", "Workers", "Dead letters", "Periodic", "Broker"]
        self.assertEqual(found[2:], wanted)

    def test_a_dialog_keeps_the_focus_and_gives_it_back(self) -> None:
        page = self.visit("/workers/media-1")
        button = page.get_by_role("button", name="Terminate")
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("in hand")
        for _ in range(5):
            self.assertTrue(page.evaluate(FOCUS_IN_DIALOG), page.evaluate(FOCUS))
            page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(button).to_be_focused()
        self.assertIsNone(self.scene.staff()["media-1"]["order"])

    def test_after_a_change_of_pages_its_title_has_the_focus(self) -> None:
        page = self.visit("/workers")
        page.get_by_role("link", name="media-1").click()
        expect(page.locator("h1")).to_have_text("media-1")
        expect(page.locator("h1")).to_be_focused()
        expect(page).to_have_title(re.compile("shop"))


class ThemeTests(SceneCase):
    BACK = "() => getComputedStyle(document.body).backgroundColor"

    def test_the_system_decides(self) -> None:
        page = self.visit("/queues", theme="light")
        light = page.evaluate(self.BACK)
        page.emulate_media(color_scheme="dark")
        self.assertNotEqual(page.evaluate(self.BACK), light)

    def test_what_is_chosen_stays(self) -> None:
        page = self.visit("/queues", theme="light")
        light = page.evaluate(self.BACK)
        page.get_by_role("button", name="Theme").click()
        page.get_by_role("button", name="Theme: light").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        dark = page.evaluate(self.BACK)
        self.assertNotEqual(dark, light)
        page.reload()
        self.assertEqual(page.evaluate(self.BACK), dark)
