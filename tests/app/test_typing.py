"""
What type checkers know of tasks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent

#: Where a line ends with a comment, mypy must say that word about it; elsewhere nothing.
PROGRAM = """\
from typing import assert_type

from taskqueue import App, Context, connect

app = App()


@app.task
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task(queue="mail", timeout=3)
def send(ctx: Context, to: str) -> str:
    return to


@app.periodic(every_s=60)
@app.task
def tick(n: int = 1) -> bytes:
    return b""


@app.periodic(cron="* * * * *")
def tock(ctx: Context) -> None: ...


@app.task
async def later(n: int) -> float:
    return 0.5


assert_type(add(1), int)
assert_type(tick(), bytes)
add.submit(1, b=2)
send.submit("a@b")
send.options(run_in=3).submit(to="a@b")
tick.submit(3)
tock.submit()
later.submit(1)
connect("tq://a")

add.submit("x")  # arg-type
send.submit(3)  # arg-type
send.submit()  # call-arg
send.options(priority=3).submit()  # call-arg
tick.submit("x")  # arg-type
tock.submit(3)  # call-arg
later.submit("x")  # arg-type
add.options(colour=3)  # call-arg
app.task(colour=3)  # call-overload
"""


class TypingTests(SynchronousTestCase):
    def test_signatures_are_kept(self) -> None:
        path = Path(self.mktemp())
        path.write_text(PROGRAM)
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(path.resolve())],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        found = re.findall(r":(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
        expected = [
            (str(number), line.partition("  # ")[2])
            for number, line in enumerate(PROGRAM.splitlines(), 1)
            if "  # " in line
        ]
        self.assertEqual(found, expected, done.stdout + done.stderr)
