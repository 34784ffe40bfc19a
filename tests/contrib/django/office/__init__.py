"""An app with tasks, for tests."""

from __future__ import annotations

from importlib import import_module

from taskqueue.contrib.django.framework import PACKAGE

task = import_module(PACKAGE).task
