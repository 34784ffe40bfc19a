"""Tests of the dashboard's side in the broker."""
