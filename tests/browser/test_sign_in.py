"""
A broker that wants to know who looks on.
"""

from __future__ import annotations

import functools
import re

from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.broker import new_broker, new_folder, site_of
from tests.browser.browsing import BrowserCase
from tests.browser.guard import PASSWORD, Guard
from tests.browser.scene import Requests


@functools.cache
def guarded_site() -> tuple[str, str, str]:
    """
    The address of a broker that wants to know who asks, a key to it, and one that shows some
    queues only.
    """
    folder = new_folder()
    guard = Guard(folder)
    guard.user("grace", "admin")
    guard.user("emmy", "viewer")
    keys = guard.key("deployment"), guard.key("partly", allow="read:mine-*")
    return site_of(new_broker(folder, *guard.arguments)), *keys


class SignInTests(BrowserCase):
    def setUp(self) -> None:
        super().setUp()
        self.site, self.key, self.part = guarded_site()
        # The browser tells its console of every refusal, also of those that are expected.
        self.expect(r"status of 401 ")

    def sign_in(self, page: Page, name: str, password: str = PASSWORD) -> None:
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in", exact=True).click()

    def test_one_comes_back_to_where_one_was_going(self) -> None:
        page = self.visit("/queues?sort=-depth")
        expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Fqueues"))
        self.assertEqual(violations(page), [])
        self.sign_in(page, "grace", "wrong")
        expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
        self.sign_in(page, "grace")
        expect(page).to_have_url(f"{self.site}/queues?sort=-depth")
        expect(page.locator(".corner")).to_contain_text("grace")
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(re.compile("/sign-in"))
        page.goto("/workers")
        expect(page).to_have_url(re.compile("/sign-in"))

    def test_by_a_key(self) -> None:
        page = self.visit("/sign-in")
        page.get_by_role("button", name="Sign in with a key").click()
        page.get_by_label("Key").fill(self.key)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.locator(".corner")).to_contain_text("deployment")

    def test_who_may_read_some_queues_sees_those(self) -> None:
        ask = Requests(self.site, self.key)
        for queue, number in (("mine-a", 2), ("mine-b", 1), ("theirs", 4)):
            for _ in range(number):
                ask("POST", "/tasks", {"type": "t", "queue": queue})
        page = self.visit("/sign-in?next=/")
        page.get_by_role("button", name="Sign in with a key").click()
        page.get_by_label("Key").fill(self.part)
        self.expect("status of 403 .*/stats")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.locator("h1")).to_have_text("Overview")
        expect(page.locator("main")).to_contain_text("These are the 2 queues that you may read")
        waiting = page.locator(".figure", has=page.locator("dt", has_text="Waiting"))
        expect(waiting.locator("dd").first).to_have_text("3")
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_role("link", name="mine-a")).to_be_visible()
        expect(page.locator("main")).to_contain_text("Nothing has failed")
        expect(page.locator("main")).not_to_contain_text("theirs")
        self.assertEqual(violations(page), [])

    def test_what_one_may_not_do_is_grey_and_says_why(self) -> None:
        ask = Requests(self.site, self.key)
        ask("PUT", "/periodics/hourly", {"type": "t", "every_s": 3600})
        page = self.visit("/sign-in?next=/periodic")
        self.sign_in(page, "emmy")
        expect(page.locator("h1")).to_have_text("Periodic tasks")
        for name in ("New", "Run now", "Pause"):
            button = page.get_by_role("button", name=name)
            expect(button).to_have_attribute("aria-disabled", "true")
            expect(button).to_have_attribute("title", re.compile("emmy may not do this"))
            button.click(force=True)
        self.assertFalse(ask("GET", "/periodics/hourly")["paused"])
        self.assertEqual(violations(page), [])
