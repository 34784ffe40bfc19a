"""
A web application with the broker inside: no second process, no socket between.

    python examples/embedded_web.py [PORT]

    POST /resize?width=8&height=4   a PGM image (P5) as the body -> {"id": ...}
    GET  /tasks/ID                  -> {"id": ..., "state": ...}
    GET  /tasks/ID/image            the resized image, once it is there

Requests only submit, so they are answered at once and survive a crash: the tasks
are on disk.  A worker in the same process takes them one by one and computes in
a thread.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.resource import NoResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from taskqueue.config import Config, StoreConfig
from taskqueue.core.changes import TaskRow
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.leases import Holder
from taskqueue.core.task import State
from taskqueue.errors import TaskQueueError
from taskqueue.service import TaskQueueService

QUEUE = "images"
LARGEST = 4096

_PGM = re.compile(rb"P5\s+(\d+)\s+(\d+)\s+255\s")


def resize(image: bytes, width: int, height: int) -> bytes:
    """
    The nearest pixels of a grey image, in another size.

    @raises ValueError: it is no binary PGM image of 8 bits.
    """
    header = _PGM.match(image)
    if header is None:
        raise ValueError("this is no PGM image (P5, 8 bits)")
    old_width, old_height = int(header[1]), int(header[2])
    pixels = image[header.end() :]
    if len(pixels) != old_width * old_height or not pixels:
        raise ValueError(f"{len(pixels)} pixels are not {old_width} x {old_height}")
    columns = [x * old_width // width for x in range(width)]
    rows = (y * old_height // height * old_width for y in range(height))
    return b"P5 %d %d 255\n" % (width, height) + b"".join(
        bytes([pixels[row + column] for column in columns]) for row in rows
    )


class Resizer(Service):
    """The worker: claims from the broker beside it, and computes in a thread."""

    log = Logger()

    def __init__(self, broker: TaskQueueService) -> None:
        self._broker = broker
        self._holder = Holder("resizer")
        self._claim: Deferred[Any] | None = None
        self._loop: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self._loop = Deferred.fromCoroutine(self._work())

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._claim is not None:
            self._claim.cancel()
        return self._loop

    async def _work(self) -> None:
        while self.running:
            try:
                self._claim = self._broker.claim(self._holder, [QUEUE], wait_s=3600.0)
                deliveries = await self._claim
            except CancelledError:
                return
            finally:
                self._claim = None
            for delivery in deliveries:
                await self._broker.report([await self._run(delivery)])

    async def _run(self, delivery: Delivery) -> Outcome:
        size = json.loads(delivery.headers)
        try:
            image = await deferToThread(
                resize, delivery.payload, int(size["width"]), int(size["height"])
            )
        except ValueError as error:
            return Outcome(
                delivery.id, delivery.lease, State.FAILED, error=str(error), permanent=True
            )
        return Outcome(delivery.id, delivery.lease, State.COMPLETED, image)


def answer(request: Request, status: int, content: Any) -> None:
    request.setResponseCode(status)
    if isinstance(content, bytes):
        request.setHeader("content-type", "image/x-portable-graymap")
    else:
        request.setHeader("content-type", "application/json")
        content = json.dumps(content).encode() + b"\n"
    request.write(content)
    request.finish()


class Answering(Resource):
    """Answers when a coroutine is through."""

    log = Logger()

    def later(self, request: Request, coroutine: Any) -> int:
        gone = request.notifyFinish()
        answering = Deferred.fromCoroutine(coroutine)
        # Whoever has gone away is not answered.
        gone.addErrback(lambda _: answering.cancel())
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Any, request: Request) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(TaskQueueError):
            answer(request, 503, {"error": str(failure.value)})
        else:
            self.log.failure("a request failed", failure)
            answer(request, 500, {"error": "internal error"})


class Resize(Answering):
    isLeaf = True

    def __init__(self, broker: TaskQueueService) -> None:
        super().__init__()
        self._broker = broker

    def render_POST(self, request: Request) -> int:
        return self.later(request, self._submit(request))

    async def _submit(self, request: Request) -> None:
        try:
            width, height = (int(request.args[name][0]) for name in (b"width", b"height"))
        except (KeyError, ValueError):
            width = height = 0
        if not (0 < width <= LARGEST and 0 < height <= LARGEST):
            message = f"give width and height, from 1 to {LARGEST}"
            return answer(request, 400, {"error": message})
        headers = json.dumps({"width": str(width), "height": str(height)})
        (accepted,) = await self._broker.submit(
            [Submission("resize", request.content.read(), QUEUE, headers=headers)]
        )
        if isinstance(accepted, TaskQueueError):
            raise accepted
        return answer(request, 202, {"id": accepted.id, "state": accepted.state.word})


class Tasks(Resource):
    def __init__(self, broker: TaskQueueService) -> None:
        super().__init__()
        self._broker = broker

    def getChild(self, path: bytes, request: Request) -> Resource:
        return OneTask(self._broker, path.decode("ascii", "replace"))


class OneTask(Answering):
    def __init__(self, broker: TaskQueueService, task: str) -> None:
        super().__init__()
        self._broker = broker
        self._task = task

    def getChild(self, path: bytes, request: Request) -> Resource:
        if path != b"image":
            return NoResource()
        image = OneTask(self._broker, self._task)
        image.show = image.show_image
        image.isLeaf = True
        return image

    def render_GET(self, request: Request) -> int:
        return self.later(request, self._find(request))

    async def _find(self, request: Request) -> None:
        (row,) = await self._broker.status([self._task])
        if row is None:
            answer(request, 404, {"error": f"there is no task {self._task}"})
        else:
            self.show(request, row)

    def show(self, request: Request, row: TaskRow) -> None:
        view = {"id": row.id, "state": State(row.state).word}
        if row.error is not None:
            view["error"] = row.error
        answer(request, 200, view)

    def show_image(self, request: Request, row: TaskRow) -> None:
        if row.state != State.COMPLETED:
            answer(request, 409, {"error": f"the task is {State(row.state).word}"})
        else:
            answer(request, 200, row.result or b"")


def make_application(config: Config, listen: str, reactor: Any) -> MultiService:
    """
    The whole application as one service: broker, worker, web.

    @param listen: a Twisted server endpoint's string.
    """
    application = MultiService()
    broker = TaskQueueService(config, reactor)
    broker.setServiceParent(application)
    # A child of the broker starts after the store is read, and stops before it is closed.
    Resizer(broker).setServiceParent(broker)
    root = Resource()
    root.putChild(b"resize", Resize(broker))
    root.putChild(b"tasks", Tasks(broker))
    web = strports.service(listen, Site(root), reactor=reactor)
    web.setName("web")
    web.setServiceParent(application)
    return application


def main() -> None:
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner, textFileLogObserver

    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    config = Config(store=StoreConfig(path="embedded-web-data"))
    application = make_application(config, f"tcp:{port}:interface=127.0.0.1", reactor)
    reactor.addSystemEventTrigger("before", "shutdown", application.stopService)
    application.startService()
    reactor.run()


if __name__ == "__main__":
    main()
