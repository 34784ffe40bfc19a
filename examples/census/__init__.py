"""A census of Python's standard library, taken by a broker and its workers."""
