"""The command that runs a worker."""
