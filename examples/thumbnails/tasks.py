"""
The task: thumbnails of one picture in several sizes.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from taskqueue import App, Context

app = App(queue="images")


@app.task(timeout=60, max_retries=3, no_retry_for=(UnidentifiedImageError, FileNotFoundError))
def make_thumbnails(ctx: Context, source: str, folder: str, sizes: list[int]) -> list[str]:
    """
    Write a thumbnail of C{source} into C{folder} for each size, the longer side in pixels.

    To run it twice does no harm: a thumbnail appears under its name when it is whole.
    """
    made = []
    with Image.open(source) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    for done, size in enumerate(sizes):
        ctx.check()  # ends here when somebody has cancelled the task
        ctx.progress({"done": done, "of": len(sizes)})
        small = image.copy()
        small.thumbnail((size, size), Image.Resampling.LANCZOS)
        target = Path(folder, f"{Path(source).stem}-{size}.jpg")
        unfinished = target.with_suffix(f".{ctx.lease}.part")
        small.save(unfinished, "JPEG", quality=85)
        unfinished.replace(target)
        made.append(str(target))
    ctx.progress({"done": len(sizes), "of": len(sizes)})
    ctx.log("made thumbnails", source=source, sizes=len(sizes))
    return made
