"""Tests of taskqueue.frontends."""
