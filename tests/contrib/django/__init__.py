"""
Tests of the backend for Django's tasks.

They have a Django project in this process, which must be set up before its tasks are imported.
"""

from __future__ import annotations

import logging

import django
from django.conf import settings

#: The settings of a project whose broker is nowhere.
TASKS = {
    "default": {
        "BACKEND": "taskqueue.contrib.django.Backend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"address": "tq://127.0.0.1:1"},
    }
}

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["tests.contrib.django.office", "taskqueue.contrib.django"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
        TIME_ZONE="UTC",
        TASKS=TASKS,
        LOGGING_CONFIG=None,
    )
    django.setup()
    # What fails on purpose is not to be seen among the tests.
    for name in ("django", "django_tasks"):
        logging.getLogger(name).addHandler(logging.NullHandler())
