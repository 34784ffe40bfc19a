"""taskiq over the broker."""
