"""Thumbnails: the task by itself, and the example as it is run."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError
from twisted.trial.unittest import SynchronousTestCase

from examples.thumbnails.tasks import make_thumbnails
from taskqueue.app.outcomes import TaskCancelled
from tests.examples.running import ExampleTestCase, context


def photograph(folder: Path, name: str, width: int = 400, height: int = 200) -> Path:
    path = folder / name
    Image.new("RGB", (width, height), (200, 100, 50)).save(path)
    return path


class ThumbnailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_sizes_and_progress(self) -> None:
        ctx = context()
        source = photograph(self.folder, "a.png")
        made = make_thumbnails(ctx, str(source), str(self.folder), [40, 100])
        self.assertEqual([Image.open(path).size for path in made], [(40, 20), (100, 50)])
        self.assertEqual([said["done"] for said in ctx._sink.progressed], [0, 1, 2])
        self.assertEqual(list(self.folder.glob("*.part")), [])

    def test_an_orientation_is_kept(self) -> None:
        source = self.folder / "turned.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown turned by a quarter
        Image.new("RGB", (400, 200)).save(source, exif=exif)
        (made,) = make_thumbnails(context(), str(source), str(self.folder), [40])
        self.assertEqual(Image.open(made).size, (20, 40))

    def test_no_picture(self) -> None:
        source = self.folder / "letter.txt"
        source.write_text("Dear")
        with self.assertRaises(UnidentifiedImageError):
            make_thumbnails(context(), str(source), str(self.folder), [40])

    def test_a_cancelled_one_ends(self) -> None:
        ctx = context()
        ctx.cancelled = True
        source = photograph(self.folder, "a.png")
        with self.assertRaises(TaskCancelled):
            make_thumbnails(ctx, str(source), str(self.folder), [40])


class ExampleTests(ExampleTestCase):
    def test_a_folder(self) -> None:
        photos = self.folder / "photos"
        photos.mkdir()
        for name in ("one.png", "two.jpg"):
            photograph(photos, name, 1600, 1200)
        (photos / "zzz.txt").write_text("no picture")
        self.begin("examples.thumbnails.tasks:app", "images")
        done = self.program("examples.thumbnails.run", "photos", "small")
        self.assertIn("2 done, 1 failed", done.stdout, done.stderr)
        self.assertIn("UnidentifiedImageError", done.stdout)
        self.assertEqual(done.returncode, 1)
        made = sorted((self.folder / "small").iterdir())
        self.assertEqual(len(made), 6)
        self.assertEqual(Image.open(made[0]).size, (1024, 768))
