"""
The C{taskqueue} command.

What it ends with stands in L{taskqueue.cli.exits}.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from taskqueue import __version__
from taskqueue.cli import changing, dead_letters, offline, operators, queues, tail, tasks, workers
from taskqueue.cli.running import log_to, run
from taskqueue.cli.setting import FORMAT, Setting
from taskqueue.cli.working import load_handlers, work
from taskqueue.client.link import DEFAULT_ADDRESS
from taskqueue.errors import BadRequest


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--broker",
    envvar="TASKQUEUE_BROKER",
    default=DEFAULT_ADDRESS,
    show_default=True,
    metavar="ADDRESS",
    help="Where the broker is: tq://host:port, or a Twisted client endpoint. [TASKQUEUE_BROKER]",
)
@click.option("--format", "form", type=FORMAT, default="table", show_default=True)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long connecting, or an answer, may take.",
)
@click.version_option(__version__, prog_name="taskqueue")
@click.pass_context
def cli(context: click.Context, broker: str, form: str, timeout_s: float) -> None:
    """Submit tasks to a taskqueue broker, look at them, and work on them."""
    context.obj = Setting(broker, form, timeout_s)


for _command in (
    tasks.submit,
    tasks.status,
    tasks.list_tasks,
    changing.cancel,
    changing.retry,
    changing.purge,
    queues.queues,
    queues.queue_depth,
    workers.workers,
    dead_letters.dead_letters,
    operators.stats,
    tail.tail,
    operators.bench_ping,
    offline.config_check,
    offline.completion,
    offline.version,
):
    cli.add_command(_command)


@cli.command()
@click.argument("handlers", metavar="MODULE:HANDLERS")
@click.option("--queues", default="default", show_default=True, metavar="A,B,...")
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--id", "worker_id", metavar="NAME", help="Unique among workers; made up if absent.")
@click.option(
    "--stop-timeout",
    "stop_timeout_s",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long running tasks may take when it stops.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
)
@click.pass_obj
def worker(setting: Setting, /, handlers: str, queues: str, log_level: str, **options: Any) -> None:
    """
    Run tasks with HANDLERS, a mapping of task type to function in MODULE.

    It ends when it is told to, by a signal or by the broker: running tasks may
    finish, the others are given back.
    """
    names = [name.strip() for name in queues.split(",") if name.strip()]
    try:
        found = load_handlers(handlers)
    except BadRequest as error:
        raise click.UsageError(str(error)) from None
    log_to(sys.stderr, log_level)
    sys.exit(
        run(
            lambda reactor: work(
                reactor, setting.broker, setting.timeout_s, found, queues=names, **options
            )
        )
    )


def main() -> None:
    """The entry point of the C{taskqueue} command."""
    cli(prog_name="taskqueue")
