"""
The C{taskqueue} command.

It ends with 0 where all is well, 1 where the broker refuses or a task failed, 2
where the command line is wrong, 3 where there is no connection to the broker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import click

from taskqueue import __version__
from taskqueue.cli import operators, tasks
from taskqueue.cli.output import Output
from taskqueue.cli.running import Command, log_to, run, with_client
from taskqueue.cli.working import load_handlers, work
from taskqueue.client import Client, Submission
from taskqueue.client.link import DEFAULT_ADDRESS
from taskqueue.errors import BadRequest


@dataclass(frozen=True)
class Setting:
    """What stands before the name of the command."""

    broker: str
    as_json: bool
    timeout_s: float

    def ask(self, command: Callable[[Client, Output], Any]) -> None:
        """Carry out C{command} with a client, and exit."""
        out = Output(self.as_json)
        log_to(None)

        def with_output(client: Client) -> Any:
            return command(client, out)

        ask: Command = with_output
        sys.exit(run(lambda reactor: with_client(reactor, self.broker, self.timeout_s, ask)))


_FORMAT = click.Choice(["table", "json"])


def _shows(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the setting; it may name its format after its own name too."""

    @click.option("--format", "form", type=_FORMAT, help="How to show it.  [default: table]")
    @click.pass_obj
    @wraps(command)
    def run_it(setting: Setting, /, form: str | None, **options: Any) -> None:
        if form is not None:
            setting = replace(setting, as_json=form == "json")
        command(setting, **options)

    return run_it


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--broker",
    envvar="TASKQUEUE_BROKER",
    default=DEFAULT_ADDRESS,
    show_default=True,
    metavar="ADDRESS",
    help="Where the broker is: tq://host:port, or a Twisted client endpoint. [TASKQUEUE_BROKER]",
)
@click.option("--format", "form", type=_FORMAT, default="table", show_default=True)
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
    context.obj = Setting(broker, form == "json", timeout_s)


@cli.command()
def version() -> None:
    """Show the version."""
    click.echo(f"taskqueue {__version__}")


def _submit_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(tasks.SUBMIT_OPTIONS):
        command = option(command)
    return command


@cli.command()
@click.argument("type")
@_submit_options
@click.option("--wait", "--watch", "wait", is_flag=True, help="Wait, and print the result.")
@click.option("--wait-timeout", "wait_s", type=click.FloatRange(0), metavar="SECONDS")
@_shows
def submit(
    setting: Setting, /, type: str, wait: bool, wait_s: float | None, **options: Any
) -> None:
    """Submit a task of TYPE and print its id."""
    task = Submission(
        type,
        tasks.read_payload(options.pop("payload")),
        id=options.pop("task_id"),
        headers=tasks.read_headers(options.pop("headers")) or None,
        depends_on=options.pop("depends_on") or None,
        **options,
    )
    setting.ask(lambda client, out: tasks.submit(client, out, task, wait, wait_s))


@cli.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--history", is_flag=True, help="With what happened to each.")
@_shows
def status(setting: Setting, /, ids: tuple[str, ...], history: bool) -> None:
    """Show where tasks are in their lives."""
    setting.ask(lambda client, out: tasks.status(client, out, ids, history))


@cli.command()
@_shows
def stats(setting: Setting, /) -> None:
    """Show the broker in numbers."""
    setting.ask(operators.stats)


@cli.command()
@_shows
def queues(setting: Setting, /) -> None:
    """Show every queue."""
    setting.ask(operators.queues)


@cli.command()
@_shows
def workers(setting: Setting, /) -> None:
    """Show every registered worker."""
    setting.ask(operators.workers)


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
