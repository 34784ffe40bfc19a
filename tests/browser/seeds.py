"""
What the scene's tasks are: the order of the day, and what happens all the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ujson

from taskqueue.ids import new_task_id

Task = Mapping[str, Any]

_FIRST_ORDER = 48_200
_HOUR_S = 3600.0

#: How urgent the types are, that are not as most; and what failing means for them.
_HOW: Mapping[str, Mapping[str, Any]] = {
    "billing.charge_card": {"priority": 230, "max_retries": 0},
    "mail.send_receipt": {"priority": 210, "max_retries": 4},
    "mail.send_newsletter": {"priority": 50},
    "media.resize_image": {"priority": 90},
    "media.transcode_video": {"priority": 180, "lease_s": 60},
    "search.reindex_product": {"priority": 100},
    "webhooks.deliver": {"max_retries": 5, "retry_delay_s": 900},
}

_NAMES = ("ada", "blaise", "carl", "dorothy", "emmy", "fibonacci", "grace", "hedy", "isaac")


def task(kind: str, queue: str, how: Mapping[str, Any] | None = None, **arguments: Any) -> Task:
    """A task that is called with C{arguments}; C{how} says more about it."""
    return {
        "type": kind,
        "queue": queue,
        "payload": ujson.dumps(arguments, escape_forward_slashes=False).encode(),
        **_HOW.get(kind, {}),
        **(how or {}),
    }


def address_of(number: int) -> str:
    return f"{_NAMES[number % len(_NAMES)]}{number}@example.org"


def dead_letters() -> list[Task]:
    """What fails for good, in groups of very different sizes."""
    at_once = {"max_retries": 0}
    found: list[Task] = []
    for number in range(31):
        url = f"https://hooks.partner.example/orders/{_FIRST_ORDER + number}"
        event = {"event": "order.paid", "url": url, "fails": "timeout"}
        found.append(task("webhooks.deliver", "webhooks", at_once, **event))
    for number in range(22):
        order = {"order": _FIRST_ORDER + number, "to": f"customer-{number}@nowhere.invalid"}
        found.append(task("mail.send_receipt", "mail", at_once, **order))
    for number in range(14):
        order = {"order": _FIRST_ORDER + 7 * number, "cents": 1999 + 350 * number, "declined": True}
        found.append(task("billing.charge_card", "billing", **order))
    found.append(task("reports.build", "reports", at_once, day="2026-11-20", orders=0))
    return found


def chains() -> list[Task]:
    """Reports: one that is extracted now, parts that wait for it, and one that waits for them."""
    extract, sales, stock, returns, publish = (new_task_id() for _ in range(5))
    found = [task("reports.extract", "reports", {"id": extract}, day="2026-11-24")]
    for part in (sales, stock, returns):
        how = {"id": part, "depends_on": [extract]}
        found.append(task("reports.build", "reports", how, day="2026-11-24", orders=120))
    how = {"id": publish, "depends_on": [sales, stock, returns]}
    found.append(task("reports.publish", "reports", how, day="2026-11-24"))
    return found


def backlog() -> Iterator[Task]:
    """What waits: for a worker, for others, its hour, its retry, and its queue to be resumed."""
    yield from chains()
    for number in range(3):
        video = {"video": f"clip-{17 + number}.mov", "parts": 900, "done": 300 * number}
        yield task("media.transcode_video", "media", **video)
    for number in range(420):
        picture = {"picture": f"p-{number:04}.jpg", "sizes": [160, 640, 1600], "takes_s": 2.0}
        yield task("media.resize_image", "media", **picture)
    for page in range(36):
        yield task("imports.read_catalogue", "imports", supplier="Nordwind", page=page)
    for number in range(24):
        how = {"run_in_s": _HOUR_S * (1 + number % 12)}
        yield task("mail.send_newsletter", "mail", how, to=address_of(number), issue=47)
    for number in range(9):
        url = f"https://shop.example/hooks/{number}"
        yield task("webhooks.deliver", "webhooks", None, event="stock.low", url=url, fails="503")


def seeds() -> list[Task]:
    """All that is there when the day begins."""
    return [*dead_letters(), *backlog()]


def orders_of(pulse: int) -> list[Task]:
    """What happens in half a second: two orders, and what they entail."""
    found: list[Task] = []
    for order in range(_FIRST_ORDER + 2 * pulse, _FIRST_ORDER + 2 * pulse + 2):
        found.append(task("billing.charge_card", "billing", order=order, cents=1999))
        found.append(task("mail.send_receipt", "mail", order=order, to=address_of(order)))
        found.append(task("search.reindex_product", "search", product=order % 700))
    picture = {"picture": f"new-{pulse:05}.jpg", "sizes": [160, 640], "takes_s": 1.0}
    found.append(task("media.resize_image", "media", {"priority": 140}, **picture))
    return found
