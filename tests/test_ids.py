"""
Tests of L{taskqueue.ids}.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

from twisted.trial.unittest import SynchronousTestCase

from taskqueue import ids
from taskqueue.ids import (
    LARGEST_NUMBER,
    NUMBERED,
    new_task_id,
    new_task_ids,
    number_of,
    numbered_id,
    numbered_ids,
)


def in_child(count: int) -> list[str]:
    """So many ids, made by a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_task_id() for _ in range(count)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        made = answer.read().split()
    os.waitpid(child, 0)
    return made


class NewTaskIdTests(SynchronousTestCase):
    """L{new_task_id}."""

    def test_isAVersion7UUIDInCanonicalForm(self) -> None:
        for _ in range(1000):
            task_id = new_task_id()
            parsed = UUID(task_id)
            self.assertEqual((str(parsed), parsed.version, parsed.variant), (task_id, 7, RFC_4122))

    def test_beginsWithTheMilliseconds(self) -> None:
        before = int(time.time() * 1000)
        made = UUID(new_task_id()).int >> 80
        self.assertTrue(before <= made <= int(time.time() * 1000))

    def test_allDifferInOrder(self) -> None:
        made = [new_task_id() for _ in range(50_000)]
        self.assertEqual(len(set(made)), len(made))
        in_one_millisecond = [i for i in made if i[:13] == made[100][:13]]
        self.assertEqual(in_one_millisecond, sorted(in_one_millisecond))

    def test_countingUpNeverRunsOver(self) -> None:
        self.patch(os, "urandom", lambda size: b"\xff" * size)
        self.patch(time, "time", lambda: 1_767_225_600.0)
        ids._forget()
        made = [new_task_id() for _ in range(3)]
        self.assertEqual(
            made,
            [
                "019b76da-a800-7fff-bfff-7fffffffffff",
                "019b76da-a800-7fff-bfff-800000000000",
                "019b76da-a800-7fff-bfff-800000000001",
            ],
        )
        ids._forget()

    def test_threadsNeverMakeTheSame(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: [new_task_id() for _ in range(2000)], range(16)))
        every = [task_id for some in made for task_id in some]
        self.assertEqual(len(set(every)), 32_000)

    def test_manyAtATimeAreLikeThoseMadeOneByOne(self) -> None:
        self.patch(time, "time", lambda: 1_767_225_600.0)
        made = [new_task_id(), *new_task_ids(3), new_task_id(), *new_task_ids(0), new_task_id()]
        first = UUID(made[0]).int
        self.assertEqual([UUID(i).int - first for i in made], list(range(6)))
        ids._forget()

    def test_theSystemIsAskedForManyMillisecondsAtATime(self) -> None:
        asked: list[int] = []
        moments = iter(range(1000))
        real = os.urandom

        def draw(size: int) -> bytes:
            asked.append(size)
            return real(size)

        self.patch(os, "urandom", draw)
        self.patch(time, "time", lambda: next(moments) / 1000)
        ids._forget()
        made = {UUID(new_task_id()).int % 2**74 for _ in range(1000)}
        self.assertEqual((len(made), len(asked)), (1000, 4))
        ids._forget()

    def test_aForkedProcessMakesOthers(self) -> None:
        # In the same milliseconds as far as both can see: the one of the fork, or one after it.
        self.patch(time, "time", lambda: 1_767_225_600.0)
        first = new_task_id()
        theirs = in_child(3)
        self.assertEqual(len({first, *theirs, *new_task_ids(3)}), 7)
        self.patch(time, "time", lambda: 1_767_225_600.001)
        theirs = in_child(3)
        self.assertEqual(len({*theirs, *new_task_ids(3)}), 6)
        ids._forget()


class NumberedIdTests(SynchronousTestCase):
    """L{numbered_id} and L{number_of}."""

    def test_isAVersion8UUIDThatCarriesItsNumber(self) -> None:
        for number in (1, 9, 10, 255, 2**31, LARGEST_NUMBER):
            task_id = numbered_id(number)
            parsed = UUID(task_id)
            self.assertEqual((str(parsed), parsed.version, parsed.variant), (task_id, 8, RFC_4122))
            self.assertEqual(number_of(task_id), number)

    def test_inOrderAndBehindAllOthers(self) -> None:
        made = numbered_ids(250, 20)
        self.assertEqual(made, [numbered_id(number) for number in range(250, 270)])
        self.assertEqual(sorted([*made[::-1], new_task_id()])[1:], made)

    def test_othersCarryNone(self) -> None:
        right = numbered_id(1)
        wrong = (right + "0", right[:-1], right.upper(), right.replace("8000-8", "8001-8"))
        for other in (new_task_id(), "", "1", NUMBERED, f"{right[:-1]}g", *wrong):
            self.assertIsNone(number_of(other), other)
