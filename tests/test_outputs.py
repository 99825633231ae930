"""The output folder is tried before the work, and keeps no result of an image that failed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mosaicell.errors import OptionError
from mosaicell.options import EXTRAS
from mosaicell.reading.enclosure import open_anywhere
from mosaicell.runs.origin import Origin
from mosaicell.writing.masks import mask_name, write_labels
from mosaicell.writing.outputs import Results, Standing, make_places, prepare_output
from tests.test_reliability import place, predict

__all__ = ["place"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    (path / "a.png").touch()
    return path


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that nobody may write, not even root; without that right, a folder that is read-only."""
    folder = tmp_path / "read only"
    folder.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "none", folder], capture_output=True, check=False
    ).returncode
    if not mounted and os.geteuid() == 0:
        pytest.skip("may not mount")
    folder.chmod(0o555) if not mounted else None
    yield folder
    if mounted:
        subprocess.run(["umount", folder], check=True)


def test_the_folder_is_made_and_cleared(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "nested"
    prepare_output(folder, source)
    (folder / "a_label.tiff").touch()
    (folder / ".mosaicell-0123456789abcdef.part.tiff").touch()
    prepare_output(folder, source / "a.png")
    assert [path.name for path in folder.iterdir()] == ["a_label.tiff"]


def test_a_link_to_a_folder_is_a_folder(source: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    prepare_output(tmp_path / "link", source)


def test_what_cannot_be_written_is_refused(source: Path, tmp_path: Path, read_only: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OptionError, match="cannot be made"):
            prepare_output(folder, source)
    with pytest.raises(OptionError, match=r"cannot be written: (Read-only|Permission)"):
        prepare_output(read_only, source)


def test_the_folder_of_the_input_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    for folder in (source, source / ".." / "in", tmp_path / "link"):
        for given in (source, source / "a.png"):
            with pytest.raises(OptionError, match="folder of the input"):
                prepare_output(folder, tmp_path, given)


def test_a_folder_mounted_at_two_places_is_one_through_the_command_line(place: Path) -> None:
    (place / "out").mkdir()
    mount = ["mount", "--bind", str(place / "in"), str(place / "out")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        done = predict(place)
        names = {path.name for path in (place / "out").iterdir()}
    finally:
        subprocess.run(["umount", place / "out"], check=True)
    assert done.returncode == 2
    assert "out is the folder of the input" in done.stderr
    assert names == {"a.png", "b.png"}


SETTINGS = "made with this"


def place_mask(folder: Path, image: Path, settings: str = SETTINGS) -> None:
    """Write the mask of an image as a run does."""
    origin = Origin.of(image, open_anywhere, settings).with_digest(image, open_anywhere)
    write_labels(folder / mask_name(image, "full"), np.ones((3, 3), np.uint8), description=origin.describe())


def compare(folder: Path, image: Path, *extras: str) -> Standing:
    origin = Origin.of(image, open_anywhere, SETTINGS)
    return Results.of(image, folder, "full").compare(origin, image, open_anywhere, extras=extras)


def test_a_mask_is_done_when_it_is_of_the_file_and_the_settings(source: Path, tmp_path: Path) -> None:
    image = source / "a.png"
    image.write_text("pixels")
    assert compare(tmp_path, image) is Standing.NOTHING
    (tmp_path / "a_label.tiff").touch()
    assert compare(tmp_path, image) is Standing.NOTHING
    place_mask(tmp_path, image, "with other options")
    assert compare(tmp_path, image) is Standing.OUTDATED
    place_mask(tmp_path, image)
    assert compare(tmp_path, image) is Standing.DONE
    for extra, ending in EXTRAS.items():
        assert compare(tmp_path, image, extra) is Standing.OUTDATED
        (tmp_path / f"a{ending}").write_text("beside it")
        assert compare(tmp_path, image, extra) is Standing.DONE
    assert compare(tmp_path, image, *EXTRAS) is Standing.DONE
    image.write_text("others")
    assert compare(tmp_path, image) is Standing.OUTDATED


def test_a_mask_that_says_nothing_is_that_of_the_image_of_its_name(source: Path, tmp_path: Path) -> None:
    for content in (b"text", b"II*\0 cut"):
        (tmp_path / "a_label.tiff").write_bytes(content)
        assert compare(tmp_path, source / "a.png") is Standing.DONE
    write_labels(tmp_path / "a_label.tiff", np.ones((3, 3), np.uint8), description="by hand")
    assert compare(tmp_path, source / "a.png") is Standing.DONE


def test_a_mask_of_another_file_is_told_by_name_or_by_place_and_content(source: Path, tmp_path: Path) -> None:
    image, elsewhere = source / "a.png", tmp_path / "elsewhere"
    elsewhere.mkdir()
    image.write_text("pixels")
    place_mask(tmp_path, image)
    (elsewhere / "a.png").write_text("pixels")
    # moved or mounted elsewhere, perhaps with another time
    assert compare(tmp_path, elsewhere / "a.png") is Standing.DONE
    (elsewhere / "a.png").write_text("others")
    assert compare(tmp_path, elsewhere / "a.png") is Standing.ANOTHER
    (elsewhere / "a.png").write_text("more pixels")
    assert compare(tmp_path, elsewhere / "a.png") is Standing.ANOTHER
    image.rename(source / "a.tif")
    assert compare(tmp_path, source / "a.tif") is Standing.ANOTHER


@pytest.mark.parametrize("extras", [(), ("overlay",), tuple(EXTRAS)])
def test_a_failed_image_loses_what_an_earlier_run_left(tmp_path: Path, extras: tuple[str, ...]) -> None:
    (tmp_path / "a_label.tiff").write_text("mask")
    (tmp_path / "b_label.tiff").write_text("another's")
    for extra in extras:
        (tmp_path / f"a{EXTRAS[extra]}").write_text(extra)
    assert Results.of(Path("a.png"), tmp_path, "full").remove_failed()
    assert [path.name for path in tmp_path.iterdir()] == ["b_label.tiff"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_beside_a_mask_does_not_stay_without_it(tmp_path: Path, extra: str) -> None:
    results = Results.of(Path("a.png"), tmp_path, "full")
    results.extras[extra].write_text("written just before the mask could not be")
    assert not results.remove_failed()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_there", [True, False])
def test_the_table_of_a_mask_of_another_form_stays(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "a_label.tiff").write_text("mask")
    (tmp_path / "a_cells.csv").write_text("table")
    assert not Results.of(Path("a.ome.zarr"), tmp_path, "challenge", as_zarr=True).remove_failed()
    assert (tmp_path / "a_cells.csv").exists() == is_there


@pytest.mark.parametrize("before", [False, True])
def test_what_another_run_wrote_meanwhile_stays(tmp_path: Path, before: bool) -> None:
    if before:
        (tmp_path / "a_label.tiff").write_text("earlier")
    results = Results.of(Path("a.png"), tmp_path, "full")
    (tmp_path / "other").write_text("better")
    (tmp_path / "other").replace(results.mask)
    results.extras["overlay"].write_text("overlay")
    assert not results.remove_failed()
    assert results.mask.read_text() == "better"
    assert results.extras["overlay"].exists()


@pytest.mark.parametrize(
    ("settings", "kept"), [(SETTINGS, ["overlay", "table"]), ("other options", ["table"])], ids=["same", "other"]
)
def test_what_is_beside_a_mask_goes_with_it(source: Path, tmp_path: Path, settings: str, kept: list[str]) -> None:
    image = source / "a.png"
    image.write_text("pixels")
    place_mask(tmp_path, image)
    results = Results.of(image, tmp_path, "full")
    for extra in ("overlay", "table"):
        results.extras[extra].write_text(extra)
    now = Origin.of(image, open_anywhere, settings).with_digest(image, open_anywhere)
    # the table is written anew
    removed = results.remove_outdated(now, ["table"])
    assert [extra for extra in EXTRAS if results.extras[extra].exists()] == kept
    assert removed == ([] if "overlay" in kept else ["a_overlay.png"])


def test_what_no_mask_was_beside_is_left_alone(tmp_path: Path) -> None:
    results = Results.of(Path("a.png"), tmp_path, "full")
    results.extras["table"].write_text("by hand")
    assert results.remove_outdated(Origin.of(tmp_path / "a.png", open_anywhere, SETTINGS), ()) == []
    assert results.extras["table"].exists()


def test_a_link_in_place_of_a_mask_is_removed_itself(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / "a_label.tiff").symlink_to(tmp_path / "precious")
    assert Results.of(Path("a.png"), tmp_path, "full").remove_failed()
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_sub_folders_are_made_and_cleared(tmp_path: Path) -> None:
    make_places(tmp_path, [Path("x/y"), Path(), Path("x/y")])
    left = tmp_path / "x" / "y" / ".mosaicell-0123456789abcdef.part.tiff"
    left.touch()
    make_places(tmp_path, [Path("x/y")])
    assert not left.exists()
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="cannot be made"):
        make_places(tmp_path, [Path("file/below")])
