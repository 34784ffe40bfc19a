"""A module within a package of tasks."""

from __future__ import annotations

from tests.contrib.django.office import task


@task
def deep() -> str:
    return "deep"


def plain() -> str:
    return "plain"


renamed = task(plain)
