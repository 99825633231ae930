"""The output folder is tried before the work, and keeps no result of an image that failed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.errors import OptionError
from inference.outputs import Results, prepare_output
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
                prepare_output(folder, given)


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


def test_results_are_there_when_they_are_not_empty(tmp_path: Path) -> None:
    results = Results.of(tmp_path / "a.png", tmp_path)
    results.mask.touch()
    assert not results.are_there(overlay=False)
    results.mask.write_text("mask")
    assert results.are_there(overlay=False)
    assert not results.are_there(overlay=True)
    results.overlay.write_text("overlay")
    assert results.are_there(overlay=True)


@pytest.mark.parametrize("overlay", [False, True])
def test_a_failed_image_loses_what_an_earlier_run_left(tmp_path: Path, overlay: bool) -> None:
    (tmp_path / "a_label.tiff").write_text("mask")
    (tmp_path / "b_label.tiff").write_text("another's")
    if overlay:
        (tmp_path / "a_overlay.png").write_text("overlay")
    assert Results.of(Path("a.png"), tmp_path).remove_failed()
    assert [path.name for path in tmp_path.iterdir()] == ["b_label.tiff"]


def test_an_overlay_does_not_stay_without_its_mask(tmp_path: Path) -> None:
    results = Results.of(Path("a.png"), tmp_path)
    results.overlay.write_text("written just before the mask could not be")
    assert not results.remove_failed()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("before", [False, True])
def test_what_another_run_wrote_meanwhile_stays(tmp_path: Path, before: bool) -> None:
    if before:
        (tmp_path / "a_label.tiff").write_text("earlier")
    results = Results.of(Path("a.png"), tmp_path)
    (tmp_path / "other").write_text("better")
    (tmp_path / "other").replace(results.mask)
    results.overlay.write_text("overlay")
    assert not results.remove_failed()
    assert results.are_there(overlay=True)


def test_a_link_in_place_of_a_mask_is_removed_itself(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("old")
    (tmp_path / "a_label.tiff").symlink_to(tmp_path / "precious")
    assert Results.of(Path("a.png"), tmp_path).remove_failed()
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
