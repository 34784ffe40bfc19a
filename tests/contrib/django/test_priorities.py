"""Django's priorities and the broker's."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.django.priorities import broker_priority, django_priority
from taskqueue.core.task import DEFAULT_PRIORITY
from tests.contrib.django.project import framework

ALL = range(framework.LOWEST_PRIORITY, framework.HIGHEST_PRIORITY + 1)


class PriorityTests(SynchronousTestCase):
    def test_the_higher_is_the_more_urgent(self) -> None:
        there = [broker_priority(priority) for priority in ALL]
        self.assertTrue(all(less < more for less, more in pairwise(there)))
        self.assertTrue(there[0] >= 0 and there[-1] <= 255)

    def test_what_is_said_nothing_of_is_normal(self) -> None:
        self.assertEqual(broker_priority(0), DEFAULT_PRIORITY)
        self.assertEqual([broker_priority(end) for end in (-100, 49, 50, 100)], [50, 199, 200, 250])

    def test_back_again(self) -> None:
        self.assertEqual([django_priority(broker_priority(priority)) for priority in ALL], [*ALL])
        self.assertEqual([django_priority(p) for p in (0, 255)], [-100, 100])
