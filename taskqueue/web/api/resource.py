"""
The resource under which the whole API stands: routes requests, refuses those that
cannot be, and writes the answers.

Why klein does not route here
=============================

Klein imports Twisted's global reactor as soon as it is imported itself, which
takes the choice of a reactor away from whoever embeds a broker, and it costs
18 MB of memory.  So its router, which is Werkzeug's, is used as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule

from taskqueue.access.identities import Identity
from taskqueue.errors import InternalError, TaskQueueError
from taskqueue.service import TaskQueueService
from taskqueue.web.api.answers import Reply, send, send_problem
from taskqueue.web.api.endpoints import ROOT, Endpoint
from taskqueue.web.api.origins import Origins
from taskqueue.web.api.problems import Problem, problem_of
from taskqueue.web.api.reading import check_accept, read_body, read_places, read_query
from taskqueue.web.api.visits import Visit
from taskqueue.web.credentials import host_of, known, nobody

#: What changes nothing.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@lru_cache(maxsize=4)
def _map(paths: tuple[str, ...]) -> Map:
    """
    What Werkzeug makes of these paths: some 10 ms of work for the whole API, which a process
    with many brokers, such as one that runs tests, need not do for each.
    """
    rules = [Rule(path.replace("{", "<").replace("}", ">"), endpoint=path) for path in paths]
    # A path is what it is: nothing is put right by sending the peer elsewhere.
    return Map(rules, merge_slashes=False)


class Router:
    """
    Finds the endpoint for a method and a path.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._methods: dict[str, dict[str, Endpoint]] = {}
        for one in endpoints:
            self._methods.setdefault(one.path, {})[one.method] = one
        self._paths = _map(tuple(self._methods)).bind("")

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        """
        The endpoint, and the parts of the path that its places stand for.

        @param path: below L{ROOT}, with its escapes.
        @raises Problem: there is none.
        """
        known, parts = self._match(path)
        endpoint = self._methods[known].get("GET" if method == "HEAD" else method)
        if endpoint is None:
            allowed = self._allowed(known)
            detail = f"{method[:20]} is not allowed here; allowed: {allowed}"
            raise Problem(405, "METHOD_NOT_ALLOWED", detail, {"allow": allowed})
        return endpoint, parts

    def allowed(self, path: str) -> str:
        """
        The methods of a path, as C{Allow} has them.

        @raises Problem: there is no such path.
        """
        return self._allowed(self._match(path)[0])

    def _match(self, path: str) -> tuple[str, dict[str, str]]:
        try:
            if path.startswith("//"):  # the router would not mind
                raise NotFound
            known, parts = self._paths.match(path)
        except HTTPException:
            detail = f"there is no {ROOT}{path[:200]}; {ROOT}/docs names what there is"
            raise Problem(404, "NOT_FOUND", detail) from None
        return known, dict(parts)

    def _allowed(self, known: str) -> str:
        methods = {*self._methods[known], "OPTIONS"}
        return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


class ApiResource(Resource):
    """
    All endpoints.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, service: TaskQueueService, endpoints: Sequence[Endpoint]) -> None:
        super().__init__()
        self._service = service
        self._router = Router(endpoints)
        self._origins = Origins(service)
        self._visits: set[Visit] = set()
        service.at_close(self.stop)
        service.gate.when_changed(self.check_identities)

    def stop(self) -> None:
        """The broker stops: nobody need wait any longer."""
        for visit in list(self._visits):
            visit.wait_no_longer()

    def check_identities(self) -> None:
        """Permissions have changed: of whom, the visits look themselves."""
        for visit in list(self._visits):
            visit.check_identity()

    def render(self, request: Any) -> int:
        """Begin to answer."""
        try:
            self._begin(request)
        except Exception:
            self._failed(Failure(), request)
        return NOT_DONE_YET

    def _begin(self, request: Any) -> None:
        method = request.method.decode("ascii", "replace")
        segments = [quote(segment, safe="") for segment in request.postpath]
        path = "/" + "/".join(segments) if segments else ""
        self._origins.admit(request)
        if method == "OPTIONS":
            self._service.fair_use.request(nobody(), host_of(request))
            allowed = self._router.allowed(path)
            self._origins.answer_preflight(request, allowed)
            send(request, Reply(204, headers={"allow": allowed}))
            return
        endpoint, parts = self._route(request, method, path)
        identity = nobody() if endpoint.open else known(self._service, request)
        self._service.fair_use.request(identity, host_of(request))
        visit = self._visit(endpoint, request, path, parts, identity)
        self._visits.add(visit)
        finished = request.notifyFinish().addErrback(lambda _: visit.hung_up())
        finished.addBoth(lambda _: self._visits.discard(visit))
        running = Deferred.fromCoroutine(endpoint.run(visit))
        running.addCallback(self._answer, visit)
        running.addErrback(self._failed, request, visit)

    def _route(self, request: Any, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        """
        The endpoint, and the parts of the path that its places stand for.

        @raises Problem: there is none, or this request may change nothing.
        @raises RateLimited: such requests come too often.
        """
        try:
            endpoint, parts = self._router.find(method, path)
            if method not in _SAFE:
                self._check_change(request, endpoint)
        except Problem:
            self._service.fair_use.request(nobody(), host_of(request))
            raise
        return endpoint, parts

    def _check_change(self, request: Any, endpoint: Endpoint) -> None:
        """
        @raises Problem: this request may change nothing.
        """
        if self._service.config.http.api == "read" and not endpoint.open:
            raise Problem(403, "READ_ONLY", "nothing can be changed here: http.api is read")
        self._origins.check(request)

    def _visit(
        self,
        endpoint: Endpoint,
        request: Any,
        path: str,
        parts: dict[str, str],
        identity: Identity,
    ) -> Visit:
        first = min(endpoint.answers)
        check_accept(request.getHeader("accept"), endpoint.answers[first].media)
        places = read_places(parts)
        query = read_query(endpoint.query, request.args)
        data = request.content.read()
        body = read_body(endpoint.body, request.getHeader("content-type"), data)
        return Visit(self._service, request, path, places, query, body, identity)

    def _answer(self, reply: Reply | None, visit: Visit) -> None:
        if reply is not None and visit.open:
            send(visit.request, reply)

    def _failed(self, failure: Failure, request: Any, visit: Visit | None = None) -> None:
        """Turn whatever went wrong into a problem; only what nobody foresaw is logged."""
        error = failure.value
        if visit is not None and not visit.open:
            if not isinstance(error, (TaskQueueError, Problem, CancelledError)):
                self._log.failure("a request failed, and nobody waits for it", failure)
            return
        if isinstance(error, TaskQueueError):
            error = problem_of(error)
        elif not isinstance(error, Problem):
            self._log.failure("a request failed", failure)
            error = problem_of(InternalError())
        self._service.traffic.nacks[error.code] += 1
        send_problem(request, error)
