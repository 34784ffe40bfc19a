"""
The slow work: letters, written into a folder instead of being sent.
"""

from __future__ import annotations

import os
from pathlib import Path

from taskqueue import App, Context

app = App(queue="mail")

OUTBOX = Path(os.environ.get("OUTBOX", "outbox"))


@app.task(max_retries=5, timeout=30)
def send_email(ctx: Context, to: str, subject: str) -> str:
    """
    Write a letter; its name is the task's id, so that writing it twice makes one.

    @return: where it is.
    """
    OUTBOX.mkdir(parents=True, exist_ok=True)
    letter = OUTBOX / f"{ctx.id}.txt"
    letter.write_text(f"To: {to}\nSubject: {subject}\n")
    return str(letter)
