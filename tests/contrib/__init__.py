"""Tests of the adapters of other frameworks."""
