"""Tests of the protocol of Faktory's work server."""
