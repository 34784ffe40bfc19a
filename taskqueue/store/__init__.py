"""Where tasks are kept safe: one interface, a memory store and SQLite."""
