"""
The client for programs that wait: scripts, Django, Flask.

It runs an event loop of asyncio in a thread of its own, and installs no reactor.

::

    with connect("tq://127.0.0.1:7780") as client:
        task = client.submit("send_email", {"to": "a@example.org"}, queue="mail", run_in=60)
        print(task.id, task.result(timeout=120))
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from functools import wraps
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.aio import AsyncClient, reached
from taskqueue.client.aio_link import check_settings
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.codecs import Codec, codec_of
from taskqueue.client.green_loop import loop_for
from taskqueue.client.handles import TaskHandle
from taskqueue.client.lifetimes import leave_alone, watch_over
from taskqueue.client.limits import Limits
from taskqueue.client.loop_thread import ListenerThread, LoopThread
from taskqueue.client.messages import Lost, Outcome, Search
from taskqueue.client.operators import OperatorCalls
from taskqueue.client.options import ClientOptions, ClientSettings
from taskqueue.client.periodics import PeriodicCalls
from taskqueue.client.submitting import RETRY_FOR_S, WINDOW, Answer, OnOutcome, Progress, Tasks
from taskqueue.client.tasks import TaskCalls
from taskqueue.client.values import ValueCalls
from taskqueue.client.work import WorkCalls
from taskqueue.errors import AnswerTimedOut, BadRequest, ConnectionLost, TaskQueueError

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _waits(
    call: Callable[Concatenate[AllCalls, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[BlockingClient, _P], _T]:
    """The same call, as one that returns when it is answered."""

    def method(self: BlockingClient, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        thread, client = self._running()
        return thread.call(call(client.calls, *args, **kwargs))

    return wraps(call)(method)


class BlockingClient:
    """
    A client of one broker whose calls return when they are answered.

    Any thread may use it.  It connects at its first call, and again whenever the
    connection is lost.  A process that was forked may go on using it: there it
    connects anew, and listeners are not carried over.  What is still open when
    the interpreter ends is closed then.

    The calls are those of L{TaskCalls}, L{WorkCalls} and L{OperatorCalls}; see
    L{Calls}.  Listeners are called in a thread that is there for them, and may use
    the client.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these
            with commas between, or C{unix:/path}.
        @param how: C{name}, C{timeout_s}, C{codec}, C{max_in_flight}, C{tls}, C{api_key};
            see L{ClientSettings}.
        @raises BadRequest: the address is none, there is no such codec, or a file of TLS or
            of the key cannot be used.
        """
        self._settings = ClientSettings(**how)
        check_settings(address, self._settings)
        self.address = address
        self._how: ClientOptions = how
        self._codec = codec_of(self._settings.codec)
        self._lock = threading.RLock()  # a signal's handler may call, too
        self._inner: tuple[LoopThread, AsyncClient] | None = None
        self._told: ListenerThread | None = None
        self._closed = False
        watch_over(self)

    # --- the connection -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect; the first call does so otherwise."""
        self._running()

    def reach(self) -> None:
        """
        Connect.

        @raises CannotConnect: there is no broker.
        @raises TooManyConnections: it has no room; or another refusal.
        """
        thread, client = self._running()
        thread.run(reached(client, self._settings.timeout_s))

    def _running(self) -> tuple[LoopThread, AsyncClient]:
        with self._lock:
            if self._closed:
                raise ConnectionLost("this client is closed")
            if self._inner is None:
                thread = loop_for(self._settings.name)
                try:
                    self._inner = thread, thread.run(self._begin())
                except BaseException:
                    thread.stop()
                    raise
            if self._inner[0].inside:
                raise BadRequest("a client that waits cannot be used within its own event loop")
            return self._inner

    async def _begin(self) -> AsyncClient:
        client = AsyncClient(self.address, patient=False, face=self, **self._how)
        client.start()
        return client

    def run(self, call: Callable[[AllCalls], Coroutine[Any, Any, _T]]) -> _T:
        """
        Make a call and wait for what it gives.

        @param call: given all that can be asked.
        """
        thread, client = self._running()
        return thread.run(call(client.calls))

    def begin(self, call: Callable[[AllCalls], Coroutine[Any, Any, _T]]) -> Future[_T]:
        """Make a call without waiting: for event loops, which L{asyncio.wrap_future} it."""
        thread, client = self._running()
        return thread.begin(call(client.calls))

    def perform(self, name: str, *args: Any, **how: Any) -> Any:
        """What the call with this name gives; handles of tasks make theirs so."""
        thread, client = self._running()
        return thread.call(client.calls.perform(name, *args, **how))

    @property
    def connected(self) -> bool:
        """Whether there is a connection on which the broker has said hello."""
        inner = self._inner
        return inner is not None and inner[1].connected

    @property
    def broker(self) -> dict[str, Any]:
        """The broker's newest answer to HELLO; empty before the first."""
        return {} if self._inner is None else self._inner[1].broker

    @property
    def limits(self) -> Limits:
        """What the broker accepts; the defaults before it has said so."""
        return Limits() if self._inner is None else self._inner[1].limits

    def close(self) -> None:
        """Disconnect; what is unanswered fails with L{ConnectionLost}."""
        with self._lock:
            self._closed = True
            inner, self._inner = self._inner, None
            told, self._told = self._told, None
        if inner is not None:
            thread, client = inner
            try:
                thread.run(client.close())
            finally:
                thread.stop()
        if told is not None:
            told.stop()

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def left_behind(self) -> None:
        """This process was forked: its threads, and what they held, are its parent's."""
        self._lock = threading.RLock()
        inner, self._inner, self._told = self._inner, None, None
        if inner is not None:
            leave_alone(inner)
            inner[0].left_behind()
            if inner[1].connection is not None:
                inner[1].connection.disown()

    # --- listening --------------------------------------------------------------------------

    def _listener(self, listener: Callable[[_T], None]) -> Callable[[_T], None]:
        """One for the event loop, which has C{listener} called elsewhere."""
        with self._lock:
            if self._told is None:
                self._told = ListenerThread(f"{self._settings.name} listeners")
            told = self._told
        return lambda value: told.tell(listener, value)

    def on_lost(self, event: str, listener: Callable[[Lost], None]) -> None:
        """
        Tell C{listener} of deliveries to give up.

        @param event: C{"cancel"} or C{"lease_lost"}.
        """
        _, client = self._running()
        client.on_lost(event, self._listener(listener))

    def watch_queue(self, queue: str, listener: Callable[[Outcome], None]) -> None:
        """Call C{listener} with the outcome of every task of C{queue} that ends from now on."""
        tell = self._listener(listener)
        self.run(lambda calls: calls.watch_queue(queue, tell))

    # --- tasks ----------------------------------------------------------------------------

    def handle(self, task: str, codec: str | Codec | None = None) -> TaskHandle:
        """A handle for a task's id; C{codec} reads its result, instead of the client's."""
        return TaskHandle(task, self, self._codec if codec is None else codec_of(codec), True)

    submit = _waits(TaskCalls.submit)
    result = _waits(TaskCalls.result)
    outcome = _waits(TaskCalls.outcome)
    status = _waits(TaskCalls.status)
    list_tasks = _waits(TaskCalls.list_tasks)
    payload = _waits(TaskCalls.payload)
    cancel = _waits(TaskCalls.cancel)
    retry = _waits(TaskCalls.retry)
    run_now = _waits(TaskCalls.run_now)
    delete = _waits(TaskCalls.delete)

    def submit_many(
        self,
        tasks: Tasks,
        on_outcome: OnOutcome | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        retry_for_s: float | None = RETRY_FOR_S,
    ) -> list[Answer]:
        """
        Submit many tasks, in as few requests as the broker allows.

        @param tasks: any length; read in this thread, as fast as the broker takes them.
        @param on_outcome: told how each accepted task ended.
        @param on_progress: told, in this thread, after each request that was answered.
        @param retry_for_s: how long to go on with a task that is refused because its
            queue is full or the broker is not available.
        @return: for each its id, or why it was not accepted.
        @raises BadRequest: one of them cannot be sent; those before it were.
        """
        answers: list[Answer] = []
        refused = 0
        for more in self.submit_in_chunks(tasks, on_outcome, retry_for_s=retry_for_s):
            answers += more
            refused += sum(isinstance(answer, TaskQueueError) for answer in more)
            if on_progress is not None:
                on_progress(Progress(len(answers) - refused, refused))
        return answers

    def submit_in_chunks(
        self,
        tasks: Tasks,
        on_outcome: OnOutcome | None = None,
        *,
        retry_for_s: float | None = RETRY_FOR_S,
    ) -> Iterator[list[Answer]]:
        """
        Submit as L{submit_many} does, more tasks than one can remember.

        @return: the answers, request by request, in the order of the tasks.
        """
        tell = None if on_outcome is None else self._listener(on_outcome)
        self.run(lambda calls: calls.reached())
        thread, client = self._running()
        patience = client.calls.patience(retry_for_s)
        under_way: deque[Future[list[Answer]]] = deque()
        for chunk in client.calls.chunks(tasks):
            if len(under_way) == WINDOW:
                yield thread.wait(under_way.popleft())
            under_way.append(thread.begin(client.calls.submit_chunk(chunk, tell, patience)))
        while under_way:
            yield thread.wait(under_way.popleft())

    def as_completed(
        self, tasks: Iterable[str | TaskQueueError], timeout_s: float | None = None
    ) -> Iterator[Outcome | TaskQueueError]:
        """
        The outcome of each task as it ends, in the order in which they do; for one
        that the broker does not know, L{UnknownTask} in its place.  What
        L{submit_many} answered can be given: refusals come first.

        @param timeout_s: how long all of them may take; C{None}: for ever.
        @raises AnswerTimedOut: some have not ended by then.
        """
        ended: SimpleQueue[Outcome | TaskQueueError | None] = SimpleQueue()
        wanted = set(tasks)
        until = None if timeout_s is None else monotonic() + timeout_s
        thread, client = self._running()
        client.calls.must_be_open()
        watching = thread.begin(client.calls.as_completed(wanted, ended.put))
        watching.add_done_callback(lambda _: ended.put(None))
        try:
            for left in range(len(wanted), 0, -1):
                try:
                    told = ended.get(timeout=None if until is None else max(0, until - monotonic()))
                except Empty:
                    raise AnswerTimedOut(
                        f"{left} of {len(wanted)} tasks did not end in {timeout_s:g} s"
                    ) from None
                if told is None:
                    thread.wait(watching)  # it could not begin, and raises why
                else:
                    yield told
        finally:
            watching.cancel()

    def search(self, search: Search | None = None) -> Iterator[dict[str, Any]]:
        """All tasks that match C{search}, read page by page."""
        page = self.list_tasks(search)
        while True:
            yield from page.tasks
            if page.next is None:
                return
            page = self.list_tasks((search or Search()).from_place(page.next))

    # --- work -----------------------------------------------------------------------------

    claim = _waits(WorkCalls.claim)
    complete = _waits(WorkCalls.complete)
    fail = _waits(WorkCalls.fail)
    report = _waits(WorkCalls.report)
    extend = _waits(WorkCalls.extend)
    release = _waits(WorkCalls.release)
    bury = _waits(WorkCalls.bury)
    progress = _waits(WorkCalls.progress)
    register_worker = _waits(WorkCalls.register_worker)
    heartbeat = _waits(WorkCalls.heartbeat)
    deregister_worker = _waits(WorkCalls.deregister_worker)

    # --- operators ------------------------------------------------------------------------

    ping = _waits(OperatorCalls.ping)
    stats = _waits(OperatorCalls.stats)
    queue = _waits(OperatorCalls.queue)
    queues = _waits(OperatorCalls.queues)
    workers = _waits(OperatorCalls.workers)
    pause = _waits(OperatorCalls.pause)
    resume = _waits(OperatorCalls.resume)
    set_queue = _waits(OperatorCalls.set_queue)
    purge = _waits(OperatorCalls.purge)
    retry_queue = _waits(OperatorCalls.retry_queue)
    backup = _waits(OperatorCalls.backup)
    audit = _waits(OperatorCalls.audit)
    order_worker = _waits(OperatorCalls.order_worker)
    put_periodic = _waits(PeriodicCalls.put_periodic)
    periodics = _waits(PeriodicCalls.periodics)
    delete_periodic = _waits(PeriodicCalls.delete_periodic)
    pause_periodic = _waits(PeriodicCalls.pause_periodic)
    trigger_periodic = _waits(PeriodicCalls.trigger_periodic)
    put_value = _waits(ValueCalls.put_value)
    put_values = _waits(ValueCalls.put_values)
    get_value = _waits(ValueCalls.get_value)
    get_values = _waits(ValueCalls.get_values)
    take_value = _waits(ValueCalls.take_value)
    delete_values = _waits(ValueCalls.delete_values)
    increase_value = _waits(ValueCalls.increase_value)
    list_values = _waits(ValueCalls.list_values)
    list_keys = _waits(ValueCalls.list_keys)
    wait_values = _waits(ValueCalls.wait_values)
    value_namespaces = _waits(ValueCalls.value_namespaces)


def connect(address: str = DEFAULT_ADDRESS, **how: Any) -> BlockingClient:
    """
    Connect to a broker.

    @param address: C{tq://host:port}, several of these with commas between, or C{unix:/path}.
    @param how: C{name}, C{timeout_s}, C{codec}, C{max_in_flight}; see L{BlockingClient}.
    @return: a client, which C{with} closes at the end.
    @raises CannotConnect: there is no broker.
    @raises TooManyConnections: it has no room; or another refusal.
    """
    client = BlockingClient(address, **how)
    try:
        client.reach()
    except BaseException:
        client.close()
        raise
    return client
