"""Tests of what can be asked of the broker, in whatever language."""
