"""The worker runtime, built on the client."""
