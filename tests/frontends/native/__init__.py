"""Tests of taskqueue.frontends.native."""
