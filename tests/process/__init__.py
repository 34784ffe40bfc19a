"""Tests with real broker processes."""
