"""Clients of other brokers, unchanged, against ours."""
