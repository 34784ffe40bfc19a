"""The rules of the queue, without I/O, clock or globals."""
