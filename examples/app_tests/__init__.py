"""Tasks of a shop, and their tests: with trial and with pytest."""
