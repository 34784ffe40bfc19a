"""
The client for asyncio.  Nothing of Twisted's event loop is imported with it.

::

    async with aio.connect("tq://127.0.0.1:7780") as client:
        task = await client.submit("send_email", {"to": "a@example.org"}, queue="mail")
        print(await task.result(timeout=60))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.aio_link import Connection, Link
from taskqueue.client.all_calls import TIMEOUT_S, AllCalls
from taskqueue.client.face import ClientFace
from taskqueue.client.futures import AsyncioFramework
from taskqueue.client.messages import Outcome, Search
from taskqueue.client.operators import OperatorCalls
from taskqueue.client.options import ClientOptions, ClientSettings
from taskqueue.client.periodics import PeriodicCalls
from taskqueue.client.tasks import TaskCalls
from taskqueue.client.values import ValueCalls
from taskqueue.client.work import WorkCalls
from taskqueue.errors import CannotConnect, ConnectionLost, TaskQueueError

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _awaits(
    call: Callable[Concatenate[AllCalls, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _T]]:
    """The same call, of a client."""

    def method(
        self: AsyncClient, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Coroutine[Any, Any, _T]:
        return call(self.calls, *args, **kwargs)

    return wraps(call)(method)


class AsyncClient(ClientFace):
    """
    A client of one broker, over one connection that is made anew when it is lost.

    It belongs to the event loop that runs when it is made.  Every call is a
    coroutine, of what the one of the same name in L{TaskCalls}, L{WorkCalls} or
    L{OperatorCalls} returns; see L{Calls}.  Requests wait while there is no
    connection.  After a reconnect, tasks are watched again, and what was not
    answered is asked again where that cannot do anything twice.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        patient: bool = True,
        face: Any = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these
            with commas between, or C{unix:/path}.
        @param patient: to go on trying where the first connection fails.
        @param face: what handles of tasks call, instead of this client.
        @param how: C{name}, C{timeout_s}, C{codec}, C{max_in_flight}, C{tls}, C{api_key};
            see L{ClientSettings}.
        @raises BadRequest: the address is none, there is no such codec, or a file of TLS or
            of the key cannot be used.
        """
        loop = asyncio.get_running_loop()
        settings = ClientSettings(**how)
        super().__init__(AsyncioFramework(loop), address, settings, patient=patient, face=face)
        self._link = Link(self._session, address, loop, settings.tls)

    # --- the connection -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and do so again whenever the connection is lost."""
        self._link.start()

    async def ready(self) -> None:
        """
        Wait until the broker has been reached for the first time.

        @raises CannotConnect: C{patient} is false, and it was not.
        """
        await self._session.ready()

    @property
    def connection(self) -> Connection | None:
        """The newest connection."""
        return self._link.connection

    async def close(self) -> None:
        """Disconnect; what is unanswered fails with L{ConnectionLost}."""
        self.calls.close(ConnectionLost("this client is closed"))
        await self._link.stop()

    async def __aenter__(self) -> AsyncClient:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def perform(self, name: str, *args: Any, **how: Any) -> Coroutine[Any, Any, Any]:
        """The coroutine of the call with this name; handles of tasks make theirs so."""
        coroutine: Coroutine[Any, Any, Any] = self.calls.perform(name, *args, **how)
        return coroutine

    # --- tasks ----------------------------------------------------------------------------

    submit = _awaits(TaskCalls.submit)
    submit_many = _awaits(TaskCalls.submit_many)
    result = _awaits(TaskCalls.result)
    outcome = _awaits(TaskCalls.outcome)
    watch_queue = _awaits(TaskCalls.watch_queue)
    status = _awaits(TaskCalls.status)
    list_tasks = _awaits(TaskCalls.list_tasks)
    payload = _awaits(TaskCalls.payload)
    cancel = _awaits(TaskCalls.cancel)
    retry = _awaits(TaskCalls.retry)
    run_now = _awaits(TaskCalls.run_now)
    delete = _awaits(TaskCalls.delete)

    async def as_completed(
        self, tasks: Iterable[str | TaskQueueError]
    ) -> AsyncIterator[Outcome | TaskQueueError]:
        """
        The outcome of each task as it ends, in the order in which they do; for one
        that the broker does not know, L{UnknownTask} in its place.  What
        L{submit_many} answered can be given: refusals come first.
        """
        ended: asyncio.Queue[Outcome | TaskQueueError | None] = asyncio.Queue()
        wanted = set(tasks)
        self.calls.must_be_open()
        watching = asyncio.ensure_future(self.calls.as_completed(wanted, ended.put_nowait))
        watching.add_done_callback(lambda _: ended.put_nowait(None))
        try:
            for _ in range(len(wanted)):
                told = await ended.get()
                if told is None:
                    await watching  # it could not begin, and raises why
                else:
                    yield told
        finally:
            watching.cancel()

    async def search(self, search: Search | None = None) -> AsyncIterator[dict[str, Any]]:
        """All tasks that match C{search}, read page by page."""
        page = await self.calls.list_tasks(search)
        while True:
            for task in page.tasks:
                yield task
            if page.next is None:
                return
            page = await self.calls.list_tasks((search or Search()).from_place(page.next))

    # --- work -----------------------------------------------------------------------------

    claim = _awaits(WorkCalls.claim)
    complete = _awaits(WorkCalls.complete)
    fail = _awaits(WorkCalls.fail)
    report = _awaits(WorkCalls.report)
    extend = _awaits(WorkCalls.extend)
    release = _awaits(WorkCalls.release)
    bury = _awaits(WorkCalls.bury)
    progress = _awaits(WorkCalls.progress)
    register_worker = _awaits(WorkCalls.register_worker)
    heartbeat = _awaits(WorkCalls.heartbeat)
    deregister_worker = _awaits(WorkCalls.deregister_worker)

    # --- operators ------------------------------------------------------------------------

    ping = _awaits(OperatorCalls.ping)
    stats = _awaits(OperatorCalls.stats)
    queue = _awaits(OperatorCalls.queue)
    queues = _awaits(OperatorCalls.queues)
    workers = _awaits(OperatorCalls.workers)
    pause = _awaits(OperatorCalls.pause)
    resume = _awaits(OperatorCalls.resume)
    set_queue = _awaits(OperatorCalls.set_queue)
    purge = _awaits(OperatorCalls.purge)
    retry_queue = _awaits(OperatorCalls.retry_queue)
    backup = _awaits(OperatorCalls.backup)
    audit = _awaits(OperatorCalls.audit)
    order_worker = _awaits(OperatorCalls.order_worker)
    put_periodic = _awaits(PeriodicCalls.put_periodic)
    periodics = _awaits(PeriodicCalls.periodics)
    delete_periodic = _awaits(PeriodicCalls.delete_periodic)
    pause_periodic = _awaits(PeriodicCalls.pause_periodic)
    trigger_periodic = _awaits(PeriodicCalls.trigger_periodic)

    # --- values ---------------------------------------------------------------------------

    put_value = _awaits(ValueCalls.put_value)
    put_values = _awaits(ValueCalls.put_values)
    get_value = _awaits(ValueCalls.get_value)
    get_values = _awaits(ValueCalls.get_values)
    take_value = _awaits(ValueCalls.take_value)
    delete_values = _awaits(ValueCalls.delete_values)
    increase_value = _awaits(ValueCalls.increase_value)
    list_values = _awaits(ValueCalls.list_values)
    list_keys = _awaits(ValueCalls.list_keys)
    wait_values = _awaits(ValueCalls.wait_values)
    value_namespaces = _awaits(ValueCalls.value_namespaces)


async def reached(client: AsyncClient, limit_s: float) -> None:
    """
    Wait until a client that is not C{patient} has reached the broker.

    @raises CannotConnect: it has not within C{limit_s} seconds.
    """
    try:
        async with asyncio.timeout(limit_s):
            await client.ready()
    except TimeoutError:
        raise CannotConnect(
            f"cannot connect to {client.address}: no answer within {limit_s:g} s"
        ) from None


class _Connecting:
    """What L{connect} returns: to be awaited, or to be entered."""

    def __init__(self, address: str, how: dict[str, Any]) -> None:
        self._address = address
        self._how = how
        self._client: AsyncClient | None = None

    def __await__(self) -> Generator[Any, Any, AsyncClient]:
        return self._reach().__await__()

    async def _reach(self) -> AsyncClient:
        client = AsyncClient(self._address, patient=False, **self._how)
        client.start()
        try:
            await reached(client, self._how.get("timeout_s", TIMEOUT_S))
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> AsyncClient:
        self._client = await self._reach()
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()


def connect(address: str = DEFAULT_ADDRESS, **how: Any) -> _Connecting:
    """
    Connect to a broker.

    @param address: C{tq://host:port}, several of these with commas between, or
        C{unix:/path}.
    @param how: C{name}, C{timeout_s}, C{codec}, C{max_in_flight}; see L{AsyncClient}.
    @return: awaited, the client when the broker has said hello; entered with
        C{async with}, the same, which is closed at the end.  Either fails with
        L{CannotConnect}, or what the broker refused the connection with.
    """
    return _Connecting(address, how)
