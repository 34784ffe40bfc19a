"""Tasks by their numbers, wherever they are."""

from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from taskqueue.ids import NUMBERED, number_of, numbered_id
from tests.service.running import ServiceTestCase


class NumberTests(ServiceTestCase):
    def number(self, **fields) -> int:
        """Submit a numbered task; return its number."""
        [answer] = self.result_of(self.submitting(NUMBERED, **fields))
        number = number_of(answer.id)
        self.assertIsNotNone(number)
        return number

    def found(self, number):
        return self.result_of(self.service.find_numbered(number))

    def test_in_memory(self):
        number = self.number()
        self.assertEqual(number, 1)
        self.assertEqual(self.service.numbered_now(1).seq, 1)
        self.assertEqual(self.found(1).state, State.PENDING)
        self.assertEqual(self.store.count("numbered"), 0)

    def test_in_the_store_only(self):
        number = self.number()
        self.assertEqual(self.report(self.take(), result=b"r"), State.COMPLETED)
        self.forget_ended()
        self.assertIsNone(self.service.numbered_now(number))
        row = self.found(number)
        self.assertEqual((row.id, row.result), (numbered_id(number), b"r"))

    def test_other_ids_have_numbers_too(self):
        """On the way to the store, live, in the store only."""
        answer = self.submitting("a")
        self.assertEqual(self.service.number_of("a"), 1)
        asked = self.service.find_numbered(1)
        self.result_of(answer)
        self.assertEqual(self.successResultOf(asked).id, "a")
        self.assertEqual(self.store.count("numbered"), 0)
        self.assertEqual(self.found(1).id, "a")
        delivery = self.take()
        self.assertEqual(self.found(1).state, State.IN_PROGRESS)
        self.report(delivery)
        self.forget_ended()
        self.assertIsNone(self.service.number_of("a"))
        self.assertEqual(self.found(1).state, State.COMPLETED)
        self.assertEqual(self.service.number_of(numbered_id(7)), 7)

    def test_no_task(self):
        number = self.number()
        self.report(self.take())
        self.result_of(self.service.delete([numbered_id(number)]))
        for none in (number, 0, -1, 2, 2**70):
            self.assertIsNone(self.found(none), none)

    def test_numbers_go_on_after_a_restart(self):
        self.number()
        self.submit("b")
        self.restart()
        self.assertEqual(self.number(), 3)
        self.assertEqual(self.found(2).id, "b")

    def test_leases_of_any_length_where_a_door_says_so(self):
        item = Submission("job", id=NUMBERED)._replace(
            options=Submission("job").options._replace(lease_s=1e6)
        )
        [answer] = self.service.submit_new([item], any_lease=True)
        self.assertEqual(answer.id, numbered_id(1))
        [answer] = self.result_of(self.service.submit([item], any_lease=True))
        self.assertEqual(answer.id, numbered_id(2))
        self.assertEqual(self.take().lease_s, 1e6)
