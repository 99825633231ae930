"""Labelled images in the challenge's layout and in cellpose's: which labels belong to which image."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.errors import OptionError
from mosaicell.training.pairs import find_pairs
from mosaicell.writing.masks import write_labels


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder: Path, labels: Path | None = None) -> dict[str, str]:
    return {pair.image.name: pair.labels.name for pair in find_pairs(folder, labels)}


def test_the_challenges_layout_is_found_from_above_and_from_the_images(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.b.png", tmp_path / "images" / "c.tif")
    touch(tmp_path / "labels" / "a_label.tiff", tmp_path / "labels" / "c_label.tiff")
    expected = {"a.b.png": "a_label.tiff", "c.tif": "c_label.tiff"}
    assert names(tmp_path) == names(tmp_path / "images") == expected
    assert names(tmp_path / "images", tmp_path / "labels") == expected


def test_a_label_file_of_the_full_name_comes_before_one_up_to_the_first_dot(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.b.png", tmp_path / "images" / "a.c.png", tmp_path / "labels" / "a.b_label.tiff")
    touch(tmp_path / "labels" / "a.c_label.tiff", tmp_path / "labels" / "a_label.tiff")
    assert names(tmp_path) == {"a.b.png": "a.b_label.tiff", "a.c.png": "a.c_label.tiff"}


def test_cellposes_masks_stand_beside_the_images_and_are_no_images(tmp_path: Path) -> None:
    for name in ("a.tif", "a_masks.tif", "000_img.png", "000_masks.png", "000_img_seg.npy", ".hidden.png", "notes.txt"):
        touch(tmp_path / name)
    assert names(tmp_path) == {"000_img.png": "000_masks.png", "a.tif": "a_masks.tif"}


def test_in_a_folder_of_their_own_labels_may_have_the_names_of_the_images(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.png", tmp_path / "out" / "a.tif", tmp_path / "in" / "b.png")
    assert names(tmp_path / "in", tmp_path / "out") == {"a.png": "a.tif"}
    # beside the images such a file is an image
    touch(tmp_path / "in" / "a.tif")
    assert names(tmp_path / "in") == {}


def test_an_image_without_labels_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path / "a.png", tmp_path / "a_masks.png", tmp_path / "b.png")
    with caplog.at_level(logging.WARNING, "training"):
        assert names(tmp_path) == {"a.png": "a_masks.png"}
    assert [record.getMessage() for record in caplog.records] == [f"b.png: left out, {tmp_path} holds no labels of it"]


def test_two_images_with_the_same_labels_and_missing_folders_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "a.tif", tmp_path / "a_masks.png")
    with pytest.raises(OptionError, match=r"a\.png and a\.tif share the labels .*a_masks\.png: rename"):
        find_pairs(tmp_path)
    with pytest.raises(OptionError, match="nowhere is not a folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="nowhere is not a folder"):
        find_pairs(tmp_path, tmp_path / "nowhere")


def test_a_pair_is_read_and_its_sizes_are_compared(tmp_path: Path) -> None:
    labels = np.zeros((40, 50), np.uint16)
    labels[5:15, 5:15] = 7
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 50, 3), (1, 2, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a_masks.png"), labels)
    (pair,) = find_pairs(tmp_path)
    pixels, found = pair.read()
    assert pixels[0, 0].tolist() == [3, 2, 1]
    np.testing.assert_array_equal(found, labels)
    write_labels(tmp_path / "a_masks.tif", labels[:30])
    (tmp_path / "a_masks.png").unlink()
    with pytest.raises(OptionError, match=r"a_masks\.tif has shape \(30, 50\), its image \(40, 50\)"):
        find_pairs(tmp_path)[0].read()
    (tmp_path / "a_masks.tif").write_bytes(b"no labels")
    with pytest.raises(OptionError, match=r"a_masks\.tif "):
        find_pairs(tmp_path)[0].read()
