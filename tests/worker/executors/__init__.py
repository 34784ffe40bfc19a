"""Tests of taskqueue.worker.executors."""
