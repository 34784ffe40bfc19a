"""Thumbnails of photographs, with progress."""
