"""huey over the broker."""
