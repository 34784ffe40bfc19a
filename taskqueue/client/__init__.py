"""Clients of the native protocol."""
