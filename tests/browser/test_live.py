"""
Pages stay true while tasks run: without a reload, and through the loss of the broker.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from taskqueue.wire import MessageType
from tests.browser.broker import new_broker, new_folder, site_of
from tests.browser.browsing import BrowserCase, free_port
from tests.browser.staged import SceneCase, changes, figure, row
from tests.process.peer import Peer

#: Says whether the document is still the one that was loaded.
MARK = "window.loadedOnce = true"


class LiveTests(SceneCase):
    def watch(self, path: str) -> Page:
        """Visit a page that must not be loaded again."""
        page = self.visit(path)
        page.evaluate(MARK)
        self.addCleanup(lambda: self.assertTrue(page.evaluate("window.loadedOnce === true")))
        return page

    def test_overview(self) -> None:
        page = self.watch("/")
        completed = page.locator(".figure", has_text="Completed").locator(".note")
        before = int(changes(page, completed).split()[0].replace(",", ""))
        after = int(changes(page, completed).split()[0].replace(",", ""))
        self.assertGreater(after, before)

    def test_what_failed_last_is_first(self) -> None:
        """However old it is, and whatever was submitted and failed since."""
        peer = self.peer()
        peer.submit({"type": "old", "queue": "live-failures", "max_retries": 0})
        self.dead_letters("live-others", "LiveError: newer, but failed before", 31)
        page = self.watch("/")
        (task,) = peer.claim(queues=["live-failures"])
        report = {"task": task["id"], "lease": task["lease"], "status": "failed"}
        peer.ask(
            MessageType.TASK_RESULT,
            results=[{**report, "permanent": True, "error": "LiveError: out of luck"}],
        )
        failures = page.locator(".panel", has_text="Recent failures").locator("li")
        expect(failures.filter(has_text="LiveError: out of luck")).to_contain_text("dead letter")

    def test_queues(self) -> None:
        page = self.watch("/queues")
        self.peer().submit({"type": "t", "queue": "came-up-just-now"})
        expect(row(page, "came-up-just-now")).to_be_visible()

    def test_tasks(self) -> None:
        page = self.watch("/tasks?queue=live-tasks")
        expect(page.get_by_text("No task matches")).to_be_visible()
        peer = self.peer()
        peer.submit({"type": "t", "queue": "live-tasks"})
        expect(row(page, "live-tasks")).to_contain_text("pending")
        (task,) = peer.claim(queues=["live-tasks"])
        expect(row(page, "live-tasks")).to_contain_text("in progress")
        peer.complete(task)
        expect(row(page, "live-tasks")).to_contain_text("completed")

    def test_a_task(self) -> None:
        peer = self.peer()
        (task,) = peer.submit({"type": "t", "queue": "live-task"})
        page = self.watch(f"/tasks/{task}")
        state = page.locator(".title-row .state")
        expect(state).to_contain_text("pending")
        (delivery,) = peer.claim(queues=["live-task"])
        expect(state).to_contain_text("in progress")
        peer.complete(delivery, b'{"made": "by hand"}')
        expect(state).to_contain_text("completed")
        expect(page.locator("#main")).to_contain_text('"by hand"')

    def test_workers(self) -> None:
        page = self.watch("/workers")
        worker = self.worker("short-lived")
        expect(row(page, "short-lived")).to_contain_text("idle")
        worker.submit({"type": "t", "queue": "of-short-lived"})
        (task,) = worker.claim(queues=["of-short-lived"])
        expect(row(page, "short-lived")).to_contain_text("1 of 3")
        worker.complete(task)
        worker.ask(MessageType.DEREGISTER_WORKER, worker="short-lived")
        expect(row(page, "short-lived")).to_have_count(0)

    def test_a_worker(self) -> None:
        page = self.watch("/workers/media-1")
        changes(page, figure(page, "Completed"))
        progress = row(page, "media.transcode_video").first.locator(".progress")
        expect(progress).to_contain_text("%")
        changes(page, progress)

    def test_dead_letters(self) -> None:
        page = self.watch("/dead-letters?queue=live-dead")
        expect(page.get_by_text("No dead letter is like that")).to_be_visible()
        self.dead_letters("live-dead", "LiveError: out of ink", 2)
        expect(row(page, "LiveError: out of ink")).to_contain_text("2")

    def test_periodic(self) -> None:
        page = self.watch("/periodic")
        report = row(page, "nightly-report")
        self.scene.ask("POST", "/periodics/nightly-report/pause")
        expect(report).to_contain_text("paused")
        self.scene.ask("POST", "/periodics/nightly-report/resume")
        expect(report).not_to_contain_text("paused")
        changes(
            page,
            report.locator("a.mono"),
            lambda: self.scene.ask("POST", "/periodics/nightly-report/trigger"),
        )
        expect(report).to_contain_text("completed")

    def test_broker(self) -> None:
        page = self.watch("/broker")
        changes(page, figure(page, "Requests"))


class LossTests(BrowserCase):
    """A broker that goes away and comes back, at the same address."""

    def test_the_connection_is_lost_and_back(self) -> None:
        self.expect("Failed to load resource: net::ERR_|net::ERR_CONNECTION_REFUSED")
        start = self.broker()
        stop = start()
        page = self.visit("/workers")
        line = page.get_by_text("Connection to the broker lost")
        expect(page.locator("h1")).to_have_text("Workers")
        expect(line).to_have_count(0)
        stop()
        expect(line).to_be_visible()
        expect(page.locator("h1")).to_have_text("Workers")
        start()
        expect(line).to_have_count(0)

    def test_failures_from_before(self) -> None:
        """What failed before the broker started is shown too, as far as it is still there."""
        folder = new_folder()
        broker = new_broker(folder)
        peer = Peer(broker.port())
        peer.submit({"type": "t"})
        (task,) = peer.claim()
        report = {
            "task": task["id"],
            "lease": task["lease"],
            "status": "failed",
            "error": "long ago",
        }
        peer.ask(MessageType.TASK_RESULT, results=[{**report, "permanent": True}])
        peer.close()
        broker.end()
        self.site = site_of(new_broker(folder))
        page = self.visit("/?stay=1")
        expect(page.locator(".panel", has_text="Recent failures")).to_contain_text("long ago")

    def broker(self) -> Callable[[], Callable[[], object]]:
        """What starts it; that returns what stops it."""
        folder, port = new_folder(), free_port()
        self.site = f"http://127.0.0.1:{port}"

        def start() -> Callable[[], object]:
            broker = new_broker(folder, f"--http=tcp:{port}:interface=127.0.0.1")
            broker.port("HTTP")
            return broker.end

        return start
