"""
When a chord is complete: counted so that a part which runs twice counts once, and that one
which dies in between is not missed.

A part leaves a mark of its own and then counts one further.  Where all have counted, the
last one knows by the sum alone.  A part that finds its mark has run before, and it is not known
whether it had counted: from then on the marks themselves are counted.  Who finds the chord
complete claims the call of its body, so that no two make it; it may claim it again, if it died.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import states
from celery.canvas import maybe_signature
from celery.exceptions import ChordError
from celery.result import GroupResult, allow_join_result
from twisted.logger import Logger

from taskqueue.client.all_calls import AllCalls
from taskqueue.errors import ConnectionLost

if TYPE_CHECKING:
    from taskqueue.contrib.celery.backend import Backend

#: What is added where the sum cannot be relied on any more; no chord has so many parts.
UNSURE = 1 << 40

#: How often it is looked, at the least, whether the group of a chord is still there.
LOOKS = 20

#: How long it is remembered that a chord is done, seconds, where results never expire.
DONE_S = 86_400.0

_log = Logger()


class Chord:
    """
    The chord that a task was a part of.

    @param key: what its values' keys begin with.
    """

    def __init__(self, backend: Backend, request: Any, key: str) -> None:
        self._backend = backend
        self._request = request
        self._key = key
        self._marks = f"{key}.part."
        self._claim = f"{key}.claim"
        part = f"{request.id}:{getattr(request, 'group_index', None)}"
        self._part = hashlib.sha256(part.encode()).hexdigest()[:32]
        self._expires_s = backend.chord_expires or None

    def returned(self) -> None:
        """The part has ended: call the body, if it was the last one."""
        backend = self._backend
        if backend.get(self._claim) == b"done":
            return  # it has run once more than it was to
        self._keep_result()
        size = self._request.chord.get("chord_size")
        count = self._count()
        # The group has all its parts in it: were each of them to read it, a chord of ten times
        # as many would take a hundred times as long.
        if size is not None and 1 < count < size and count % max(1, size // LOOKS):
            return
        group = self._group()
        if group is None:
            return
        if count < (len(group) if size is None else size):
            self._keep_group()
            return
        if not self._claimed():
            return
        self._call_body(group)
        keys = backend.run(self._parts)
        backend.run(lambda calls: calls.delete_values(backend.namespace, [*keys, self._key]))
        expires_s = self._expires_s or DONE_S
        backend.run(
            lambda calls: calls.put_value(
                backend.namespace, self._claim, b"done", expires_s=expires_s
            )
        )
        group.delete()

    def _group(self) -> Any:
        """The results of all parts; C{None} where they cannot be known, which the body is told."""
        gid = self._request.group
        try:
            group = GroupResult.restore(gid, backend=self._backend)
        except Exception as error:
            _log.failure("chord {gid} cannot be read", gid=gid)
            self._fail(ChordError(f"Cannot restore group: {error!r}"))
            return None
        if group is None:
            self._fail(ChordError(f"GroupResult {gid} no longer exists"))
        return group

    def _keep_result(self) -> None:
        """Keep what the last part will read, where chords are kept longer than results."""
        backend = self._backend
        if self._expires_s and backend.expires and self._expires_s > backend.expires:
            backend.expire(backend.get_key_for_task(self._request.id), self._expires_s)

    def _keep_group(self) -> None:
        """Keep which parts there are, before half of the time is over; they may take days."""
        backend = self._backend
        if not self._expires_s or not backend.expires:
            return
        expires_s = max(self._expires_s, backend.expires)
        key = backend.get_key_for_group(self._request.group)
        kept = backend.run(lambda calls: calls.get_value(backend.namespace, key))
        if kept is None or kept.expires_at is None:
            return
        if kept.expires_at - time.time() < expires_s / 2:
            backend.expire(key, expires_s)

    # --- counting -----------------------------------------------------------------------------

    def _count(self) -> int:
        """How many parts have ended, this one among them."""
        return self._backend.run(self._counted)

    async def _counted(self, calls: AllCalls) -> int:
        namespace, expires_s = self._backend.namespace, self._expires_s
        mark = self._marks + self._part
        # Not under a condition, which is not sent again: it says by itself who was first.
        there = await calls.get_value(namespace, mark)
        if there is None:
            await calls.put_value(namespace, mark, b"", expires_s=expires_s)
        by = 1 if there is None else UNSURE
        try:
            total = await calls.increase_value(namespace, self._key, by, expires_s=expires_s)
        except ConnectionLost:  # it may have counted, or not
            total = await calls.increase_value(namespace, self._key, UNSURE, expires_s=expires_s)
        return total if total < UNSURE else len(await self._parts(calls))

    async def _parts(self, calls: AllCalls) -> list[str]:
        found: list[str] = []
        after: str | None = None
        while True:
            page = await calls.list_values(
                self._backend.namespace, self._marks, after=after, limit=1000
            )
            found += [key for key, _ in page]
            if len(page) < 1000:
                return found
            after = page[-1][0]

    def _claimed(self) -> bool:
        """Whether it is this part that calls the body."""
        backend, own = self._backend, self._part.encode()
        while True:
            with suppress(ConnectionLost):  # it is read what came of it
                backend.run(
                    lambda calls: calls.put_value(
                        backend.namespace,
                        self._claim,
                        own,
                        expires_s=self._expires_s,
                        only_if="absent",
                    )
                )
            claim = backend.get(self._claim)
            if claim is not None:
                return bool(claim == own)

    # --- the body -----------------------------------------------------------------------------

    def _call_body(self, group: Any) -> None:
        app = self._backend.app
        body = maybe_signature(self._request.chord, app=app)
        try:
            with allow_join_result():
                results = group.join_native(
                    timeout=app.conf.result_chord_join_timeout, propagate=True
                )
        except Exception as error:
            failed_ones = (one for one in group.results if one.state in states.PROPAGATE_STATES)
            culprit = next(failed_ones, None)
            reason = repr(error) if culprit is None else f"Dependency {culprit.id} raised {error!r}"
            failed = ChordError(reason)
            failed.__cause__ = error
            self._fail(failed)
            return
        try:
            body.delay(results)
        except Exception as error:
            _log.failure("the body of chord {gid} cannot be called", gid=self._request.group)
            self._fail(ChordError(f"Callback error: {error!r}"))

    def _fail(self, error: ChordError) -> None:
        body = maybe_signature(self._request.chord, app=self._backend.app)
        try:
            raise error  # Celery stores the error that is being handled, with its traceback
        except ChordError as raised:
            self._backend.chord_error_from_stack(body, raised)
