"""Values of a running service: what is told when, and what survives."""

from __future__ import annotations

from taskqueue.core.value_desk import Put
from taskqueue.errors import ShuttingDown, StoreUnavailable, TooManyRequests, ValuesFull
from taskqueue.store.sqlite import SQLiteStore
from tests.service.running import ObedientStore, ServiceTestCase


class ValuesTestCase(ServiceTestCase):
    def put(self, key="k", value=b"v", **more):
        [answer] = self.service.put_values([Put("n", key, value, **more)])
        return answer

    def get(self, key="k"):
        """The value, and whether what that tells is stored."""
        [row], stored = self.service.values_of("n", [key])
        return None if row is None else row.value, stored

    def wait(self, owner="me", wait_s=30.0, **known):
        return self.service.wait_values("n", known, wait_s, owner)

    @property
    def waits(self):
        return self.service.broker.ledger.values.waits


class StoredTests(ValuesTestCase):
    def test_what_is_read_says_whether_it_is_stored(self):
        self.put()
        self.assertEqual(self.get(), (b"v", False))
        self.assertEqual(self.get("other"), (None, True))
        self.writer.holding = True
        self.turn()
        self.assertEqual(self.get(), (b"v", False), "it is being written")
        self.put(value=b"w")
        self.writer.run_next()
        self.assertEqual(self.get(), (b"w", False), "the newer one is not")
        self.writer.let_go()
        self.turn()
        self.assertEqual(self.get(), (b"w", True))

    def test_so_do_lists(self):
        self.put()
        self.assertEqual(self.service.list_values("n", "", None, 10, 10**6)[1:], (False, False))
        self.assertEqual(self.service.list_values("m", "", None, 10, 10**6)[1:], (False, True))
        self.turn()
        self.assertEqual(self.service.list_values("n", "", None, 10, 10**6)[1:], (False, True))

    def test_lists_end_where_they_are_told(self):
        for key in ("a", "b", "c"):
            self.put(key, bytes(100))

        def listed(limit, most_bytes):
            rows, more, _ = self.service.list_values("n", "", None, limit, most_bytes)
            return [row.key for row in rows], more

        self.assertEqual(listed(3, 1000), (["a", "b", "c"], False))
        self.assertEqual(listed(2, 1000), (["a", "b"], True))
        self.assertEqual(listed(3, 210), (["a", "b"], True))
        self.assertEqual(listed(3, 10), (["a"], True))

    def test_all_of_it_survives_a_restart(self):
        self.put("stays")
        self.put("goes", expires_at=self.moments().wall + 5)
        self.put("taken")
        self.service.take_value("n", "taken")
        version = self.service.increase_value("n", "count", 7, None).version
        self.restart()
        self.assertEqual(self.get("stays"), (b"v", True))
        self.assertEqual(self.get("taken"), (None, True))
        self.assertEqual(self.get("count"), (b"7", True))
        self.assertGreater(self.put(), version)
        self.pass_time(5)
        self.turn()
        self.assertEqual(self.get("goes"), (None, True))

    def test_what_was_not_stored_does_not(self):
        self.put("first")
        self.turn()
        self.put("second")
        self.crash()
        self.assertEqual(self.get("first"), (b"v", True))
        self.assertEqual(self.get("second"), (None, True))

    def test_written_many_times_it_is_stored_once(self):
        for number in range(5):
            self.put(value=b"%d" % number)
        self.turn()
        [batch] = [batch for batch in self.store.batches if batch.values]
        self.assertEqual([row.value for row in batch.values], [b"4"])

    def test_expired_values_are_taken_out_of_the_store(self):
        self.put(expires_at=self.moments().wall + 1)
        self.turn()
        self.pass_time(2)
        self.turn()
        self.assertEqual(list(self.store.key_values()), [])

    def test_nothing_is_accepted_while_the_store_fails(self):
        self.put("before")
        self.turn()
        self.store.fail("commit")
        self.put("doubtful")
        self.turn()
        for change in (
            self.put,
            lambda: self.service.take_value("n", "before"),
            lambda: self.service.delete_values("n", ["before"]),
            lambda: self.service.increase_value("n", "count", 1, None),
        ):
            self.assertRaises(StoreUnavailable, change)
        self.assertEqual(self.get("before"), (b"v", True), "what is stored can be read")
        self.store.work()

    def test_bounds(self):
        config = self.adapt("limits", max_values=1, max_values_bytes=20)
        self.restart(config)
        self.put("a")
        self.assertIsInstance(self.put("b"), ValuesFull)
        self.assertIsInstance(self.put("a", bytes(20)), ValuesFull)
        self.service.reconfigure(self.adapt("limits", max_values=2, max_values_bytes=20))
        self.put("b")
        stats = self.service.stats()
        self.assertEqual((stats["values"], stats["values_bytes"]), (2, 4))


class OnDiskTests(StoredTests):
    """The same on SQLite."""

    def make_store(self):
        return ObedientStore(SQLiteStore(self.mktemp()))


class WaitingTests(ValuesTestCase):
    def test_told_once_it_is_stored(self):
        told = self.wait(k=0)
        self.writer.holding = True
        version = self.put()
        self.turn()
        self.assertNoResult(told)
        self.writer.let_go()
        self.assertEqual(self.successResultOf(told)["k"].version, version)
        self.assertEqual(len(self.waits), 0)

    def test_what_differs_already(self):
        version = self.put()
        told = self.wait(k=0)
        self.assertNoResult(told)
        self.assertEqual(self.result_of(told)["k"].version, version)
        self.assertEqual(self.successResultOf(self.wait(k=0))["k"].version, version)
        self.assertEqual(self.successResultOf(self.wait(k=version + 1))["k"].version, version)
        self.assertEqual(self.successResultOf(self.wait(gone=3)), {"gone": None})

    def test_all_changes_of_a_request_are_told_together(self):
        told = self.wait(a=0, b=0)
        self.service.put_values([Put("n", "a", b""), Put("n", "b", b"")])
        self.assertEqual(set(self.result_of(told)), {"a", "b"})

    def test_a_value_that_goes(self):
        versions = [
            self.put(key, expires_at=self.moments().wall + 5) for key in ("expires", "deleted")
        ]
        self.turn()
        expires, deleted = self.wait(expires=versions[0]), self.wait(deleted=versions[1])
        self.service.delete_values("n", ["deleted"])
        self.assertEqual(self.result_of(deleted), {"deleted": None})
        self.pass_time(4.5)
        self.assertNoResult(expires)
        self.pass_time(1)
        self.assertEqual(self.successResultOf(expires), {"expires": None})

    def test_the_time_is_over(self):
        told = self.wait(wait_s=5, k=0)
        self.pass_time(4.75)
        self.assertNoResult(told)
        self.pass_time(0.5)
        self.assertEqual(self.successResultOf(told), {})
        self.assertEqual(self.successResultOf(self.wait(wait_s=0, k=0)), {})

    def test_the_owner_is_gone(self):
        mine, yours = self.wait("me", k=0), self.wait("you", k=0)
        self.service.end_value_waits("me")
        self.assertEqual(self.successResultOf(mine), {})
        self.assertNoResult(yours)
        yours.cancel()
        self.failureResultOf(yours)
        self.assertEqual(len(self.waits), 0)
        self.put()

    def test_the_broker_stops(self):
        told = self.wait(k=0)
        self.stop()
        self.assertEqual(self.successResultOf(told), {})
        self.failureResultOf(self.wait(k=0), ShuttingDown)

    def test_the_store_fails(self):
        told = self.wait(k=0)
        self.store.fail("commit")
        self.put()
        self.pass_time(6)
        self.failureResultOf(told, StoreUnavailable)
        self.store.work()

    def test_the_keys_that_are_waited_for_are_bounded(self):
        self.restart(self.adapt("limits", max_watches=3))
        told = self.wait(a=0, b=0)
        error = self.failureResultOf(self.wait(c=0, d=0), TooManyRequests).value
        self.assertIn("2 keys of values are waited for", str(error))
        last = self.wait(c=0)
        self.put("a")
        self.result_of(told)
        self.wait(d=0, e=0)
        self.assertNoResult(last)

    def test_claims_and_waits_are_bounded_together(self):
        self.restart(self.adapt("limits", max_waiting_claims=2))
        claim, told = self.claiming(wait_s=60), self.wait(k=0)
        error = self.failureResultOf(self.wait(k=0), TooManyRequests).value
        self.assertIn("2 claims and waits of all connections wait", str(error))
        self.failureResultOf(self.claiming(wait_s=60), TooManyRequests)
        self.put()
        self.result_of(told)
        self.claiming(wait_s=60).addErrback(lambda _: None)
        claim.cancel()
        self.failureResultOf(claim)
