"""A web fetcher that is polite to the servers it visits."""
