"""Of which file a mask says that it is, and what of other descriptions and files is not believed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mosaicell.reading.enclosure import open_anywhere
from mosaicell.runs import origin as module
from mosaicell.runs.origin import Origin, Sameness, read_origin
from mosaicell.writing.masks import write_labels

ORIGIN = Origin("caf\udce9 \n.tif", 7, 8, "place", "content", "settings")


def test_a_mask_says_of_which_file_it_is(tmp_path: Path) -> None:
    image = tmp_path / "plate1.wellA1.tif"
    image.write_bytes(bytes(1234))
    origin = Origin.of(image, open_anywhere, "made with this").with_digest(image, open_anywhere)
    for name, shape in (("small", (3, 4)), ("tiled", (4100, 4000))):
        write_labels(tmp_path / name, np.zeros(shape, np.uint8), description=origin.describe())
        assert read_origin(tmp_path / name) == origin
    write_labels(tmp_path / "ome", np.zeros((3, 4), np.uint8), description=origin.describe(), ome_planes=(1, 1))
    assert read_origin(tmp_path / "ome") == origin
    with tifffile.TiffFile(tmp_path / "small") as tif:
        said = json.loads(tif.pages.first.description)
    assert (said["image"], said["bytes"], said["settings"]) == ("plate1.wellA1.tif", 1234, "made with this")
    # the folder's name is nobody's business
    assert str(tmp_path) not in origin.describe()


def test_names_of_any_bytes_are_kept() -> None:
    assert ORIGIN.describe().isascii()
    assert Origin.parse(ORIGIN.describe()) == ORIGIN


@pytest.mark.parametrize(
    "text",
    ["", "<?xml ?><OME/>", "<?xml ?><Description>{</Description>", "ImageJ=1.54f", "{",
     "[" * 100_000, "7", "{}", '{"program": "mosaicell"}', '{"program": "other"}',
     ORIGIN.describe().replace("7", '"7"'), ORIGIN.describe().replace('"image"', '"imag"')],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_other_descriptions_say_nothing(text: str) -> None:
    assert Origin.parse(text) is None


def test_what_is_no_tiff_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("II*\0, but no TIFF")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert [read_origin(tmp_path / name) for name in ("text", "empty", "folder", "pipe", "missing")] == [None] * 5


def test_a_file_that_cannot_be_opened_is_told_by_name_and_place(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_text("pixels")
    before = Origin.of(image, open_anywhere, "").with_digest(image, open_anywhere)
    image.unlink()
    gone = Origin.of(image, open_anywhere, "").with_digest(image, open_anywhere)
    assert (gone.bytes, gone.digest) == (-1, "")
    assert gone.compare(before, image, open_anywhere) is Sameness.SAME
    assert gone.compare(replace(before, folder="elsewhere"), image, open_anywhere) is Sameness.ANOTHER


@pytest.mark.parametrize("whole_bytes", [10_000, 1000])
def test_a_change_of_content_is_seen_in_small_and_large_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    """A large file is compared in pieces, its beginning and end among them."""
    monkeypatch.setattr(module, "WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr(module, "PIECE_BYTES", 100)
    image = tmp_path / "a.png"
    digests = set()
    for content in (bytes(5000), bytes(4999) + b"x", b"x" + bytes(4999)):
        image.write_bytes(content)
        digests.add(Origin.of(image, open_anywhere, "").with_digest(image, open_anywhere).digest)
    assert len(digests) == 3
