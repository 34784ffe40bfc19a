"""
The client for Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

from twisted.internet.defer import Deferred

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.all_calls import TIMEOUT_S, AllCalls
from taskqueue.client.deferreds import TwistedFramework
from taskqueue.client.face import ClientFace
from taskqueue.client.link import Link
from taskqueue.client.operators import OperatorCalls
from taskqueue.client.options import ClientOptions, ClientSettings
from taskqueue.client.periodics import PeriodicCalls
from taskqueue.client.tasks import TaskCalls
from taskqueue.client.values import ValueCalls
from taskqueue.client.work import WorkCalls
from taskqueue.errors import CannotConnect, ConnectionLost

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _fires(
    call: Callable[Concatenate[AllCalls, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Client, _P], Deferred[_T]]:
    """The same call, as one that returns a Deferred."""

    def method(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        return Deferred.fromCoroutine(call(self.calls, *args, **kwargs))

    return wraps(call)(method)


class Client(ClientFace):
    """
    A client of one broker, over one connection that is made anew when it is lost.

    Every call returns a Deferred of what the coroutine of the same name in
    L{TaskCalls}, L{WorkCalls} or L{OperatorCalls} returns, and fails as that
    raises; see L{Calls}.  Requests wait while there is no connection.  After a
    reconnect, tasks are watched again, and what was not answered is asked again
    where that cannot do anything twice.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        reactor: Any = None,
        *,
        patient: bool = True,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these
            with commas between, or a Twisted client endpoint's string.
        @param reactor: the global one unless given.
        @param patient: to go on trying where the first connection fails.
        @param how: C{name}, C{timeout_s}, C{codec}, C{max_in_flight}, C{tls}, C{api_key};
            see L{ClientSettings}.
        @raises BadRequest: the address is none, there is no such codec, or a file of TLS or
            of the key cannot be used.
        """
        reactor = _global_reactor() if reactor is None else reactor
        settings = ClientSettings(**how)
        super().__init__(TwistedFramework(reactor), address, settings, patient=patient)
        self._link = Link(self._session, address, reactor, settings.tls)

    # --- the connection -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and do so again whenever the connection is lost."""
        self._link.start()

    def ready(self) -> Deferred[None]:
        """
        Fires when the broker has been reached for the first time; fails with
        L{CannotConnect} where C{patient} is false, or what it refused with.
        """
        ready: Deferred[Any] = self._session.ready()
        return ready.addCallback(lambda _: None)

    def close(self) -> Deferred[None]:
        """Disconnect; what is unanswered fails with L{ConnectionLost}."""
        stopped = self._link.stop()
        self.calls.close(ConnectionLost("this client is closed"))
        return stopped

    def perform(self, name: str, *args: Any, **how: Any) -> Deferred[Any]:
        """Make the call with this name; handles of tasks do."""
        return Deferred.fromCoroutine(self.calls.perform(name, *args, **how))

    # --- tasks ----------------------------------------------------------------------------

    submit = _fires(TaskCalls.submit)
    submit_many = _fires(TaskCalls.submit_many)
    result = _fires(TaskCalls.result)
    outcome = _fires(TaskCalls.outcome)
    as_completed = _fires(TaskCalls.as_completed)
    watch_queue = _fires(TaskCalls.watch_queue)
    status = _fires(TaskCalls.status)
    list_tasks = _fires(TaskCalls.list_tasks)
    payload = _fires(TaskCalls.payload)
    cancel = _fires(TaskCalls.cancel)
    retry = _fires(TaskCalls.retry)
    run_now = _fires(TaskCalls.run_now)
    delete = _fires(TaskCalls.delete)

    # --- work -----------------------------------------------------------------------------

    claim = _fires(WorkCalls.claim)
    complete = _fires(WorkCalls.complete)
    fail = _fires(WorkCalls.fail)
    report = _fires(WorkCalls.report)
    extend = _fires(WorkCalls.extend)
    release = _fires(WorkCalls.release)
    bury = _fires(WorkCalls.bury)
    progress = _fires(WorkCalls.progress)
    register_worker = _fires(WorkCalls.register_worker)
    heartbeat = _fires(WorkCalls.heartbeat)
    deregister_worker = _fires(WorkCalls.deregister_worker)

    # --- operators ------------------------------------------------------------------------

    ping = _fires(OperatorCalls.ping)
    stats = _fires(OperatorCalls.stats)
    queue = _fires(OperatorCalls.queue)
    queues = _fires(OperatorCalls.queues)
    workers = _fires(OperatorCalls.workers)
    pause = _fires(OperatorCalls.pause)
    resume = _fires(OperatorCalls.resume)
    set_queue = _fires(OperatorCalls.set_queue)
    purge = _fires(OperatorCalls.purge)
    retry_queue = _fires(OperatorCalls.retry_queue)
    backup = _fires(OperatorCalls.backup)
    audit = _fires(OperatorCalls.audit)
    order_worker = _fires(OperatorCalls.order_worker)
    put_periodic = _fires(PeriodicCalls.put_periodic)
    periodics = _fires(PeriodicCalls.periodics)
    delete_periodic = _fires(PeriodicCalls.delete_periodic)
    pause_periodic = _fires(PeriodicCalls.pause_periodic)
    trigger_periodic = _fires(PeriodicCalls.trigger_periodic)

    # --- values ---------------------------------------------------------------------------

    put_value = _fires(ValueCalls.put_value)
    put_values = _fires(ValueCalls.put_values)
    get_value = _fires(ValueCalls.get_value)
    get_values = _fires(ValueCalls.get_values)
    take_value = _fires(ValueCalls.take_value)
    delete_values = _fires(ValueCalls.delete_values)
    increase_value = _fires(ValueCalls.increase_value)
    list_values = _fires(ValueCalls.list_values)
    list_keys = _fires(ValueCalls.list_keys)
    wait_values = _fires(ValueCalls.wait_values)
    value_namespaces = _fires(ValueCalls.value_namespaces)


def _global_reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def connect(
    address: str = DEFAULT_ADDRESS,
    *,
    reactor: Any = None,
    timeout_s: float = TIMEOUT_S,
    **how: Any,
) -> Deferred[Client]:
    """
    Connect to a broker.

    @param address: C{tq://host:port}, several of these with commas between, or a
        Twisted client endpoint's string such as C{unix:/run/taskqueue.sock}.
    @param timeout_s: how long connecting, and later an answer, may take.
    @param how: C{name}, C{codec}, C{max_in_flight}; see L{Client}.
    @return: fires with the client when the broker has said hello; fails with
        L{CannotConnect}, or what it refused the connection with
        (L{TooManyConnections}, L{UnsupportedVersion}).
    """
    reactor = _global_reactor() if reactor is None else reactor
    client = Client(address, reactor, timeout_s=timeout_s, patient=False, **how)
    return Deferred.fromCoroutine(_reached(client, reactor, timeout_s))


async def _reached(client: Client, reactor: Any, timeout_s: float) -> Client:
    def timed_out(_: object, __: float) -> None:
        raise CannotConnect(f"cannot connect to {client.address}: no answer within {timeout_s:g} s")

    client.start()
    try:
        await client.ready().addTimeout(timeout_s, reactor, timed_out)
    except BaseException:
        await client.close()
        raise
    return client
