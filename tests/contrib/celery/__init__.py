"""Tests of Celery over the broker."""
