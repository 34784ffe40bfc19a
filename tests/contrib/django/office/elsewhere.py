"""Tasks where nobody looks for them."""

from __future__ import annotations

from tests.contrib.django.office import task


@task
def hidden() -> str:
    return "hidden"


@task
def größe() -> str:
    return "größe"
