"""A report each night, of parts that are worked out side by side."""
