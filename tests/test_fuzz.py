"""
Tests of C{fuzz}: what was ever found, and what fuzzing starts from, goes well; and what
should not be is noticed.
"""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fuzz.place import Place
from fuzz.targets import TARGETS
from fuzz.watching import Unforeseen, nothing_unforeseen
from taskqueue.wire import MessageType, encode

CORPUS = Path(__file__).resolve().parent.parent / "fuzz" / "corpus"


class CorpusTests(SynchronousTestCase):
    """Everything in the corpus goes through its target."""

    def test_corpus(self):
        self.assertEqual({folder.name for folder in CORPUS.iterdir()}, set(TARGETS))
        for name, run in TARGETS.items():
            seeds = sorted((CORPUS / name).iterdir())
            self.assertNotEqual(seeds, [])
            for seed in seeds:
                try:
                    run(seed.read_bytes())
                except Exception as error:
                    self.fail(f"{seed}: {error!r}")

    @given(st.binary(max_size=200))
    @settings(derandomize=True, deadline=None, max_examples=50)
    def test_anything(self, data):
        for run in TARGETS.values():
            run(data)


class PlaceTests(SynchronousTestCase):
    """What happens in the broker is looked at."""

    def test_seedsAreUnderstood(self):
        """The seeds get past the beginning of a conversation."""
        with Place("framed") as place:
            place.send(encode(MessageType.HELLO, {"id": 1}))
            seed = (CORPUS / "framed" / "submit").read_bytes()[1:]
            answer = place.send(len(seed).to_bytes(4, "big") + seed)
        self.assertIn(b"019b74ff-0000-7000-8000-00000000000a", answer)

    def test_loggedFailure(self):
        def fail():
            with nothing_unforeseen():
                Logger().failure("so it is", Failure(ValueError("no")))

        self.assertRaises(Unforeseen, fail)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_brokenBooks(self):
        def harm():
            with Place("lines") as place:
                place._service.broker.ledger.depth += 1

        self.assertRaises(AssertionError, harm)
