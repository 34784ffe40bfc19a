"""Tests of who may come in, and do what."""
