"""The `taskqueue` command, built on the client."""
