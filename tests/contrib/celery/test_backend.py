"""
Results, and the counting of chords, in a broker that nothing stands for.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery import chord
from celery.exceptions import ImproperlyConfigured
from celery.result import GroupResult

from taskqueue.contrib.celery.chords import Chord
from taskqueue.errors import BadRequest
from tests.contrib.celery.proj import make
from tests.contrib.celery.test_end_to_end import url_of
from tests.contrib.programs import FrameworkTestCase


class BackendTestCase(FrameworkTestCase):
    timeout = 60

    def setUp(self) -> None:
        super().setUp()
        self.app = self.made()
        self.backend = self.app.backend

    def made(self, **conf: Any) -> Any:
        # A virtual host of its own, so that nothing of other tests is in it.
        app = make(f"{url_of(self.address)}/{self.name}", "celery", **conf)
        self.addCleanup(app.close)
        return app

    def kept(self) -> dict[str, Any]:
        return dict(self.client.list_values(self.backend.namespace))


class Values(BackendTestCase):
    def test_put_and_got(self) -> None:
        backend = self.backend
        backend.set("a", "text")
        backend.set("b", b"bytes")
        self.assertEqual(backend.get("a"), b"text")
        self.assertEqual(backend.mget(["b", "none", "a"]), [b"bytes", None, b"text"])
        backend.delete("a")
        self.assertIsNone(backend.get("a"))
        self.assertEqual([backend.incr("n"), backend.incr("n")], [1, 2])

    def test_expire(self) -> None:
        backend = self.made(result_expires=100).backend
        backend.set("a", b"x")
        now = self.client.ping()
        self.assertLess(abs(self.kept()["a"].expires_at - now - 100), 10)
        backend.expire("a", 1000)
        self.assertLess(abs(self.kept()["a"].expires_at - now - 1000), 10)
        backend.expire("none", 1000)
        self.assertEqual(backend.get("a"), b"x")

    def test_for_ever(self) -> None:
        self.made(result_expires=0).backend.set("a", b"x")
        self.assertIsNone(self.kept()["a"].expires_at)

    def test_a_success_is_never_overwritten(self) -> None:
        backend = self.backend
        backend.store_result("id", None, "STARTED")
        backend.store_result("id", 1, "SUCCESS")
        backend.store_result("id", ValueError("late"), "FAILURE")
        self.assertEqual(self.app.AsyncResult("id").get(timeout=5), 1)

    def test_an_id_of_any_length(self) -> None:
        for task_id in ("é" * 300, "x" * 10_000):
            self.backend.store_result(task_id, task_id[:2], "SUCCESS")
            self.assertEqual(self.app.AsyncResult(task_id).get(timeout=5), task_id[:2])

    def test_waiting_for_what_cannot_be_is_an_error(self) -> None:
        """Celery would ask again and again where it was told of a lost connection."""
        waiting = self.backend.result_consumer
        waiting._known["x" * 1000] = 0
        self.assertRaises(BadRequest, waiting.drain_events, 1)

    def test_where_it_is(self) -> None:
        self.assertNotIn(
            "secret", self.made(result_backend="taskqueue://:secret@h").backend.as_uri()
        )
        several = "taskqueue://one;taskqueue://two:5"
        self.assertEqual(
            self.made(result_backend=several).backend.clients._waiting.address,
            "tq://one:7780,tq://two:5",
        )

    def test_what_cannot_be(self) -> None:
        app = self.made(result_backend="taskqueue://key-in-the-wrong-place@host")
        error = self.assertRaises(ImproperlyConfigured, lambda: app.backend)
        self.assertIn("the key is the password", str(error))
        self.assertNotIn("wrong-place", str(error))


class Chords(BackendTestCase):
    """Parts that end as workers' do; the body is what is then in the queue."""

    def setUp(self) -> None:
        super().setUp()
        self.results = [self.app.AsyncResult(f"part-{number}") for number in range(3)]
        GroupResult("group", self.results, app=self.app).save(backend=self.backend)
        self.body = self.app.tasks["proj.total"].s()
        self.body["chord_size"] = 3

    def request(self, number: int) -> Any:
        return SimpleNamespace(
            id=f"part-{number}", group="group", group_index=number, chord=self.body
        )

    def ends(self, number: int, result: Any = 1, state: str = "SUCCESS") -> None:
        self.backend.store_result(f"part-{number}", result, state)
        self.backend.on_chord_part_return(self.request(number), state, result)

    def bodies(self) -> int:
        return self.states(f"{self.name}/celery").get("pending", 0)

    def test_the_last_part_calls_the_body(self) -> None:
        for number in range(3):
            self.assertEqual(self.bodies(), 0)
            self.ends(number)
        self.assertEqual(self.bodies(), 1)
        self.assertEqual([key for key in self.kept() if ".part." in key], [])

    def test_a_part_that_runs_twice_counts_once(self) -> None:
        """Its worker was lost before it had acknowledged."""
        for number in (0, 1, 1, 0, 1):
            self.ends(number)
        self.assertEqual(self.bodies(), 0)
        self.ends(2)
        self.assertEqual(self.bodies(), 1)

    def test_a_part_that_died_before_it_had_counted(self) -> None:
        self.ends(0)
        chord = Chord(self.backend, self.request(1), self.backend.get_key_for_chord("group"))
        mark = f"{self.backend.get_key_for_chord('group')}.part.{chord._part}"
        self.client.put_value(self.backend.namespace, mark, b"")
        self.backend.store_result("part-1", 1, "SUCCESS")
        self.ends(2)
        self.assertEqual(self.bodies(), 0)
        self.ends(1)
        self.assertEqual(self.bodies(), 1)

    def test_a_part_that_died_before_it_had_called_the_body(self) -> None:
        """It calls it when it runs again; another one that does so does not."""
        self.ends(0)
        self.ends(1)
        call, Chord._call_body = Chord._call_body, _dies
        try:
            self.assertRaises(KeyboardInterrupt, self.ends, 2)
        finally:
            Chord._call_body = call
        self.ends(1)
        self.assertEqual(self.bodies(), 0)
        self.ends(2)
        self.assertEqual(self.bodies(), 1)

    def test_a_part_that_runs_again_when_all_is_done(self) -> None:
        for number in range(3):
            self.ends(number)
        self.ends(2)
        self.ends(0)
        self.assertEqual(self.bodies(), 1)

    def test_a_part_that_fails(self) -> None:
        self.body.set(task_id="the-body")
        for number in range(2):
            self.ends(number)
        self.ends(2, KeyError("x"), "FAILURE")
        self.assertEqual(self.bodies(), 0)
        result = self.app.AsyncResult("the-body")
        self.assertEqual(result.state, "FAILURE")
        self.assertIn("part-2", str(result.result))

    def test_what_a_part_costs_does_not_grow_with_the_chord(self) -> None:
        """The group names all parts: few of them read it."""
        parts = 200
        self.body["chord_size"] = parts
        read, restored = GroupResult.restore, []

        def restore(*given: Any, **how: Any) -> Any:
            restored.append(given)
            return read(*given, **how)

        self.patch(GroupResult, "restore", restore)
        for number in range(parts - 1):
            self.ends(number)
        self.assertEqual(self.bodies(), 0)
        self.assertLess(len(restored), 25)
        self.ends(parts - 1)
        self.assertEqual(self.bodies(), 1)

    def test_each_part_is_told_how_many_there_are(self) -> None:
        add, total = self.app.tasks["proj.add"], self.app.tasks["proj.total"]
        for header in ([add.s(1, 1), add.s(2, 2)], (add.s(n, n) for n in range(3))):
            self.app.control.purge()
            chord(header, app=self.app)(total.s())
            with self.app.connection_for_read() as connection:
                received = connection.SimpleQueue("celery")
                parts = [received.get(timeout=5).payload[2]["chord"] for _ in range(2)]
                size = 2 if isinstance(header, list) else 3
                self.assertEqual([part["chord_size"] for part in parts], [size, size])

    def test_the_group_is_kept_while_parts_end(self) -> None:
        """They may take days, and each of them is an hour or two."""
        key = self.backend.get_key_for_group("group")
        self.backend.expire(key, 100)
        self.ends(0)
        kept = self.kept()[key]
        self.assertGreater(kept.expires_at - self.client.ping(), self.backend.expires / 2)
        self.ends(1)
        self.assertEqual(self.kept()[key].version, kept.version)

    def test_results_that_are_gone(self) -> None:
        self.body.set(task_id="the-body")
        self.backend.delete_group("group")
        self.ends(0)
        self.assertIn("no longer exists", str(self.app.AsyncResult("the-body").result))


def _dies(self: Any, group: Any) -> None:
    raise KeyboardInterrupt
