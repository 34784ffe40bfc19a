"""Tests of the transport for kombu."""
