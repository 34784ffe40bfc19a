"""Which reservation of a connection ends first."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.frontends.beanstalkd.margins import SoonestEnd


class Lease:
    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at


class Leases(dict[int, Lease]):
    """Counts how many of them are looked at."""

    looks = 0

    def __getitem__(self, token: int) -> Lease:
        self.looks += 1
        return super().__getitem__(token)

    def get(self, token: int, default: object = None) -> Lease | None:
        self.looks += 1
        return super().get(token)

    def __reversed__(self) -> Iterator[int]:
        for token in super().__reversed__():
            self.looks += 1
            yield token


class SoonestEndTests(SynchronousTestCase):
    def test_none(self) -> None:
        self.assertEqual(SoonestEnd().of({}), inf)

    def test_as_if_all_were_looked_at(self) -> None:
        random, ends = Random(1), SoonestEnd()
        leases: Leases = Leases()
        for token in range(1, 3000):
            what = random.random()
            if what < 0.5:
                leases[token] = Lease(random.randrange(1000))
            elif leases:
                chosen = random.choice(list(leases))
                if what < 0.8:
                    del leases[chosen]
                else:
                    dict.__getitem__(leases, chosen).ends_at += random.randrange(1000)
            if random.random() < 0.3:
                expected = min((lease.ends_at for lease in leases.values()), default=inf)
                self.assertEqual(ends.of(leases), expected)

    def test_asking_again_goes_through_nothing(self) -> None:
        """However many a connection holds."""
        ends, leases = SoonestEnd(), Leases()
        for token in range(1, 10_001):
            leases[token] = Lease(1000.0 + token)
        ends.of(leases)
        leases.looks = 0
        self.assertEqual(ends.of(leases), 1001.0)
        self.assertLess(leases.looks, 5)
