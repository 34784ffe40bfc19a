"""
The tasks of a web shop that does not exist: what they wait for and how they fail is
written into their arguments.  The scene of the browser tests, and of the pictures in
the documents, is made of them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from taskqueue import App, Context

app = App()

#: What a long task says of itself, each time it has got on by one part.
PART_S = 2.0


async def busy(seconds: float) -> None:
    """As much as is seen of a service that takes its time."""
    await asyncio.sleep(seconds)


class MailboxUnavailable(Exception):
    """The address does not exist."""


class CardDeclined(Exception):
    """The bank says no."""


@app.task("mail.send_receipt", queue="mail")
async def send_receipt(order: int, to: str, takes_s: float = 0.1) -> dict[str, Any]:
    await busy(takes_s)
    if to.endswith(".invalid"):
        raise MailboxUnavailable(f"550 5.1.1 <{to}>: no such user here")
    return {"message_id": f"<{order}@shop.example>", "to": to}


@app.task("mail.send_newsletter", queue="mail")
async def send_newsletter(to: str, issue: int, takes_s: float = 0.2) -> str:
    await busy(takes_s)
    return f"issue {issue} sent to {to}"


@app.task("webhooks.deliver", queue="webhooks")
async def deliver_webhook(event: str, url: str, fails: str = "") -> int:
    await busy(0.15)
    if fails == "timeout":
        raise TimeoutError(f"{url} did not answer within 10 s")
    if fails:
        raise ConnectionError(f"{url} answered {fails}")
    return 204


@app.task("billing.charge_card", queue="billing")
async def charge_card(order: int, cents: int, declined: bool = False) -> dict[str, Any]:
    await busy(0.3)
    if declined:
        raise CardDeclined(f"order {order}: the bank declined {cents / 100:.2f} EUR")
    return {"order": order, "charged": cents}


@app.task("media.resize_image", queue="media")
async def resize_image(picture: str, sizes: list[int], takes_s: float = 1.0) -> list[str]:
    await busy(takes_s)
    return [f"{picture}-{size}.webp" for size in sizes]


@app.task("media.transcode_video", queue="media", timeout=7200)
async def transcode_video(ctx: Context, video: str, parts: int, done: int = 0) -> str:
    for part in range(done, parts):
        ctx.check()
        percent = round(100 * part / parts)
        ctx.progress({"step": "encoding", "part": part, "of": parts, "percent": percent})
        await busy(PART_S)
    return f"{video}.webm"


@app.task("reports.extract", queue="reports")
async def extract(ctx: Context, day: str, takes_s: float = 600.0) -> int:
    ctx.progress({"rows": 184_000})
    await busy(takes_s)
    return 412_803


@app.task("reports.build", queue="reports")
async def build_report(day: str, orders: int = 10) -> dict[str, Any]:
    await busy(0.2)
    return {"day": day, "revenue_per_order": 1_240_000 // orders}


@app.task("reports.publish", queue="reports")
async def publish_report(day: str) -> str:
    await busy(0.1)
    return f"https://reports.shop.example/{day}"


@app.task("search.reindex_product", queue="search")
async def reindex_product(product: int, takes_s: float = 0.05) -> None:
    await busy(takes_s)


@app.task("imports.read_catalogue", queue="imports")
async def read_catalogue(supplier: str, page: int) -> int:
    await busy(0.5)
    return 200


app.periodic("2026-11-23", cron="30 5 * * *", tz="Europe/Paris", name="nightly-report")(
    build_report
)
app.periodic("2026-11-23", cron="0 8 * * 1", tz="Europe/Paris", name="weekly-report")(build_report)
app.periodic(1001, every_s=15, name="refresh-best-sellers")(reindex_product)
app.periodic("health", "https://status.shop.example/ping", every_s=60, name="heartbeat-webhook")(
    deliver_webhook
)
app.periodic("Nordwind", 1, every_s=3600, name="pull-catalogue")(read_catalogue)
