"""The web application with a broker inside."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody

from examples.embedded_web import make_application, resize
from taskqueue.config import Config, StoreConfig
from tests.client.broker import flow

IMAGE = b"P5 2 2 255\n\x00\x40\x80\xff"
LARGER = b"P5 4 2 255\n\x00\x00\x40\x40\x80\x80\xff\xff"


class Resizing(SynchronousTestCase):
    def test_sizes(self) -> None:
        self.assertEqual(resize(IMAGE, 4, 2), LARGER)
        self.assertEqual(resize(LARGER, 2, 2), IMAGE)

    def test_what_is_no_image(self) -> None:
        for data in (b"", b"GIF89a", b"P5 2 2 255\n\x00", b"P5 0 0 255\n"):
            self.assertRaises(ValueError, resize, data, 2, 2)


class Serving(TestCase):
    timeout = 20

    def setUp(self) -> None:
        config = Config(store=StoreConfig(path=self.mktemp()))
        self.application = make_application(config, "tcp:0:interface=127.0.0.1", reactor)
        self.application.startService()
        self.addCleanup(self.application.stopService)
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.agent = Agent(reactor, pool=pool)
        web = self.application.getServiceNamed("web")
        self.base = f"http://127.0.0.1:{web._waitingForPort.result.getHost().port}"

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        producer = FileBodyProducer(BytesIO(body)) if body else None
        response = await self.agent.request(
            method.encode(), (self.base + path).encode(), bodyProducer=producer
        )
        return response.code, await readBody(response)

    async def until_ended(self, task: str) -> dict[str, Any]:
        while True:
            status, body = await self.ask("GET", f"/tasks/{task}")
            self.assertEqual(status, 200)
            view = json.loads(body)
            if view["state"] in ("completed", "dead_letter"):
                return view
            await deferLater(reactor, 0.01, lambda: None)

    @flow
    async def test_an_image(self) -> None:
        status, body = await self.ask("POST", "/resize?width=4&height=2", IMAGE)
        self.assertEqual(status, 202)
        task = json.loads(body)["id"]
        self.assertEqual(await self.until_ended(task), {"id": task, "state": "completed"})
        self.assertEqual(await self.ask("GET", f"/tasks/{task}/image"), (200, LARGER))

    @flow
    async def test_no_image(self) -> None:
        _, body = await self.ask("POST", "/resize?width=4&height=2", b"hello")
        view = await self.until_ended(task := json.loads(body)["id"])
        self.assertEqual(view["state"], "dead_letter")
        self.assertIn("no PGM image", view["error"])
        self.assertEqual((await self.ask("GET", f"/tasks/{task}/image"))[0], 409)

    @flow
    async def test_what_is_wrong(self) -> None:
        self.assertEqual((await self.ask("POST", "/resize?width=0&height=1", IMAGE))[0], 400)
        self.assertEqual((await self.ask("POST", "/resize", IMAGE))[0], 400)
        self.assertEqual((await self.ask("GET", "/tasks/none"))[0], 404)
        self.assertEqual((await self.ask("GET", "/tasks/none/other"))[0], 404)
