"""
C{manage.py taskqueue_worker}.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from taskqueue.contrib.django.framework import DEFAULT_ALIAS
from taskqueue.contrib.django.options import QUEUE_NAME, BadOptions
from taskqueue.contrib.django.running import BACKEND_VARIABLE, backend_of
from taskqueue.contrib.django.worker import Order, log_to_django, serve
from taskqueue.errors import BadRequest
from taskqueue.worker.worker import STOP_TIMEOUT_S


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = kind(-1)
        if not low <= value <= high:
            raise ArgumentTypeError(f"expected a number, {low:g} to {high:g}, not {text!r}")
        return value

    return number


class Command(BaseCommand):
    """Runs the tasks of a backend."""

    help = (
        "Run the tasks of a backend. It ends when it is told to, by a signal or by the broker:"
        " running tasks may finish, the others are given back. A second signal hurries."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What the command line may say."""
        add = parser.add_argument
        add("--backend", default=DEFAULT_ALIAS, help="Its name in TASKS; default if absent.")
        add(
            "--queues",
            metavar="A,B,...",
            help="In order of preference; those of the backend's QUEUES if absent.",
        )
        add(
            *("--processes", "--concurrency"),
            type=_number(int, 1, 10_000),
            default=1,
            metavar="N",
            help="How many tasks to run at a time, each in a process of its own; 1 if absent.",
        )
        add("--threads", action="store_true", help="Run them in threads of one process instead.")
        add(
            "--prefetch",
            type=_number(int, 0, 10_000),
            metavar="N",
            help="Claim so many tasks more; as many as are over in 20 ms if absent.",
        )
        add(
            "--recycle-after",
            type=_number(int, 1, 1_000_000_000),
            metavar="N",
            help="Replace a process after N tasks.",
        )
        add(
            "--recycle-mb",
            type=_number(float, 1, 1_000_000),
            metavar="MB",
            help="Replace a process that takes more memory.",
        )
        add(
            "--stop-timeout",
            type=_number(float, 0, 86_400),
            default=STOP_TIMEOUT_S,
            metavar="SECONDS",
            help=f"How long running tasks may take when it stops; {STOP_TIMEOUT_S:g} if absent.",
        )
        add("--id", metavar="NAME", help="Unique among workers; made up if absent.")
        add("--reload", action="store_true", help="Start anew when the code changes.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the worker until it ends."""
        log_to_django(options["verbosity"])
        serve(order_of(options))


def order_of(options: dict[str, Any]) -> Order:
    """
    The worker that the command line orders.

    @raises CommandError: there can be none.
    """
    try:
        backend = backend_of({**os.environ, BACKEND_VARIABLE: options["backend"]})
        backend.settings  # noqa: B018  # it is read
    except (BadRequest, BadOptions) as error:
        raise CommandError(str(error)) from None
    if options["threads"] and (options["recycle_after"] or options["recycle_mb"]):
        raise CommandError("threads are not recycled: leave out --recycle-after and --recycle-mb")
    how = {
        "concurrency": options["processes"],
        "executor": "threads" if options["threads"] else "processes",
        "prefetch": options["prefetch"],
        "recycle_after": options["recycle_after"],
        "recycle_mb": options["recycle_mb"],
        "stop_timeout_s": options["stop_timeout"],
    }
    queues = _queues(options["queues"], backend.queue_names)
    return Order(backend, queues, options["id"], options["reload"], how)


def _queues(given: str | None, known: list[str]) -> list[str]:
    names = known if given is None else [name.strip() for name in given.split(",")]
    if not names:
        raise CommandError("the backend's QUEUES names none, so say which: --queues A,B,...")
    for name in names:
        if not QUEUE_NAME.fullmatch(name):
            raise CommandError(
                f"--queues has {name!r}: a name is 1 to 128 characters out of letters, digits"
                " and _ - . : /"
            )
        if known and name not in known:
            raise CommandError(
                f"--queues has {name!r}, which is not in the backend's QUEUES:"
                f" {', '.join(map(repr, known))}"
            )
    return names
