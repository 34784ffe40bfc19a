"""What developers run: tests, documents, pinned requirements."""
