"""
The command that starts a worker.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from taskqueue.app.application import App
from taskqueue.cli import reloading
from taskqueue.cli.parameters import Number
from taskqueue.cli.running import OK, REFUSED, USAGE, complain, explain, log_to, run
from taskqueue.cli.setting import Setting
from taskqueue.client import Client
from taskqueue.client.link import DEFAULT_ADDRESS
from taskqueue.client.options import ClientOptions
from taskqueue.errors import BadRequest, TaskQueueError
from taskqueue.worker import WorkerService
from taskqueue.worker.bounds import LONGEST_STOP_S, MOST_MB, MOST_TASKS
from taskqueue.worker.executors.inloop import use_asyncio
from taskqueue.worker.signals import heed_signals
from taskqueue.worker.work import load_tasks, works_of
from taskqueue.worker.worker import STOP_TIMEOUT_S

#: How long running tasks may take when the worker is started anew, seconds.
RELOAD_STOP_S = 2.0


@dataclass(frozen=True)
class Order:
    """
    What the command line says about a worker.

    @ivar tasks: C{MODULE:NAME}.
    @ivar broker: its address; C{None}: the application's own.
    @ivar how: more for L{WorkerService}.
    @ivar client: more about how the client is made.
    """

    tasks: str
    broker: str | None
    timeout_s: float
    reload: bool
    how: dict[str, Any]
    client: ClientOptions = field(default_factory=ClientOptions)


class Reload:
    """
    Watches the code that a worker was started with.

    @ivar wanted: it has changed, and the worker was told to stop.
    """

    _log = Logger()

    def __init__(self, worker: WorkerService, reactor: Any, folder: Path) -> None:
        self.wanted = False
        self._worker = worker
        self._folder = folder
        self._watched = reloading.Watched()
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin to watch."""
        self._loop.start(reloading.LOOK_S)

    def _look(self) -> None:
        changed = self._watched.changed(reloading.imported_files(self._folder))
        if changed and not self.wanted:
            self.wanted = True
            name = changed[0].relative_to(self._folder)
            self._log.info("{name} has changed: the worker starts anew", name=str(name))
            self._worker.stop_timeout_s = min(self._worker.stop_timeout_s, RELOAD_STOP_S)
            self._worker.stopService()

    def stop(self) -> None:
        """Watch no more."""
        if self._loop.running:
            self._loop.stop()


async def work(reactor: Any, order: Order) -> int:
    """
    Run a worker until it is told to end.

    @return: the exit status; L{RELOAD} where it is to be started again.
    """
    try:
        worker = make_worker(reactor, order)
    except BadRequest as error:
        complain(str(error))
        return USAGE
    heed_signals(worker, reactor)
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    reload = Reload(worker, reactor, Path.cwd())
    if order.reload:
        reload.start()
    worker.startService()
    try:
        await worker.finished
    except TaskQueueError as error:
        complain(explain(error))
        return REFUSED
    finally:
        reload.stop()
    return RELOAD if reload.wanted else OK


#: No exit status: the command begins again.
RELOAD = -1


def make_worker(reactor: Any, order: Order) -> WorkerService:
    """
    The worker that is ordered, not started.

    @raises BadRequest: its tasks cannot be imported, or something else is wrong.
    """
    tasks = load_tasks(order.tasks)
    address = order.broker
    if isinstance(tasks, App):
        address = address or tasks.address
    settings = ClientOptions(**order.client)
    settings.update({"name": "taskqueue-worker", "timeout_s": order.timeout_s})
    client = Client(address or DEFAULT_ADDRESS, reactor, **settings)
    return WorkerService(order.tasks, client, reactor, **order.how)


def carry_out(order: Order) -> int:
    """
    Run a worker, and again whenever its code has changed, where that is ordered.

    @return: the exit status.
    """
    if order.reload:
        try:
            works_of(load_tasks(order.tasks))
        except BadRequest as error:
            complain(f"{error}\nwaiting for a change of the code ...")
            reloading.wait_for_change(Path.cwd())
            reloading.start_anew()
    if any(task.in_loop for task in works_of(load_tasks(order.tasks)).values()):
        use_asyncio()
    status = run(lambda reactor: work(reactor, order))
    if status == RELOAD:
        reloading.start_anew()
    return status


def _broker_of(context: click.Context, setting: Setting) -> str | None:
    """The broker's address, where one was said."""
    source = context.find_root().get_parameter_source("broker")
    return None if source is ParameterSource.DEFAULT else setting.broker


@click.command()
@click.argument("tasks", metavar="MODULE:APP")
@click.option("--queues", default="default", show_default=True, metavar="A,B,...")
@click.option("--concurrency", type=click.IntRange(1, MOST_TASKS), default=1, show_default=True)
@click.option(
    "--executor",
    type=click.Choice(["processes", "threads"]),
    default="processes",
    show_default=True,
    help="Where plain functions run.",
)
@click.option(
    "--prefetch",
    type=click.IntRange(0, MOST_TASKS),
    metavar="N",
    help="Claim so many tasks more, to have them at hand; as many as are over in 20 ms if absent.",
)
@click.option(
    "--recycle-after",
    type=click.IntRange(1),
    metavar="N",
    help="Replace a child process after N tasks.",
)
@click.option(
    "--recycle-mb",
    type=Number(0, MOST_MB, min_open=True),
    metavar="MB",
    help="Replace a child process that takes more memory.",
)
@click.option("--reload", is_flag=True, help="Start anew when the code changes, for development.")
@click.option("--id", "worker_id", metavar="NAME", help="Unique among workers; made up if absent.")
@click.option(
    "--stop-timeout",
    "stop_timeout_s",
    type=Number(0, LONGEST_STOP_S),
    default=STOP_TIMEOUT_S,
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
@click.pass_context
def worker(
    context: click.Context, /, tasks: str, queues: str, reload: bool, log_level: str, **how: Any
) -> None:
    """
    Run the tasks of APP in MODULE: a taskqueue.App, or a mapping of task type to
    function.  The broker is APP's own unless --broker or TASKQUEUE_BROKER names one.

    It ends when it is told to, by a signal or by the broker: running tasks may
    finish, the others are given back.  A second signal hurries.
    """
    setting: Setting = context.obj
    names = [name.strip() for name in queues.split(",") if name.strip()]
    how["queues"] = names
    broker = _broker_of(context, setting)
    if not names:
        raise click.UsageError("--queues names no queue: write --queues A,B,...")
    order = Order(tasks, broker, setting.timeout_s, reload, how, setting.how)
    if not reload:
        try:
            works_of(load_tasks(tasks))
        except BadRequest as error:
            raise click.UsageError(str(error)) from None
    log_to(sys.stderr, log_level)
    sys.exit(carry_out(order))
