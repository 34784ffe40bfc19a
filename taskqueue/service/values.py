"""
Commands on values under keys, and the duty to take out those that have expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from itertools import islice

from twisted.internet.defer import Deferred, fail, succeed

from taskqueue.core.moments import Now
from taskqueue.core.rows import ValueRow
from taskqueue.core.value_desk import Put
from taskqueue.core.value_waits import ValueWait
from taskqueue.errors import ShuttingDown, TaskQueueError, TooManyRequests
from taskqueue.service.commands import Commands

#: By key the values that have changed, C{None} for those that are gone.
Changed = dict[str, ValueRow | None]


class ValueCommands(Commands):
    """
    Commands on values.

    What these return stands so at once, and is to be told when all that has changed so far is
    stored, which the journal knows; where something read is stored already, that is said too.
    """

    # --- changing -------------------------------------------------------------------

    def put_values(self, puts: Iterable[Put]) -> list[int | TaskQueueError | None]:
        """
        Put values, each if its condition holds.

        @return: for each its version; C{None} where the condition does not hold; or
            L{ValuesFull}.  To be told when it is stored.
        @raises ShuttingDown: the broker stops.
        @raises StoreUnavailable: the store fails.
        """
        self.check_open()
        answers = self.each(self.broker.values.put, puts)
        self._tell_woken()
        return answers

    def take_value(self, namespace: str, key: str) -> ValueRow | None:
        """
        Take a value from under its key.

        @return: the value; C{None} where there is none.  To be told when that is stored.
        @raises TaskQueueError: as L{put_values} does.
        """
        self.check_open()
        now = self.moments()
        row = self.broker.values.take(namespace, key, now)
        self._changed(now)
        return row

    def delete_values(self, namespace: str, keys: Sequence[str], version: int | None = None) -> int:
        """
        Forget values.

        @param version: only where it has this one; then there is one key.
        @return: how many there were.  To be told when that is stored.
        @raises TaskQueueError: as L{put_values} does.
        """
        self.check_open()
        now, desk = self.moments(), self.broker.values
        if version is None:
            count = desk.delete(namespace, keys, now)
        else:
            count = int(desk.delete_version(namespace, keys[0], version, now))
        self._changed(now)
        return count

    def increase_value(
        self, namespace: str, key: str, by: int, expires_in_s: float | None
    ) -> ValueRow:
        """
        Add to the number that a value is; see L{ValueDesk.increase}.

        @param expires_in_s: how long it is there from now on; C{None}: as long as before.
        @return: the value.  To be told when it is stored.
        @raises Conflict: it is no number, or would leave the range.
        @raises TaskQueueError: as L{put_values} does, and L{ValuesFull}.
        """
        self.check_open()
        now = self.moments()
        expires_at = None if expires_in_s is None else now.wall + expires_in_s
        row = self.broker.values.increase(namespace, key, by, expires_at, now)
        self._changed(now)
        return row

    def expire_values(self, now: Now) -> bool:
        """
        Take out the values that have expired, and answer those who have waited long enough;
        True where there is more to do.
        """
        more = self.broker.values.expire(now)
        for wait in self.broker.ledger.values.waits.expired(now.mono):
            self._tell(wait, now)
        self._changed(now)
        return more

    def _changed(self, now: Now) -> None:
        self.after(now)
        self._tell_woken()

    # --- looking --------------------------------------------------------------------

    def values_of(self, namespace: str, keys: Sequence[str]) -> tuple[list[ValueRow | None], bool]:
        """
        The values under some keys.

        @return: each, C{None} where there is none; and whether what that tells is stored.
        """
        wall, values = self.moments().wall, self.broker.ledger.values
        rows = [values.find(namespace, key, wall) for key in keys]
        return rows, self.broker.ledger.changes.values.are_stored(namespace, keys)

    def list_values(
        self, namespace: str, prefix: str, after: str | None, limit: int, most_bytes: int
    ) -> tuple[list[ValueRow], bool, bool]:
        """
        Values in the order of their keys, from the key behind C{after} on.

        @param most_bytes: about as many they may have together, if they are more than one.
        @return: up to C{limit} of them; whether there are more; and whether what that tells
            is stored.
        """
        ledger = self.broker.ledger
        rows: list[ValueRow] = []
        size, more = 0, False
        found = ledger.values.listed(namespace, prefix, after, self.moments().wall)
        for row in islice(found, limit + 1):
            size += len(row.value) + len(row.key)
            if len(rows) == limit or (rows and size > most_bytes):
                more = True
                break
            rows.append(row)
        return rows, more, ledger.changes.values.is_stored(namespace)

    def value_namespaces(
        self, after: str, limit: int, wanted: Callable[[str], bool] | None = None
    ) -> dict[str, int]:
        """
        Up to C{limit} namespaces that have values, by name, those beyond the name C{after}; each
        with how many it has.

        @param wanted: whether one, by its name, is among them; C{None} for all.
        """
        found = self.broker.ledger.values.by_namespace
        names = (name for name in found if name > after and (wanted is None or wanted(name)))
        return {name: len(found[name]) for name in nsmallest(limit, names)}

    # --- waiting --------------------------------------------------------------------

    def wait_values(
        self, namespace: str, known: Mapping[str, int], wait_s: float, owner: object
    ) -> Deferred[Changed]:
        """
        Wait until one of some values has another version than is known.

        @param known: by key the version, 0 for no value.
        @param owner: who waits; see L{end_value_waits}.
        @return: fires, once that is stored, with all that differ then; with none when the
            time is over.  It may be cancelled.
        """
        now, ledger = self.moments(), self.broker.ledger
        found = ledger.values.changed(namespace, known, now.wall)
        if found and ledger.changes.values.are_stored(namespace, found):
            return succeed(found)
        if found:
            return self.journal.barrier(found)
        if wait_s <= 0:
            return succeed(found)
        try:
            self._check_may_wait_for(len(known))
        except TaskQueueError as error:
            return fail(error)
        wait = ValueWait(namespace, known, owner, now.mono + wait_s)
        reply: Deferred[Changed] = Deferred(lambda _: self._give_up(wait))
        wait.reply = reply
        ledger.values.waits.add(wait)
        return reply

    def _check_may_wait_for(self, keys: int) -> None:
        """
        @param keys: for how many somebody wants to wait.
        @raises ShuttingDown: the broker stops.
        @raises TooManyRequests: no more requests may wait, or for no more keys.
        """
        if self.stopping:
            raise ShuttingDown(retry_after_s=1.0)
        self.check_may_wait("claims and waits", "wait")
        waited_for, bound = self.broker.ledger.values.waits.places, self.config.limits.max_watches
        if waited_for + keys > bound:
            raise TooManyRequests(
                f"{waited_for} keys of values are waited for by all connections, and there may be "
                f"{bound} (limits.max_watches), so not {keys} more: wait for fewer, or later",
                retry_after_s=1.0,
            )

    def end_value_waits(self, owner: object) -> None:
        """Whoever waits under this name waits no more, and is told that nothing changed."""
        waits = self.broker.ledger.values.waits
        if waits:
            self._tell_all(waits.take_all_of(owner))

    def end_all_value_waits(self) -> None:
        """Nobody waits any more."""
        self._tell_all(self.broker.ledger.values.waits.take_all())

    def _tell_all(self, waits: Iterable[ValueWait]) -> None:
        now = self.moments()
        for wait in waits:
            self._tell(wait, now)

    def _tell_woken(self) -> None:
        waits = self.broker.ledger.values.waits
        if waits.woken:
            woken, waits.woken = waits.woken, []
            self._tell_all(woken)

    def _tell(self, wait: ValueWait, now: Now) -> None:
        """Answer one that waits no longer, once what it is told is stored."""
        reply: Deferred[Changed] | None = wait.reply
        wait.reply = None
        if reply is None:
            return
        found = self.broker.ledger.values.changed(wait.namespace, wait.known, now.wall)
        try:
            held = bool(found) and self.journal.hold(reply, found)
        except TaskQueueError as error:
            reply.errback(error)
        else:
            if not held:
                reply.callback(found)

    def _give_up(self, wait: ValueWait) -> None:
        wait.reply = None
        self.broker.ledger.values.waits.remove(wait)
