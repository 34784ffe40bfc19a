"""
What is seen stands in the address: it can be shared, survives a reload, and the browser's
own way back leads back.
"""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.staged import SceneCase, row


def search_of(page: Page, pattern: str) -> None:
    """Wait until the address has this in its query."""
    expect(page).to_have_url(re.compile(rf"\?(.*&)?{pattern}(&|$)"))


class AddressTests(SceneCase):
    def test_filters_of_tasks(self) -> None:
        page = self.visit("/tasks")
        page.get_by_label("Queue").fill("billing")
        search_of(page, "queue=billing")
        page.get_by_role("button", name="More filters").click()
        page.get_by_role("button", name="dead letter").click()
        search_of(page, "state=dead_letter")
        shown = row(page, "billing.charge_card").first
        expect(shown).to_contain_text("dead letter")
        page.reload()
        expect(page.get_by_label("Queue")).to_have_value("billing")
        pressed = page.get_by_role("button", name="dead letter", pressed=True)
        expect(pressed).to_be_visible()
        shown.get_by_role("link").first.click()
        expect(page.locator("h1")).to_have_text("billing.charge_card")
        page.go_back()
        search_of(page, "state=dead_letter")
        expect(page.get_by_label("Queue")).to_have_value("billing")
        expect(shown).to_be_visible()

    def test_pages_of_tasks(self) -> None:
        page = self.visit("/tasks?queue=media&state=pending&order=oldest&limit=5")
        first = page.locator("tbody tr").first
        before = first.inner_text()
        page.get_by_role("button", name="Next page").click()
        search_of(page, r"after=\d+")
        expect(first).not_to_have_text(before)
        page.go_back()
        expect(page).not_to_have_url(re.compile("after="))

    def test_filters_of_workers(self) -> None:
        page = self.visit("/workers")
        page.get_by_label("Name or host").fill("media")
        search_of(page, "name=media")
        expect(row(page, "mail-1")).to_have_count(0)
        page.get_by_role("button", name="disconnected").click()
        search_of(page, "standing=disconnected")
        page.reload()
        expect(row(page, "media-2")).to_be_visible()
        expect(row(page, "media-1")).to_have_count(0)

    def test_order_of_a_table(self) -> None:
        page = self.visit("/workers")
        page.get_by_role("button", name="Completed").click()
        search_of(page, "sort=-completed")
        page.reload()
        heading = page.get_by_role("columnheader", name="Completed")
        expect(heading).to_have_attribute("aria-sort", "descending")

    def test_a_group_of_dead_letters(self) -> None:
        page = self.visit("/dead-letters")
        page.get_by_role("link", name=re.compile("CardDeclined")).click()
        search_of(page, "group=[^&]+")
        page.reload()
        expect(page.locator("h1")).to_contain_text("CardDeclined")
        expect(page.get_by_role("checkbox")).to_have_count(15)
        page.go_back()
        expect(page.locator("h1")).to_have_text("Dead letters")

    def test_the_configuration_is_searched(self) -> None:
        page = self.visit("/broker")
        page.get_by_label("Search the configuration").fill("grace")
        search_of(page, "setting=grace")
        page.reload()
        expect(page.locator(".sections dt")).to_have_text(["reconnect_grace_s"])
        expect(page.locator(".sections dd")).to_contain_text("1800")

    def test_the_span_of_the_charts(self) -> None:
        page = self.visit("/")
        page.get_by_role("button", name="15 min").click()
        search_of(page, "span=15m")
        page.reload()
        expect(page.get_by_role("button", name="15 min", pressed=True)).to_be_visible()
