"""The operations that every front-end offers: their fields and what they do."""
