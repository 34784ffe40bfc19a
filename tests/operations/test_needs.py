"""
What operations need: the table is whole, and the page of the protocol says the same.
"""

import re

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.permissions import WITHOUT_QUEUE
from taskqueue.operations.needs import NEEDS, Where
from taskqueue.operations.table import OPERATIONS, Operation
from taskqueue.wire import MessageType
from tests.operations import page


class NeedTests(SynchronousTestCase):
    def test_every_operation_has_a_need(self):
        self.assertEqual(set(NEEDS), set(OPERATIONS))
        for kind, operation in OPERATIONS.items():
            self.assertIs(operation.need, NEEDS[kind])

    def test_what_says_nothing_is_for_those_who_may_do_everything(self):
        default = Operation._field_defaults["need"]
        self.assertEqual((default.action, default.where), ("admin", Where.BROKER))

    def test_what_concerns_the_broker_needs_it_everywhere(self):
        for kind, need in NEEDS.items():
            if need.action in WITHOUT_QUEUE:
                self.assertIs(need.where, Where.BROKER, kind)
            self.assertEqual(need.action is None, need.where is Where.NOWHERE, kind)

    def test_the_page_says_the_same(self):
        rows = page.rows_under("## Who may do what", 3)
        told = {
            MessageType[name]: None if action == "-" else action.strip("`")
            for names, action, _ in rows
            if names != "operation"
            for name in re.findall(r"[A-Z_]+", names)
        }
        self.assertEqual(told, {kind: need.action for kind, need in NEEDS.items()})

    def test_the_page_says_which_are_audited(self):
        self.assertIn("\nCANCEL_TASK and all below it stand in the broker's audit log", page.TEXT)
        rows = [names for names, *_ in page.rows_under("## Who may do what", 3)]
        below = rows[next(i for i, names in enumerate(rows) if names.startswith("CANCEL_TASK")) :]
        named = {MessageType[name] for names in below for name in re.findall(r"[A-Z_]+", names)}
        self.assertEqual(named, {kind for kind, need in NEEDS.items() if need.audited})
