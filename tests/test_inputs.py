"""Which files of the input are images, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.errors import OptionError
from mosaicell.reading.images import mask_name, write_labels
from mosaicell.runs.inputs import Found, Search, Source, check_names, find_images
from mosaicell.runs.origin import Origin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def find(*inputs: Path, **search: object) -> Found:
    return find_images(inputs, Search(**search))  # type: ignore[arg-type]


def names(found: Found) -> list[str]:
    return [source.name for source in found.images]


def sources(*paths: str) -> list[Source]:
    return [Source(Path(path), Path()) for path in paths]


def test_folders_hidden_and_other_files_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b.TIF", "a.png", ".hidden.png", "notes.txt"):
        (folder / name).touch()
    (folder / "folder").mkdir()
    found = find(folder)
    assert (names(found), found.refused, found.left_out) == (["a.png", "b.TIF"], {}, 2)
    assert "folder: a folder, left out; --recursive" in caplog.text
    assert "notes.txt: no image suffix" in caplog.text


def test_a_single_file_is_taken_wherever_it_leads(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (folder / "b.png").symlink_to(tmp_path / "a.png")
    assert find(folder / "b.png").images == [Source(folder / "b.png", folder / "b.png")]


def test_what_is_no_input_says_why(folder: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", ".hidden.png"):
        (folder / name).touch()
        with pytest.raises(OptionError, match="is no image"):
            find(folder / name)
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(OptionError, match="neither a folder nor a file"):
        find(folder / "pipe.png")
    with pytest.raises(OptionError, match="does not exist"):
        find(tmp_path / "missing")


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
    found = find(folder)
    assert names(found) == ["gone.png", "inside.png", "loop.png", "within.png"]
    assert sorted(source.name for source in found.refused) == ["out.png", "prefix.png", "twice.png"]
    assert all("--follow-links" in reason for reason in found.refused.values())
    found = find(folder, follow_links=True)
    assert (len(found.images), found.refused) == (7, {})


def test_a_link_to_the_folder_changes_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").touch()
    (folder / "b.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to(folder)
    found = find(tmp_path / "link")
    assert (names(found), found.refused) == (["a.png", "b.png"], {})


def test_of_several_inputs_each_file_is_taken_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for path in (folder / "b.png", tmp_path / "more" / "a.png", tmp_path / "c.png"):
        path.touch()
    found = find(folder, tmp_path / "more", folder / "b.png", tmp_path / "c.png", folder / ".." / "in")
    assert names(found) == ["a.png", "b.png", "c.png"]


def test_sub_folders_are_searched_when_asked_but_for_links_hidden_ones_and_the_output(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("b.png", "x/a.png", "x/y/c.png", ".git/d.png", "out/e.png", "x/out/f.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "link").symlink_to(folder / "x")
    found = find(folder, recursive=True, without=tmp_path / "in" / "x" / ".." / "out")
    assert names(found) == ["b.png", "x/a.png", "x/out/f.png", "x/y/c.png"]
    assert [source.place for source in found.images] == [Path(), Path("x"), Path("x/out"), Path("x/y")]
    assert {source.root for source in found.images} == {folder}


def test_patterns_choose_by_name_or_by_place_and_name(folder: Path) -> None:
    for name in ("a.png", "a.tif", "x/a.png", "x/b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert names(find(folder, recursive=True, include=("*.png",))) == ["a.png", "x/a.png", "x/b.png"]
    assert names(find(folder, recursive=True, include=("x/a*", "a.tif"))) == ["a.tif", "x/a.png"]
    found = find(folder, include=("*.jpg",))
    assert (found.images, found.left_out) == ([], 3)
    assert names(find(folder / "a.png", include=("*.tif",))) == ["a.png"]


def test_tiff_is_told_by_its_bytes(folder: Path) -> None:
    for name in ("slide.svs", "scan.NDPI", "stack.stk", "no_suffix", "old.tif.bak", "copy.tif~"):
        tifffile.imwrite(folder / name, np.zeros((8, 8), np.uint8))
    tifffile.imwrite(folder / "large.btf", np.zeros((8, 8), np.uint8), bigtiff=True)
    (folder / "notes").write_text("II, but no TIFF")
    (folder / "cut.svs").touch()
    found = find(folder)
    assert names(found) == ["cut.svs", "large.btf", "no_suffix", "scan.NDPI", "slide.svs", "stack.stk"]
    assert found.left_out == 3
    assert names(find(folder / "no_suffix")) == ["no_suffix"]


def test_masks_and_overlays_beside_their_images_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.ones((4, 4), np.uint8)
    for name in ("plate.1.tif", "b.png"):
        cv2.imwrite(str(folder / name), labels)
    origin = Origin("gone.tif", 3, 4, "", "", "")
    for name in ("plate.1", "plate", "b", "foreign"):
        write_labels(folder / f"{name}_label.tiff", labels)
        cv2.imwrite(str(folder / f"{name}_overlay.png"), labels)
    write_labels(folder / "moved_label.tiff", labels, description=origin.describe())
    cv2.imwrite(str(folder / "other_overlay.png"), labels)
    # of masks, one that is of no image here and does not say that it is a mask may be an image
    assert names(find(folder)) == ["b.png", "foreign_label.tiff", "other_overlay.png", "plate.1.tif"]
    assert "moved_label.tiff: a mask or overlay beside its image, left out" in caplog.text
    assert names(find(folder / "b_label.tiff")) == ["b_label.tiff"]


@pytest.mark.parametrize(("rule", "advice"), [("challenge", "take --names full"), ("full", "rename one of the two")])
def test_the_first_of_two_images_owns_their_mask(tmp_path: Path, rule: str, advice: str) -> None:
    clash = ["a.b.png", "a.b.tif"] if rule == "full" else ["a.b.tif", "a.c.tif"]
    kept, refused = check_names(sources(*clash, "b.tif"), tmp_path, rule)
    assert [source.name for source in kept] == [clash[0], "b.tif"]
    ((second, reason),) = refused.items()
    assert second.name == clash[1]
    assert f"{clash[0]}'s, {mask_name(clash[0], rule)}" in reason
    assert advice in reason


def test_in_full_names_only_the_suffix_is_left_out(tmp_path: Path) -> None:
    kept, refused = check_names(sources("plate1.wellA1.tif", "plate1.wellA2.tif"), tmp_path, "full")
    assert (len(kept), refused) == (2, {})


def test_of_two_images_with_one_mask_that_with_an_image_suffix_counts(tmp_path: Path) -> None:
    kept, refused = check_names(sources("a.svs", "a.tif"), tmp_path, "full")
    assert ([source.name for source in kept], [source.name for source in refused]) == (["a.tif"], ["a.svs"])


def test_images_of_one_name_in_two_places_have_masks_of_their_own(tmp_path: Path) -> None:
    both = [Source(Path("in/a.png"), Path("in")), Source(Path("in/x/a.png"), Path("in"), Path("x"))]
    assert check_names(both, tmp_path, "challenge") == (both, {})
    clash = [Source(Path("in/a.png"), Path("in")), Source(Path("more/a.png"), Path("more"))]
    (reason,) = check_names(clash, tmp_path, "full")[1].values()
    assert "in/a.png's, a_label.tiff" in reason


def test_a_name_too_long_for_a_mask_is_refused_before_the_work(tmp_path: Path) -> None:
    """243 bytes and `_label.tiff` fill a name; `_overlay.png` is one longer."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    fits, beyond = sources("µ" * ((longest - 12) // 2) + ".png", "x" * (longest - 11) + ".png")
    kept, refused = check_names([fits, beyond], tmp_path, "full")
    assert kept == [fits]
    assert f"{longest + 1} bytes; allowed are {longest}" in refused[beyond]
    (tmp_path / mask_name(fits.path)).touch()
