"""Tests of the core: pure state, told the time by the test."""
