"""dramatiq over the broker."""
