"""The folders of grand-challenge, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaicell.runs.layout import find_image_folders
from tests.test_metaimage import write_metaimage
from tests.test_reliability import place, predict, results
from tests.toys import draw_discs, write_discs

__all__ = ["place"]


@pytest.fixture
def laid_out(place: Path) -> Path:
    """Lay the input out as grand-challenge does: an image below the name of its kind, and settings."""
    for path in (place / "in").iterdir():
        path.unlink()
    folder = place / "in" / "images" / "microscopy-image"
    folder.mkdir(parents=True)
    write_metaimage(folder / "0b1c-22.mha", draw_discs(2))
    (place / "in" / "inputs.json").write_text("[]")
    return place


def test_images_below_the_name_of_their_kind_are_segmented(laid_out: Path) -> None:
    write_discs(laid_out / "in" / "images" / "microscopy-image" / "b.png", 3)
    done = predict(laid_out, "-v")
    assert (done.returncode, results(laid_out)) == (0, {"0b1c-22_label.tiff": 2, "b_label.tiff": 3})
    assert "as grand-challenge lays them out" in done.stderr


def test_images_of_all_kinds_are_segmented_and_other_files_are_said(laid_out: Path) -> None:
    other = laid_out / "in" / "images" / "another"
    other.mkdir()
    write_discs(other / "b.tif", 3)
    assert predict(laid_out).returncode == 0
    assert results(laid_out) == {"0b1c-22_label.tiff": 2, "b_label.tiff": 3}
    for path in (laid_out / "in" / "images").glob("*/*"):
        path.rename(path.with_suffix(".mhd"))
    done = predict(laid_out)
    assert done.returncode == 1
    assert "no image" in done.stderr


def test_an_image_of_the_input_itself_is_no_such_layout(laid_out: Path) -> None:
    write_discs(laid_out / "in" / "a.png", 3)
    assert predict(laid_out).returncode == 0
    assert results(laid_out) == {"a_label.tiff": 3}


def test_what_holds_no_such_folders_stays_as_it_is(tmp_path: Path) -> None:
    assert find_image_folders(tmp_path) == [tmp_path]
    assert find_image_folders(tmp_path / "missing") == [tmp_path / "missing"]
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "images" / "empty").mkdir()
    assert find_image_folders(tmp_path) == [tmp_path]
    for name in ("second", "first"):
        (tmp_path / "images" / name).mkdir()
        (tmp_path / "images" / name / "b.tif").touch()
    assert find_image_folders(tmp_path) == [tmp_path / "images" / name for name in ("first", "second")]
