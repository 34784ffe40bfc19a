"""
The pictures of the dashboard in C{docs/images/dashboard}: each page in both themes, and
some as a phone shows them.

They show a web shop that does not exist: L{tests.browser.scene}, in front of which
L{tools.past} has put a day.  Run by C{make screenshots}.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.broker import new_broker, new_folder, site_of
from tests.browser.browsing import browsing, free_port, new_context
from tests.browser.guard import PASSWORD, Guard
from tests.browser.scene import Scene
from tests.browser.seeds import dead_letters
from tests.process.children import until
from tools.past import AGO_S

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images" / "dashboard"

DESKTOP = (1280, 860)
PHONE = (390, 844)

#: A picture must not be larger than this, bytes.
MOST_BYTES = 150_000

SCRIPT = "from tools.past import main; main()"

#: How long things settle in the past, and then go on, seconds: the graphs have a sample each ten.
SETTLES_S, GOES_ON_S = 20.0, 24.0

#: Who has signed in.
USER = "grace"


class View(NamedTuple):
    """
    What a picture shows.

    @ivar shows: a text that is there when the page is ready.
    @ivar phone: as a phone shows it, too.
    """

    name: str
    address: str
    shows: str
    phone: bool = False


def guarded() -> tuple[Path, Guard]:
    """A folder for a broker that L{USER} may sign in to."""
    folder = new_folder()
    guard = Guard(folder)
    guard.user(USER, "admin")
    return folder, guard


def untouched_site() -> str:
    """The address of a broker that has never had a task."""
    folder, guard = guarded()
    # Its address can be read in the picture.
    listen = f"--set=listen.framed=tcp:{free_port()}:interface=127.0.0.1"
    return site_of(new_broker(folder, listen, "--set=broker.name=shop", *guard.arguments))


class PastScene(Scene):
    """The scene of the tests, a day later; a broker that wants to know who asks."""

    def __init__(self) -> None:
        folder, guard = guarded()
        arguments = ("--durability=fsync", "--data-dir=shop-data", *guard.arguments)
        super().__init__(*arguments, folder=folder, key=guard.key("shop"), script=SCRIPT)

    def begin(self) -> Scene:
        """Let the day pass; returns in the present."""
        for name in ("mail-1", "shop-1"):
            self.hire(name)
        doomed = dead_letters()
        share = -(-len(doomed) // (len(AGO_S) - 1))  # of each step but the last
        for there in range(share, len(doomed) + share, share):
            self.submit(doomed[there - share : there])
            until("they have failed", lambda: self.dead() >= min(there, len(doomed)))  # noqa: B023  # at once
            if there < len(doomed):
                self.broker.tell(signal.SIGUSR2)
        super().begin()
        return self

    def arrive(self) -> None:
        """The last step, into the present: the graphs begin to go on from here."""
        self.broker.tell(signal.SIGUSR2)


def views(scene: Scene) -> Iterator[View]:
    """All pages of the dashboard, but the first steps."""
    ask = scene.ask
    blocked = ask("GET", "/tasks?state=blocked&type=reports.publish")["tasks"][0]["depends_on"][0]
    failed = ask("GET", "/tasks?state=failed&limit=1")["tasks"][0]["id"]
    group = ask("GET", "/dead-letters/groups?queue=billing")["groups"][0]["error_group"]
    yield View("overview", "/", "Recent failures", phone=True)
    yield View("queues", "/queues", "imports", phone=True)
    yield View("queue", "/queues/media", "media.resize_image")
    yield View("tasks", "/tasks", "billing.charge_card")
    yield View("task", f"/tasks/{failed}", "answered 503")
    yield View("dependencies", f"/tasks/{blocked}", "reports.publish")
    yield View("workers", "/workers", "disconnected")
    yield View("worker", "/workers/media-1", "media.transcode_video")
    yield View("dead-letters", "/dead-letters", "TimeoutError")
    yield View("dead-letter-group", f"/dead-letters?group={quote(group)}", "the bank declined")
    yield View("periodic", "/periodic?name=nightly-report", "every day at 05:30")
    yield View("broker", "/broker", "queue_depth_threshold")
    yield View("sign-in", "/sign-in", "Sign in to shop")


def take(browser: Browser, site: str, view: View, theme: str, size: tuple[int, int]) -> bytes:
    """
    A picture, as small as it can be made: user interfaces have few colours.

    @return: the PNG file.
    """
    context = new_context(browser, site, theme, size)
    if view.address != "/sign-in":
        context.request.post("/api/v1/session", data={"name": USER, "password": PASSWORD})
    page = context.new_page()
    page.goto(view.address)
    expect(page.locator("#main")).to_contain_text(view.shows)
    page.wait_for_timeout(4500)  # rates are told by the third look
    taken = Image.open(BytesIO(page.screenshot())).convert("RGB")
    context.close()
    file = BytesIO()
    taken.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def pictures(browser: Browser, site: str, view: View) -> Iterator[tuple[str, bytes]]:
    """The files of one page, with their names."""
    for theme in ("light", "dark"):
        yield f"{view.name}-{theme}.png", take(browser, site, view, theme, DESKTOP)
    if view.phone:
        yield f"{view.name}-phone.png", take(browser, site, view, "light", PHONE)


def main(only: list[str]) -> int:
    """
    Take the pictures, or those of the pages with these names only.

    @return: the exit status: 1 where one is too large.
    """
    scene = PastScene()
    scene.begin()
    with browsing() as browser:
        page = new_context(browser, scene.site).new_page()
        for wait_s, then in ((SETTLES_S, scene.arrive), (GOES_ON_S, list)):
            page.wait_for_timeout(wait_s * 1000)
            then()
        every = dict.fromkeys(views(scene), scene.site)
        every[View("welcome", "/", "Waiting for your first task")] = untouched_site()
        sizes: dict[str, int] = {}
        for view, site in every.items():
            if only and view.name not in only:
                continue
            for name, content in pictures(browser, site, view):
                FOLDER.mkdir(parents=True, exist_ok=True)
                (FOLDER / name).write_bytes(content)
                sizes[name] = len(content)
                print(f"{name}: {len(content) // 1000} kB", flush=True)
    return int(any(size > MOST_BYTES for size in sizes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
