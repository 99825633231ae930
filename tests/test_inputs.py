"""Which files of the input are images, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.errors import OptionError
from inference.images import mask_name
from inference.inputs import check_names, find_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def test_folders_hidden_and_other_files_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b.TIF", "a.png", ".hidden.png", "notes.txt"):
        (folder / name).touch()
    (folder / "folder").mkdir()
    images, refused = find_images(folder)
    assert [path.name for path in images] == ["a.png", "b.TIF"]
    assert not refused
    assert "folder: a folder" in caplog.text
    assert "notes.txt: no image suffix" in caplog.text


def test_a_single_file_is_taken_wherever_it_leads(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (folder / "b.png").symlink_to(tmp_path / "a.png")
    assert find_images(folder / "b.png") == ([folder / "b.png"], {})


def test_what_is_no_input_says_why(folder: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", ".hidden.png"):
        (folder / name).touch()
        with pytest.raises(OptionError, match="is no image"):
            find_images(folder / name)
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(OptionError, match="neither a folder nor a file"):
        find_images(folder / "pipe.png")
    with pytest.raises(OptionError, match="does not exist"):
        find_images(tmp_path / "missing")


def test_links_out_of_the_folder_need_permission(folder: Path, tmp_path: Path) -> None:
    """Links within the folder are images as any; those that end outside, over however many links, are refused."""
    (tmp_path / "outside.png").touch()
    (tmp_path / "in2").mkdir()
    (tmp_path / "in2" / "neighbour.png").touch()
    (folder / "inside.png").touch()
    (folder / "within.png").symlink_to("inside.png")
    (folder / "gone.png").symlink_to(folder / "never")
    (folder / "out.png").symlink_to(tmp_path / "outside.png")
    (folder / "twice.png").symlink_to("out.png")
    (folder / "prefix.png").symlink_to(tmp_path / "in2" / "neighbour.png")
    (folder / "loop.png").symlink_to("loop.png")
    images, refused = find_images(folder)
    assert [path.name for path in images] == ["gone.png", "inside.png", "loop.png", "within.png"]
    assert [path.name for path in refused] == ["out.png", "prefix.png", "twice.png"]
    assert all("--follow-links" in reason for reason in refused.values())
    images, refused = find_images(folder, follow_links=True)
    assert len(images) == 7
    assert not refused


def test_a_folder_that_is_a_link_is_a_folder_as_any(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").touch()
    (folder / "b.png").symlink_to(folder / "a.png")
    (tmp_path / "link").symlink_to(folder)
    images, refused = find_images(tmp_path / "link")
    assert [path.name for path in images] == ["a.png", "b.png"]
    assert not refused


def test_the_first_of_two_images_owns_their_mask(tmp_path: Path) -> None:
    first, second, other = Path("a.b.tif"), Path("a.c.tif"), Path("b.tif")
    kept, refused = check_names([first, second, other], tmp_path)
    assert kept == [first, other]
    assert list(refused) == [second]
    assert "a.b.tif's, a_label.tiff" in refused[second]


def test_a_name_too_long_for_a_mask_is_refused_before_the_work(tmp_path: Path) -> None:
    """243 bytes and `_label.tiff` fill a name; `_overlay.png` is one longer."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    fits = Path("µ" * ((longest - 12) // 2) + ".png")
    beyond = Path("x" * (longest - 11) + ".png")
    kept, refused = check_names([fits, beyond], tmp_path)
    assert kept == [fits]
    assert f"{longest + 1} bytes; allowed are {longest}" in refused[beyond]
    (tmp_path / mask_name(fits)).touch()
