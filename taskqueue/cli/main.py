"""
The C{taskqueue} command.

What it ends with stands in L{taskqueue.cli.exits}.
"""

from __future__ import annotations

import click

from taskqueue import __version__
from taskqueue.cli import (
    certificates,
    changing,
    dead_letters,
    keys,
    offline,
    operators,
    periodic,
    queues,
    tail,
    tasks,
    top,
    users,
    values,
    workers,
)
from taskqueue.cli.connecting import connects
from taskqueue.cli.setting import FORMAT, Setting
from taskqueue.cli.working import worker
from taskqueue.client.link import DEFAULT_ADDRESS
from taskqueue.client.options import ClientOptions


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--broker",
    envvar="TASKQUEUE_BROKER",
    default=DEFAULT_ADDRESS,
    show_default=True,
    metavar="ADDRESS",
    help="Where the broker is: tq://host:port, tqs://host:port with TLS, or a Twisted client "
    "endpoint. [TASKQUEUE_BROKER]",
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
@connects
@click.version_option(__version__, prog_name="taskqueue")
@click.pass_context
def cli(
    context: click.Context, broker: str, form: str, timeout_s: float, how: ClientOptions
) -> None:
    """Submit tasks to a taskqueue broker, look at them, and work on them."""
    context.obj = Setting(broker, form, timeout_s, how=how)


for _command in (
    tasks.submit,
    tasks.status,
    tasks.list_tasks,
    changing.cancel,
    changing.retry,
    changing.run_now,
    changing.purge,
    queues.queues,
    queues.queue_depth,
    workers.workers,
    dead_letters.dead_letters,
    periodic.periodic,
    values.values,
    operators.stats,
    operators.audit,
    tail.tail,
    top.top,
    operators.bench_ping,
    keys.keys,
    users.users,
    certificates.certificates,
    offline.config_check,
    offline.completion,
    offline.version,
    worker,
):
    cli.add_command(_command)


def main() -> None:
    """The entry point of the C{taskqueue} command."""
    cli(prog_name="taskqueue")
