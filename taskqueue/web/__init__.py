"""What the broker shows over HTTP: metrics and health."""
