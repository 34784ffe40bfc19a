"""Values under keys: the rules."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.policy import Policy
from taskqueue.core.restore import Restoration
from taskqueue.core.rows import ValueRow
from taskqueue.core.value_desk import LARGEST_COUNT, Put
from taskqueue.core.value_waits import ValueWait, ValueWaits
from taskqueue.core.values import NAMESPACE_BYTES, VALUE_BYTES
from taskqueue.errors import Conflict, ValuesFull
from taskqueue.store import MemoryStore
from tests.core.world import World


class ValuesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self, **policy: Any) -> None:
        self.world = World(Policy(**policy))
        self.desk = self.world.broker.values
        self.values = self.world.ledger.values

    def put(self, key: str, value: bytes = b"v", **more: Any) -> int | None:
        expires_s = more.pop("expires_s", None)
        if expires_s is not None:
            more["expires_at"] = self.world.wall + expires_s
        return self.desk.put(Put("n", key, value, **more), self.world.now)

    def get(self, key: str) -> bytes | None:
        row = self.values.find("n", key, self.world.wall)
        return None if row is None else row.value

    def keys(self, prefix: str = "", after: str | None = None) -> list[str]:
        return [row.key for row in self.values.listed("n", prefix, after, self.world.wall)]

    def tearDown(self) -> None:
        self.assertEqual(audit(self.world.ledger), [])


class PuttingTests(ValuesTestCase):
    def test_a_version_for_each_write(self) -> None:
        """They count with the places of tasks, so that no two are alike."""
        first = self.put("k")
        self.world.submit()
        second = self.put("k", b"w")
        assert first is not None and second is not None
        self.assertGreater(second, first + 1)
        self.assertEqual(self.get("k"), b"w")

    def test_an_old_version_never_comes_back(self) -> None:
        versions = []
        for _ in range(3):
            versions.append(self.put("k"))
            self.desk.delete("n", ["k"], self.world.now)
        self.assertEqual(len(set(versions)), 3)

    def test_namespaces_are_apart(self) -> None:
        self.put("k")
        self.assertIsNone(self.values.find("m", "k", self.world.wall))
        self.assertEqual(list(self.values.by_namespace), ["n"])
        self.desk.delete("n", ["k"], self.world.now)
        self.assertEqual(list(self.values.by_namespace), [])

    def test_only_if(self) -> None:
        self.assertIsNone(self.put("k", only_if="present"))
        self.assertIsNotNone(self.put("k", only_if="absent"))
        self.assertIsNone(self.put("k", b"w", only_if="absent"))
        self.assertEqual(self.get("k"), b"v")
        self.assertIsNotNone(self.put("k", b"w", only_if="present"))
        self.assertEqual(self.get("k"), b"w")

    def test_only_this_version(self) -> None:
        version = self.put("k", version=0)
        self.assertIsNone(self.put("k", version=0))
        newer = self.put("k", b"w", version=version)
        self.assertIsNone(self.put("k", version=version))
        self.desk.delete("n", ["k"], self.world.now)
        self.assertIsNone(self.put("k", version=newer))
        self.assertIsNone(self.get("k"))

    def test_what_did_not_hold_changes_nothing(self) -> None:
        self.put("k")
        self.world.drain()
        self.put("k", only_if="absent")
        self.assertFalse(self.world.ledger.changes)

    def test_taking(self) -> None:
        version = self.put("k")
        self.assertEqual(
            self.desk.take("n", "k", self.world.now), ValueRow("n", "k", b"v", version or 0)
        )
        self.assertIsNone(self.desk.take("n", "k", self.world.now))

    def test_deleting(self) -> None:
        self.put("a")
        version = self.put("b") or 0
        self.assertEqual(self.desk.delete("n", ["a", "x", "a"], self.world.now), 1)
        self.assertFalse(self.desk.delete_version("n", "b", version + 1, self.world.now))
        self.assertTrue(self.desk.delete_version("n", "b", version, self.world.now))
        self.assertFalse(self.desk.delete_version("n", "b", version, self.world.now))


class CountingTests(ValuesTestCase):
    def increase(self, key: str, by: int = 1, expires_s: float | None = None) -> bytes:
        expires_at = None if expires_s is None else self.world.wall + expires_s
        return self.desk.increase("n", key, by, expires_at, self.world.now).value

    def test_from_nothing_up_and_down(self) -> None:
        self.assertEqual([self.increase("k", by) for by in (1, 5, -9)], [b"1", b"6", b"-3"])
        self.assertEqual(self.get("k"), b"-3")

    def test_what_is_no_number(self) -> None:
        for value in (b"", b"-", b"x", b"1.0", b" 1", b"+1", b"1" * 21, "١".encode(), b"1_0"):
            self.put("k", value)
            self.assertRaises(Conflict, self.increase, "k")
            self.assertEqual(self.get("k"), value)

    def test_the_range(self) -> None:
        self.put("k", b"%d" % LARGEST_COUNT)
        self.assertRaises(Conflict, self.increase, "k")
        self.assertEqual(self.increase("k", -2 * LARGEST_COUNT), b"%d" % -LARGEST_COUNT)
        self.assertRaises(Conflict, self.increase, "k", -1)

    def test_it_expires_as_before_or_anew(self) -> None:
        self.increase("k", expires_s=10)
        self.world.tick(9)
        self.increase("k")
        self.world.tick(1)
        self.assertIsNone(self.get("k"))
        self.increase("k", expires_s=10)
        self.world.tick(9)
        self.increase("k", expires_s=10)
        self.world.tick(9)
        self.assertEqual(self.increase("k"), b"3")


class ExpiringTests(ValuesTestCase):
    def test_gone_for_all_who_ask_at_once(self) -> None:
        self.put("k", expires_s=5)
        self.put("other")
        self.world.pass_time(4.999)
        self.assertEqual(self.get("k"), b"v")
        self.world.pass_time(0.001)
        self.assertIsNone(self.get("k"))
        self.assertEqual(self.keys(), ["other"])
        self.assertIsNone(self.put("k", only_if="present"))
        self.assertEqual(self.desk.delete("n", ["k"], self.world.now), 0)
        self.assertIsNone(self.desk.take("n", "k", self.world.now))
        self.assertEqual(self.desk.increase("n", "k", 1, None, self.world.now).value, b"1")

    def test_taken_out_by_the_sweep(self) -> None:
        self.put("k", expires_s=5)
        self.world.drain()
        self.world.pass_time(5)
        self.assertFalse(self.desk.expire(self.world.now))
        self.assertEqual((self.values.count, self.values.size_bytes), (0, 0))
        batch, _ = self.world.drain()
        self.assertEqual(batch.unset, [("n", "k")])

    def test_written_again_it_lives_on(self) -> None:
        self.put("k", expires_s=5)
        self.put("k", expires_s=50)
        self.put("stays", expires_s=5)
        self.put("stays")
        self.world.pass_time(5)
        self.desk.expire(self.world.now)
        self.assertEqual(self.keys(), ["k", "stays"])
        for pass_s, left in ((44, ["k", "stays"]), (1, ["stays"])):
            self.world.pass_time(pass_s)
            self.desk.expire(self.world.now)
            self.assertEqual(self.keys(), left)

    def test_leftovers_do_not_pile_up(self) -> None:
        for _ in range(1000):
            self.put("k", expires_s=5)
        self.assertLess(len(self.values._ends), 100)

    def test_in_slices(self) -> None:
        for number in range(5001):
            self.put(f"k{number}", expires_s=1)
        self.world.pass_time(1)
        self.assertTrue(self.desk.expire(self.world.now))
        self.assertFalse(self.desk.expire(self.world.now))
        self.assertEqual(self.values.count, 0)


class ListingTests(ValuesTestCase):
    def test_in_the_order_of_the_keys(self) -> None:
        for key in ("b", "a", "ab", "ü", "B", "\U0001f600", "\uffff"):
            self.put(key)
        everything = ["B", "a", "ab", "b", "ü", "\uffff", "\U0001f600"]
        self.assertEqual(self.keys(), everything)
        self.assertEqual(self.keys("a"), ["a", "ab"])
        self.assertEqual(self.keys("a", "a"), ["ab"])
        self.assertEqual(self.keys("", "b"), ["ü", "\uffff", "\U0001f600"])
        self.assertEqual(self.keys("b", "a"), ["b"])
        self.assertEqual(self.keys("a", "b"), [])

    def test_it_goes_along_with_changes(self) -> None:
        self.put("b")
        self.keys()
        self.put("a")
        self.put("c")
        self.desk.delete("n", ["b"], self.world.now)
        self.assertEqual(self.keys(), ["a", "c"])


class RoomTests(ValuesTestCase):
    def test_too_many(self) -> None:
        self.begin(max_values=2)
        self.put("a")
        self.put("b")
        refused = self.assertRaises(ValuesFull, self.put, "c")
        self.assertIn("limits.max_values)", str(refused))
        self.assertEqual(refused.retry_after_s, 1.0)
        self.put("b", b"again")
        self.desk.delete("n", ["a"], self.world.now)
        self.put("c")

    def test_too_many_bytes(self) -> None:
        self.begin(max_values_bytes=10)
        self.put("a", b"4444")
        refused = self.assertRaises(ValuesFull, self.put, "ü", b"4444")
        self.assertIn("limits.max_values_bytes", str(refused))
        self.put("a", b"999999999")
        self.assertRaises(ValuesFull, self.put, "a", b"aaaaaaaaaa")
        self.put("a", b"")
        self.assertEqual(self.values.size_bytes, 1)

    def test_a_smaller_one_fits_even_where_the_bound_was_lowered(self) -> None:
        self.begin(max_values_bytes=10)
        self.put("a", b"999999999")
        self.world.broker.adopt(Policy(max_values_bytes=5))
        self.put("a", b"88888888")
        self.assertRaises(ValuesFull, self.put, "a", b"999999999")

    def test_memory(self) -> None:
        self.begin(memory_bytes=10_000)
        before = self.world.ledger.memory_bytes
        self.put("k", bytes(5000))
        taken = self.world.ledger.memory_bytes - before
        self.assertEqual(taken, VALUE_BYTES + NAMESPACE_BYTES + 5001)
        refused = self.assertRaises(ValuesFull, self.put, "l", bytes(5000))
        self.assertIn("memory_limit", str(refused))


class WaitingTests(ValuesTestCase):
    def wait(self, owner: object = "me", **known: int) -> ValueWait:
        wait = ValueWait("n", known, owner, self.world.mono + 30)
        self.values.waits.add(wait)
        return wait

    def woken(self) -> list[ValueWait]:
        waits = self.values.waits
        found, waits.woken = waits.woken, []
        return found

    def test_what_changes_wakes(self) -> None:
        wait = self.wait(a=0, b=0)
        self.put("c")
        self.assertEqual(self.woken(), [])
        self.put("b")
        self.put("a")
        self.assertEqual(self.woken(), [wait])
        self.assertEqual(len(self.values.waits), 0)
        self.assertEqual(sorted(self.values.changed("n", wait.known, self.world.wall)), ["a", "b"])

    def test_what_goes_wakes(self) -> None:
        version = self.put("a", expires_s=5) or 0
        gone = self.wait(a=version)
        self.world.pass_time(5)
        self.desk.expire(self.world.now)
        self.assertEqual(self.woken(), [gone])
        self.assertEqual(self.values.changed("n", gone.known, self.world.wall), {"a": None})
        self.put("a")
        taken = self.wait(a=0)
        self.desk.take("n", "a", self.world.now)
        self.assertEqual(self.woken(), [taken])

    def test_by_owner_and_by_time(self) -> None:
        waits = self.values.waits
        mine, yours = self.wait("me", a=0), self.wait("you", a=0)
        self.assertEqual(waits.take_all_of("me"), [mine])
        self.assertEqual(waits.take_all_of("me"), [])
        self.assertEqual(waits.expired(self.world.mono + 29), [])
        self.assertEqual(waits.expired(self.world.mono + 30), [yours])
        self.assertFalse(waits.remove(yours))
        other = self.wait(a=0)
        self.assertEqual(waits.take_all(), [other])

    def test_nothing_is_left(self) -> None:
        waits = ValueWaits()
        for number in range(5000):
            wait = ValueWait("n", {"a": 0, f"k{number}": 0}, number, 10.0)
            waits.add(wait)
            waits.remove(wait)
        self.assertEqual((len(waits), waits._by_place, waits._by_owner), (0, {}, {}))
        self.assertEqual(waits.places, 0)
        self.assertLess(len(waits._deadlines), 2000)


class AuditTests(ValuesTestCase):
    def tearDown(self) -> None:
        pass

    def test_each_book_that_is_wrong(self) -> None:
        for spoil, told in (
            (lambda values: setattr(values, "count", 9), "9 values are counted"),
            (lambda values: setattr(values, "size_bytes", 9), "values have 9 bytes"),
            (lambda values: setattr(values, "_expiring", 9), "9 values are to expire"),
            (lambda values: values._ends.clear(), "will not expire in time"),
            (lambda values: values._orders["n"].add("x"), "out of order"),
        ):
            self.begin()
            self.put("a", expires_s=5)
            self.put("b")
            self.keys()
            self.assertEqual(audit(self.world.ledger), [])
            spoil(self.values)
            self.assertIn(told, "\n".join(audit(self.world.ledger)))
        self.begin()
        self.put("a")
        self.world.ledger.next_seq = 1
        self.assertIn("still to come", "\n".join(audit(self.world.ledger)))


_NAMES = st.sampled_from(("a", "b", "c"))
_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            _NAMES,
            st.sampled_from((b"", b"7", b"long")),
            st.none() | st.integers(1, 5),
            st.none() | st.sampled_from(("absent", "present")) | st.integers(0, 3),
        ),
        st.tuples(st.sampled_from(("take", "delete", "increase")), _NAMES),
        st.tuples(st.just("pass"), st.integers(1, 4)),
        st.tuples(st.sampled_from(("sweep", "commit", "crash", "list"))),
    ),
    max_size=40,
)


class Machine:
    """
    A broker, its store, and a plain dictionary that must say the same.

    @ivar plain: by key the value, its version and when it expires.
    @ivar stored: what C{plain} was when it was stored last.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.store = MemoryStore()
        self.store.open()
        self.world = World()
        self.plain: dict[str, ValueRow] = {}
        self.stored: dict[str, ValueRow] = {}
        self.highest = 0

    def alive(self, key: str) -> ValueRow | None:
        row = self.plain.get(key)
        if row is None or (row.expires_at is not None and row.expires_at <= self.world.wall):
            return None
        return row

    def written(self, key: str, value: bytes, version: int, expires_at: float | None) -> None:
        self.test.assertGreater(version, self.highest)
        self.highest = version
        self.plain[key] = ValueRow("n", key, value, version, expires_at)

    def do(self, step: tuple[Any, ...]) -> None:
        getattr(self, f"do_{step[0]}")(*step[1:])
        values, wall = self.world.ledger.values, self.world.wall
        for key in "abc":
            self.test.assertEqual(values.find("n", key, wall), self.alive(key))
        self.test.assertEqual(audit(self.world.ledger), [])

    def do_put(self, key: str, value: bytes, for_s: int | None, condition: Any) -> None:
        known = self.alive(key)
        holds, more = True, {}
        if isinstance(condition, str):
            more = {"only_if": condition}
            holds = (condition == "present") is (known is not None)
        elif condition is not None:
            version = known.version if known is not None and condition > 1 else condition
            more = {"version": version}
            holds = version == (0 if known is None else known.version)
        expires_at = None if for_s is None else self.world.wall + for_s
        put = Put("n", key, value, expires_at, **more)
        answer = self.world.broker.values.put(put, self.world.now)
        self.test.assertEqual(answer is not None, holds)
        if answer is not None:
            self.written(key, value, answer, expires_at)

    def do_take(self, key: str) -> None:
        expected = self.alive(key)
        self.test.assertEqual(self.world.broker.values.take("n", key, self.world.now), expected)
        self.plain.pop(key, None)

    def do_delete(self, key: str) -> None:
        expected = self.alive(key) is not None
        count = self.world.broker.values.delete("n", [key, key], self.world.now)
        self.test.assertEqual(count, int(expected))
        self.plain.pop(key, None)

    def do_increase(self, key: str) -> None:
        known = self.alive(key)
        desk, now = self.world.broker.values, self.world.now
        if known is not None and not known.value.isdigit():
            self.test.assertRaises(Conflict, desk.increase, "n", key, 1, None, now)
            return
        row = desk.increase("n", key, 1, None, now)
        count = 0 if known is None else int(known.value)
        self.test.assertEqual(row.value, b"%d" % (count + 1))
        self.written(key, row.value, row.version, None if known is None else known.expires_at)

    def do_pass(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    def do_sweep(self) -> None:
        self.world.broker.values.expire(self.world.now)

    def do_list(self) -> None:
        found = self.world.ledger.values.listed("n", "", None, self.world.wall)
        alive = [row for key in sorted(self.plain) if (row := self.alive(key)) is not None]
        self.test.assertEqual(list(found), alive)

    def do_commit(self) -> None:
        batch, _ = self.world.drain()
        self.store.commit(batch)
        self.world.ledger.changes.take_stored()
        self.stored = dict(self.plain)

    def do_crash(self) -> None:
        """What was stored is there again, and its versions go on."""
        wall, mono = self.world.wall, self.world.mono
        self.world = World()
        self.world.wall, self.world.mono = wall, mono
        recovery = self.store.recover()
        restoration = Restoration(self.world.ledger, self.world.now)
        restoration.numbers(recovery.next_seq, 1_000_000)
        restoration.values(self.store.key_values())
        self.plain = dict(self.stored)
        self.highest = max((row.version for row in self.plain.values()), default=0)


class ModelTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(_STEPS)
    def test_as_a_plain_dictionary_would(self, steps: list[tuple[Any, ...]]) -> None:
        machine = Machine(self)
        for step in steps:
            machine.do(step)
