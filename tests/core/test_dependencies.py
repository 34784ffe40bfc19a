"""
Who waits for whom, and what an end brings about.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.dependencies import order_batch
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import DependencyCycle, UnknownDependency
from tests.core.world import WALL, CoreTestCase

RUN = TaskOptions(on_dependency_failure="run")


def item(task_id: str | None, *depends_on: str, priority: int = 150) -> Submission:
    return Submission("job", id=task_id, depends_on=depends_on, priority=priority)


class SubmitTests(CoreTestCase):
    def kinds(self, *items: Submission, **stored: State) -> list[object]:
        """For each item the state it was accepted in, or the class of its error."""
        return [
            answer.state if isinstance(answer, Accepted) else type(answer)
            for answer in self.world.try_submit(*items, **stored)
        ]

    def test_unknown(self) -> None:
        [error] = self.world.try_submit(item("t", "nobody"))
        assert isinstance(error, UnknownDependency)
        self.assertEqual(error.fields, {"dependency": "nobody"})
        self.assertIn("nobody", str(error))
        self.assertEqual(self.world.ledger.tasks, {})

    def test_itself(self) -> None:
        self.assertEqual(self.kinds(item("t", "t")), [DependencyCycle])

    def test_a_cycle_and_what_hangs_on_it(self) -> None:
        answers = self.kinds(
            item("free"),
            item("a", "c"),
            item("b", "a"),
            item("c", "b", "free"),
            item("hangs", "c"),
            item("after", "free"),
        )
        self.assertEqual(answers, [State.PENDING, *[DependencyCycle] * 4, State.BLOCKED])
        self.assertEqual(set(self.world.ledger.tasks), {"free", "after"})

    def test_a_later_item_of_the_batch(self) -> None:
        self.assertEqual(
            self.kinds(item("t", "base"), item("base")), [State.BLOCKED, State.PENDING]
        )

    def test_a_later_item_that_is_refused(self) -> None:
        bad = Submission("job", id="base", expires_at=WALL - 1)
        [first, second] = self.world.try_submit(item("t", "base"), bad)
        self.assertIsInstance(first, UnknownDependency)
        self.assertEqual(getattr(second, "code", None), "BAD_REQUEST")

    def test_named_twice(self) -> None:
        self.world.submit("base")
        self.world.submit("t", depends_on=("base", "base"))
        self.world.complete(self.world.take())
        self.assertEqual(self.world.take().id, "t")

    def test_done_already(self) -> None:
        self.world.submit("base")
        self.world.complete(self.world.take())
        self.world.submit("t", depends_on=("base",))
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_done_already_as_the_store_says(self) -> None:
        self.assertEqual(self.kinds(item("t", "old"), old=State.COMPLETED), [State.PENDING])

    def test_ended_badly(self) -> None:
        for state in (State.DEAD_LETTER, State.CANCELLED, State.EXPIRED):
            [answer] = self.kinds(item(f"t-{state}", "old"), old=state)
            self.assertIs(answer, State.DEAD_LETTER)
            task = self.world.task(f"t-{state}")
            self.assertEqual(task.error, f"dependency old ended as {state.word}")
            runs = Submission("job", depends_on=("old",), options=RUN)
            self.assertEqual(self.kinds(runs, old=state), [State.PENDING])

    def test_ended_badly_while_another_is_to_come(self) -> None:
        """It can never run: it does not wait for the other one first."""
        self.world.submit("other")
        self.assertEqual(
            self.kinds(item("t", "other", "old"), old=State.CANCELLED), [State.DEAD_LETTER]
        )
        self.assertEqual(len(self.world.ledger.dependencies), 0)

    def test_a_refused_item_wakes_nobody(self) -> None:
        self.world.submit("base")
        self.world.try_submit(item("t", "base", "nobody"))
        self.world.complete(self.world.take())
        self.assertEqual(self.world.claim(), [])


class EndTests(CoreTestCase):
    def test_diamond(self) -> None:
        self.world.try_submit(item("a"), item("b", "a"), item("c", "a"), item("d", "b", "c"))
        self.world.complete(self.world.take())
        b, c = self.world.claim(5)
        self.assertEqual((b.id, c.id), ("b", "c"))
        self.world.complete(c)
        self.assertEqual(self.world.claim(5), [])
        self.world.complete(b)
        self.assertEqual(self.world.take().id, "d")

    def test_a_diamond_that_fails_ends_each_once(self) -> None:
        self.world.try_submit(item("a"), item("b", "a"), item("c", "a"), item("d", "b", "c"))
        self.world.fail(self.world.take(), permanent=True)
        ended = [task.id for task in self.world.drain()[1]]
        self.assertEqual(sorted(ended), ["a", "b", "c", "d"])
        self.assertEqual(self.world.ledger.tasks, {})

    def test_both_policies_in_one_tree(self) -> None:
        """Who runs all the same also lets its own dependents run."""
        self.world.submit("a")
        self.world.submit("hard", depends_on=("a",))
        self.world.submit("soft", depends_on=("a",), options=RUN)
        self.world.submit("after-hard", depends_on=("hard",))
        self.world.submit("after-soft", depends_on=("soft",))
        self.world.fail(self.world.take(), permanent=True)
        states = {task_id: self.world.state(task_id) for task_id in ("hard", "after-hard")}
        self.assertEqual(set(states.values()), {State.DEAD_LETTER})
        self.assertIs(self.world.state("after-soft"), State.BLOCKED)
        self.world.complete(self.world.take())
        self.assertEqual(self.world.take().id, "after-soft")

    def test_every_bad_end_counts(self) -> None:
        ends = {
            "cancelled": lambda: self.world.cancel("a"),
            "expired": lambda: self.world.tick(10),
            "dead_letter": lambda: self.world.fail(self.world.take(), permanent=True),
        }
        for word, end in ends.items():
            self.world.submit("a", expires_at=self.world.wall + 10)
            self.world.submit("b", depends_on=("a",))
            end()
            self.assertEqual(self.world.task("b").error, f"dependency a ended as {word}")
            for task_id in ("a", "b"):
                self.world.ledger.ended.pop(task_id)

    def test_a_chain_of_thousands(self) -> None:
        """Its end needs no recursion."""
        length = 5000
        items = [item("0"), *(item(str(n), str(n - 1)) for n in range(1, length))]
        self.world.try_submit(*items)
        self.world.cancel("0")
        self.assertEqual(self.world.ledger.tasks, {})
        self.assertIs(self.world.state("4999"), State.DEAD_LETTER)

    def test_a_chain_of_thousands_completes(self) -> None:
        length = 5000
        items = [item("0"), *(item(str(n), str(n - 1)) for n in range(1, length))]
        self.world.try_submit(*reversed(items))
        for number in range(length):
            delivery = self.world.take()
            self.assertEqual(delivery.id, str(number))
            self.world.complete(delivery)

    def test_a_failed_dependency_is_recorded(self) -> None:
        self.world.submit("a")
        self.world.submit("b", depends_on=("a",))
        self.world.cancel("a")
        [event] = [row for row in self.world.drain()[0].history if row.event != "cancelled"]
        self.assertEqual(
            (event.event, event.detail), ("dependency_failed", "dependency a ended as cancelled")
        )


class RevivalTests(CoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.submit("a")
        self.world.submit("b", depends_on=("a",))
        self.world.fail(self.world.take(), permanent=True)

    def test_the_dependent_alone_runs(self) -> None:
        """A person says so: its dependency will not come."""
        self.assertIs(self.world.revive("b"), State.PENDING)
        self.assertEqual(self.world.take().id, "b")

    def test_the_dependency_first(self) -> None:
        self.assertIs(self.world.revive("a"), State.PENDING)
        self.assertIs(self.world.revive("b"), State.BLOCKED)
        self.world.complete(self.world.take())
        self.assertEqual(self.world.take().id, "b")

    def test_the_dependency_alone_does_not_bring_the_dependent_back(self) -> None:
        self.world.revive("a")
        self.world.complete(self.world.take())
        self.assertIs(self.world.state("b"), State.DEAD_LETTER)


class OrderBatchTests(SynchronousTestCase):
    def test_without_dependencies_as_given(self) -> None:
        self.assertEqual(order_batch(["a", None, "b"], {}), ([0, 1, 2], set()))

    def test_as_given_where_that_will_do(self) -> None:
        """Dependents do not go to the end of the line: places in it are given in this order."""
        self.assertEqual(order_batch(["a", "b", "c"], {1: ("a",)}), ([0, 1, 2], set()))

    def test_a_later_dependency_goes_first_alone(self) -> None:
        order, _ = order_batch(["a", "b", "c", "d"], {0: ("c",)})
        self.assertEqual(order, [1, 2, 0, 3])

    def test_of_two_with_one_id_the_first_counts(self) -> None:
        order, cyclic = order_batch(["a", "b", "a"], {2: ("b",)})
        self.assertEqual((order, cyclic), ([0, 1, 2], set()))

    @settings(derandomize=True, deadline=None)
    @given(
        st.integers(1, 8).flatmap(
            lambda n: st.tuples(
                st.just(n),
                st.dictionaries(st.integers(0, n - 1), st.sets(st.integers(0, n), min_size=1)),
            )
        )
    )
    def test_every_item_has_its_place(self, drawn: tuple[int, dict[int, set[int]]]) -> None:
        """Each stands behind what it depends on, or hangs on a cycle: all of them once."""
        count, edges = drawn
        named = {position: [str(d) for d in on] for position, on in edges.items()}
        order, cyclic = order_batch([str(n) for n in range(count)], named)
        self.assertEqual(sorted([*order, *cyclic]), list(range(count)))
        places = {position: place for place, position in enumerate(order)}
        for position, on in edges.items():
            inside = {d for d in on if d < count}
            if position in places:
                self.assertTrue(all(places[d] < places[position] for d in inside))
            else:
                self.assertTrue(inside & cyclic)
