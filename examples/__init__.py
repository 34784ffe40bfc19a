"""What can be done with taskqueue: complete programs to start from."""
