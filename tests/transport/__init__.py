"""Tests of TLS without an event loop, and the private authority that all tests of TLS use."""
