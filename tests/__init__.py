"""Tests of taskqueue, run with trial."""
