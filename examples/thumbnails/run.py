"""
Thumbnails of every picture in a folder: C{python -m examples.thumbnails.run PHOTOS THUMBNAILS}.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.progress import Progress

from examples.thumbnails.tasks import app, make_thumbnails
from taskqueue.errors import AnswerTimedOut, TaskFailed

SIZES = [64, 256, 1024]

#: Between two looks at how far a task is, seconds.
LOOK_S = 0.2


def main(photos: Path, thumbnails: Path) -> int:
    """Submit, show how far everything is, and tell how many pictures failed."""
    thumbnails.mkdir(parents=True, exist_ok=True)
    sources = sorted(path.resolve() for path in photos.iterdir() if path.is_file())
    folder = str(thumbnails.resolve())
    tasks = [make_thumbnails.submit(str(source), folder, SIZES) for source in sources]
    failed = 0
    with Progress() as progress:
        for source, task in zip(sources, tasks, strict=True):
            bar = progress.add_task(source.name, total=len(SIZES))
            while True:
                try:
                    task.result(timeout=LOOK_S)
                except AnswerTimedOut:
                    status = task.status()
                    far = (status or {}).get("progress") or {}
                    progress.update(bar, completed=far.get("done", 0))
                    continue
                except TaskFailed as error:
                    failed += 1
                    reason = str(error.fields["error"]).splitlines()[0]
                    progress.console.print(f"{source.name}: {reason}", soft_wrap=True)
                else:
                    progress.update(bar, completed=len(SIZES))
                break
    print(f"{len(tasks) - failed} done, {failed} failed")
    app.close()
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Two folders, please: one with pictures, and one for the thumbnails.")
    sys.exit(main(*map(Path, sys.argv[1:])))
