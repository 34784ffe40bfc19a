"""
The settings of a shop: as few as it takes.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent

DEBUG = True
SECRET_KEY = "for this example only"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "urls"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "shop",
    "taskqueue.contrib.django",
]
if find_spec("django.tasks") is None:  # before Django 6, tasks were a package of their own
    INSTALLED_APPS.append("django_tasks")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "db.sqlite3"),
    }
}

TASKS = {
    "default": {
        "BACKEND": "taskqueue.contrib.django.Backend",
        "QUEUES": ["urgent", "default"],  # workers prefer the first
        "OPTIONS": {
            "address": os.environ.get("TASKQUEUE_BROKER", "tq://127.0.0.1:7780"),
            "queues": {"urgent": {"max_retries": 3, "retry_delay": 1}},
        },
    }
}
