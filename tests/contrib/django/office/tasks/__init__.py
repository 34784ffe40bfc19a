"""Tasks where workers look for them."""

from __future__ import annotations

from typing import Any

from tests.contrib.django.office import task

#: What tasks were given.
done: list[Any] = []


@task
def add(a: int, b: int = 0) -> int:
    done.append((a, b))
    return a + b


@task(queue_name="mail", priority=-7, takes_context=True)
def send(context: Any, *lines: str, **more: Any) -> dict[str, Any]:
    done.append(context)
    return {"attempt": context.attempt, "lines": lines, "more": more}


@task
async def wait() -> bytes:
    return b"waited"


@task
def fail(name: str = "ValueError", *args: Any) -> None:
    raise getattr(__import__("builtins"), name)(*args)


@task
def raises(path: str, *args: Any) -> None:
    from django.utils.module_loading import import_string

    raise import_string(path)(*args)


@task
def returns_nothing_that_json_has() -> Any:
    return object()
