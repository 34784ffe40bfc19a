"""Sessions whose language knows nothing of keys, and as whom they come in."""

from taskqueue.access.keyring import Keyring
from taskqueue.errors import Unauthenticated
from taskqueue.frontends.door_session import ForeignSession
from tests.access.entries import a_key
from tests.service.running import ServiceTestCase


class ForeignSessionTests(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.gate = self.service.gate
        self.key = ""
        self.ended = []
        self.session = ForeignSession(
            self.service, "beanstalkd", self.ended.append, lambda: self.key
        )
        self.service.gate.when_changed(self.session.check_identity)
        self.jobs, _ = a_key("jobs", "submit:mail")

    def adopt(self, *keys):
        self.gate.adopt(Keyring(keys=keys))

    def test_everyone_while_nobody_needs_to_authenticate(self):
        self.assertIs(self.session.authenticate_door(), self.gate.everyone)
        self.assertIsNone(self.session.restricted)

    def test_nobody_once_there_are_keys_and_none_is_named(self):
        self.adopt(self.jobs)
        error = self.assertRaises(Unauthenticated, self.session.authenticate_door)
        self.assertIn("in [beanstalkd] key", str(error))

    def test_nobody_where_the_key_is_not_valid(self):
        self.key = "other"
        self.adopt(self.jobs)
        error = self.assertRaises(Unauthenticated, self.session.authenticate_door)
        self.assertIn("the key 'other', which [beanstalkd] key names, is not valid", str(error))

    def test_the_key_that_is_named(self):
        self.key = "jobs"
        self.adopt(self.jobs)
        found = self.session.authenticate_door()
        self.assertEqual((found.kind, found.name), ("key", "jobs"))
        self.assertIs(self.session.restricted, found.permissions)

    def test_the_key_counts_for_a_broker_that_is_open_on_purpose(self):
        """As with our own clients, who are held to the key that they show."""
        self.gate._mode = "open_to_everyone"
        self.key = "jobs"
        self.adopt(self.jobs)
        self.assertTrue(self.gate.open)
        self.assertEqual(self.session.authenticate_door().name, "jobs")

    def test_the_first_key_shuts_the_door(self):
        self.session.authenticate_door()
        self.adopt(self.jobs)
        [error] = self.ended
        self.assertIsInstance(error, Unauthenticated)

    def test_the_first_key_is_the_one_that_is_named(self):
        self.key = "jobs"
        self.session.authenticate_door()
        self.assertIsNone(self.session.restricted)
        self.adopt(self.jobs)
        self.assertEqual(self.session.identity.name, "jobs")
        self.assertIsNotNone(self.session.restricted)
        self.assertEqual(self.ended, [])

    def test_a_key_that_replaces_another(self):
        self.key = "jobs"
        self.adopt(self.jobs)
        before = self.session.authenticate_door()
        after, _ = a_key("jobs", "claim:mail")
        self.adopt(after)
        self.assertIsNot(self.session.identity, before)
        self.assertEqual(self.session.identity.key_id, after.id)

    def test_nobody_is_looked_at_before_they_came_in(self):
        self.adopt(self.jobs)
        late = ForeignSession(self.service, "beanstalkd", self.ended.append, lambda: self.key)
        self.ended.clear()
        late.check_identity()
        self.assertEqual(self.ended, [])

    def test_whoever_is_gone_is_told_nothing(self):
        self.session.authenticate_door()
        self.session.close()
        self.adopt(self.jobs)
        self.assertEqual(self.ended, [])
        self.assertFalse(self.session.open)

    def test_who_the_peer_is(self):
        self.session.meet("10.0.0.1", "10.0.0.1:4000")
        self.assertEqual((self.session.host, self.session.peer), ("10.0.0.1", "10.0.0.1:4000"))
        self.assertFalse(self.session.busy)
        self.session.unanswered = 1
        self.assertTrue(self.session.busy)
