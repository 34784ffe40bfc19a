"""
What is done from the dashboard is done; and is asked about, with the number of tasks that
it touches, where it cannot be undone.
"""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.staged import SceneCase, row


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def confirm(page: Page, question: str, button: str) -> None:
    """Answer a dialog that must say C{question}, by a button."""
    expect(dialog(page)).to_contain_text(question)
    dialog(page).get_by_role("button", name=button).click()
    expect(dialog(page)).to_have_count(0)


def told(page: Page, words: str) -> None:
    expect(page.locator(".toasts")).to_contain_text(words)


class DeadLetterTests(SceneCase):
    def test_a_group_is_retried(self) -> None:
        ids = self.dead_letters("retried", "RetriedError: number 1", 3)
        others = self.dead_letters("retried", "OtherError: number 2", 1)
        page = self.visit("/dead-letters?queue=retried")
        row(page, "RetriedError").get_by_role("button", name="Retry").click()
        dialog(page).get_by_label("Further tries").fill("7")
        confirm(page, "3 tasks", "Retry 3 tasks")
        told(page, "3 tasks were given another chance")
        expect(row(page, "RetriedError")).to_have_count(0)
        self.assertEqual(self.states(*ids), {"pending"})
        self.assertEqual(self.states(*others), {"dead_letter"})

    def test_some_of_a_group_are_deleted(self) -> None:
        ids = self.dead_letters("deleted", "DeletedError: number 1", 3)
        page = self.visit("/dead-letters?queue=deleted")
        page.get_by_role("link", name="DeletedError").click()
        boxes = page.get_by_role("checkbox")
        expect(boxes).to_have_count(4)
        boxes.nth(1).check()
        boxes.nth(2).check()
        page.get_by_role("button", name="Delete selected").click()
        confirm(page, "2 tasks", "Delete 2 tasks")
        told(page, "2 tasks were deleted")
        expect(page.get_by_role("checkbox")).to_have_count(2)
        left = self.scene.ask("GET", "/dead-letters?queue=deleted")["tasks"]
        self.assertEqual([task["id"] for task in left], ids[:1])

    def test_nothing_is_done_without_a_yes(self) -> None:
        ids = self.dead_letters("kept", "KeptError: number 1", 1)
        page = self.visit("/dead-letters?queue=kept")
        row(page, "KeptError").get_by_role("button", name="Delete").click()
        expect(dialog(page)).to_contain_text("1 task")
        page.keyboard.press("Escape")
        expect(dialog(page)).to_have_count(0)
        self.assertEqual(self.states(*ids), {"dead_letter"})


class TasksTests(SceneCase):
    def test_all_that_match_are_cancelled(self) -> None:
        ids = self.peer().submit(*[{"type": "t", "queue": "cancelled-all"}] * 5)
        page = self.visit("/tasks?queue=cancelled-all")
        page.get_by_role("button", name="Cancel …").click()
        confirm(page, "5 tasks", "Cancel 5 tasks")
        told(page, "5 tasks were cancelled")
        self.assertEqual(self.states(*ids), {"cancelled"})

    def test_those_that_are_selected_are_cancelled(self) -> None:
        ids = self.peer().submit(*[{"type": "t", "queue": "cancelled-some"}] * 3)
        page = self.visit("/tasks?queue=cancelled-some")
        page.get_by_role("checkbox").nth(1).check()
        page.get_by_role("button", name="Cancel", exact=True).click()
        confirm(page, "1 task", "Cancel 1 task")
        told(page, "1 task was cancelled")
        self.assertEqual(self.states(*ids), {"cancelled", "pending"})

    def test_dead_letters_are_retried(self) -> None:
        ids = self.dead_letters("retried-from-tasks", "E: 1", 2)
        page = self.visit("/tasks?queue=retried-from-tasks&state=dead_letter")
        page.get_by_role("button", name="Retry …").click()
        confirm(page, "2 tasks", "Retry 2 tasks")
        told(page, "2 tasks were given another chance")
        self.assertEqual(self.states(*ids), {"pending"})


class WorkerTests(SceneCase):
    def order(self, name: str) -> str | None:
        found: str | None = self.scene.staff()[name]["order"]
        return found

    def test_one_is_terminated(self) -> None:
        worker = self.worker("to-end")
        worker.submit({"type": "t", "queue": "of-to-end"})
        worker.claim(queues=["of-to-end"])
        page = self.visit("/workers/to-end")
        page.get_by_role("button", name="Terminate").click()
        confirm(page, "It has 1 task in hand", "Terminate")
        told(page, "to-end is told to finish and stop")
        self.assertEqual(self.order("to-end"), "terminate")
        expect(page.locator(".title-row")).to_contain_text("ending")
        expect(page.get_by_role("button", name="Terminate")).to_be_disabled()

    def test_some_are_made_quiet(self) -> None:
        self.worker("hush-1")
        self.worker("hush-2")
        page = self.visit("/workers?name=hush")
        page.get_by_role("checkbox").first.check()
        expect(page.get_by_text("2 workers selected")).to_be_visible()
        page.get_by_role("button", name="Make quiet").click()
        confirm(page, "They have no task in hand", "Make quiet")
        told(page, "2 workers are told to claim no more")
        self.assertEqual({self.order("hush-1"), self.order("hush-2")}, {"quiet"})
        self.assertIsNone(self.order("mail-1"))


class QueueTests(SceneCase):
    def test_one_is_paused_and_resumed(self) -> None:
        self.peer().submit({"type": "t", "queue": "stop-and-go"})
        page = self.visit("/queues/stop-and-go")
        page.get_by_role("button", name="Pause").click()
        confirm(page, "Pause this queue?", "Pause")
        expect(page.locator(".title-row")).to_contain_text("paused")
        self.assertTrue(self.scene.ask("GET", "/queues/stop-and-go")["paused"])
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".title-row")).not_to_contain_text("paused")

    def test_its_dead_letters_run_again(self) -> None:
        ids = self.dead_letters("once-more", "OnceMoreError: 1", 2)
        page = self.visit("/queues/once-more")
        page.get_by_role("button", name="Retry dead letters").click()
        confirm(page, "2 dead letters of it run again", "Retry")
        told(page, "2 dead letters run again")
        expect(page.get_by_role("button", name="Retry dead letters")).to_have_count(0)
        self.assertEqual(self.states(*ids), {"pending"})

    def test_one_with_a_name_that_must_be_escaped(self) -> None:
        """Only clients of other protocols can give such names."""
        self.scene.ask("POST", "/queues/a%3Bb%2Fc%2B%24%28d%29/pause", {})
        page = self.visit("/queues")
        page.get_by_role("link", name="a;b/c+$(d)").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("a;b/c+$(d)")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".title-row")).not_to_contain_text("paused")
        page.get_by_role("link", name="All", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
        expect(page.get_by_label("Queue", exact=True)).to_have_value("a;b/c+$(d)")

    def test_a_long_name_leaves_room_for_the_numbers(self) -> None:
        name = "long-" + "x" * 195
        self.scene.ask("POST", f"/queues/{name}/pause", {})
        page = self.visit("/queues")
        link = page.get_by_role("link", name=name)
        expect(link).to_have_attribute("title", name)
        box = link.bounding_box()
        self.assertIsNotNone(box)
        self.assertLess(box["width"] if box else 0, 400)
        link.click()
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text(name)
        within = "e => e.scrollWidth <= e.clientWidth"
        self.assertTrue(heading.evaluate(within))
        self.scene.ask("POST", f"/queues/{name}/resume", {})


class PeriodicTests(SceneCase):
    def test_one_is_made_once_it_is_right(self) -> None:
        page = self.visit("/periodic?new=1")
        expect(page.get_by_label("Name", exact=True)).to_be_focused()
        self.expect("status of (404|422) .*/periodics/")
        page.get_by_label("Name", exact=True).fill("made-by-hand")
        page.get_by_label("Type of its tasks").fill("search.reindex_product")
        page.get_by_label("Cron expression", exact=True).fill("61 5 * * *")
        page.get_by_role("button", name="Make it").click()
        cron = page.get_by_label("Cron expression", exact=True)
        expect(cron).to_have_attribute("aria-invalid", "true")
        expect(cron).to_be_focused()
        expect(page.locator("small.trouble")).to_contain_text("61")
        cron.fill("1 5 * * *")
        page.get_by_label("Payload").fill('{"product": 7')
        page.get_by_role("button", name="Make it").click()
        expect(page.locator("small.trouble")).to_contain_text("this is no JSON")
        page.get_by_label("Payload").fill('{"product": 7}')
        page.get_by_role("button", name="Make it").click()
        told(page, "made-by-hand is made")
        expect(row(page, "made-by-hand")).to_contain_text("every day at 05:01")
        made = self.scene.ask("GET", "/periodics/made-by-hand")
        self.assertEqual((made["cron"], made["payload_bytes"]), ("1 5 * * *", 13))

    def test_a_name_that_is_taken(self) -> None:
        page = self.visit("/periodic?new=1")
        page.get_by_label("Name", exact=True).fill("nightly-report")
        page.get_by_label("Type of its tasks").fill("t")
        page.get_by_label("Cron expression", exact=True).fill("1 5 * * *")
        page.get_by_role("button", name="Make it").click()
        expect(page.locator("small.trouble")).to_contain_text("there is one of this name already")
        self.assertEqual(self.scene.ask("GET", "/periodics/nightly-report")["cron"], "30 5 * * *")

    def test_one_is_changed(self) -> None:
        """What the form has no field for stays; and so does a payload that nobody touched."""
        payload = '{"a": 1.0,\r\n "b": 2}\n'
        body = {"type": "t", "queue": "of-edits", "every_s": 3600, "payload": payload}
        more = {"headers": {"a": "b"}, "max_lost": 2, "overlap": False, "catch_up": "skip"}
        self.scene.ask("PUT", "/periodics/edited-thing", body | more | {"expires_in_s": 60})
        page = self.visit("/periodic?name=edited-thing")
        panel = page.locator(".panel", has_text="edited-thing").first
        panel.get_by_role("button", name="Edit").click()
        expect(page.get_by_label("Every … seconds")).to_have_value("3600")
        expect(page.get_by_label("Name", exact=True)).not_to_be_editable()
        page.get_by_text("by a cron expression").click()
        page.get_by_label("Cron expression", exact=True).fill("61 5 * * *")
        page.get_by_label("Time zone").fill("Europe/Paris")
        page.get_by_label("Expires after").fill("")
        page.get_by_label("enabled").uncheck()
        self.expect("status of 422 .*/periodics/")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("small.trouble")).to_contain_text("61")
        expect(page.get_by_label("Time zone")).to_have_value("Europe/Paris")
        page.get_by_label("Cron expression", exact=True).fill("1 5 * * *")
        page.get_by_role("button", name="Save").click()
        told(page, "edited-thing is changed")
        found = self.scene.ask("GET", "/periodics/edited-thing?include=payload")
        self.assertEqual(
            (found["cron"], found["tz"], found["paused"]), ("1 5 * * *", "Europe/Paris", True)
        )
        self.assertEqual({name: found[name] for name in more}, more)
        self.assertEqual(found["payload"], payload)
        self.assertNotIn("expires_in_s", found)
        panel.get_by_role("button", name="Edit").click()
        page.get_by_label("Payload").fill('{"c": 3}')
        page.get_by_label("Written as").select_option("JSON")
        page.get_by_label("enabled").check()
        page.get_by_role("button", name="Save").click()
        expect(row(page, "edited-thing")).not_to_contain_text("paused")
        found = self.scene.ask("GET", "/periodics/edited-thing?include=payload")
        self.assertEqual((found["payload"], found["paused"]), ('{"c":3}', False))

    def test_one_is_run_paused_and_deleted(self) -> None:
        body = {"type": "t", "queue": "of-hours", "every_s": 3600}
        self.scene.ask("PUT", "/periodics/hourly-thing", body)
        page = self.visit("/periodic?name=hourly-thing")
        panel = page.locator(".panel", has_text="hourly-thing").first
        panel.get_by_role("button", name="Run now").click()
        told(page, "A task of hourly-thing was submitted")
        expect(row(page, "hourly-thing")).to_contain_text("pending")
        panel.get_by_role("button", name="Pause").click()
        expect(row(page, "hourly-thing")).to_contain_text("paused")
        panel.get_by_role("button", name="Delete").click()
        self.expect("status of 404 .*/periodics/hourly-thing")
        confirm(page, "touches no task", "Delete")
        expect(row(page, "hourly-thing")).to_have_count(0)
