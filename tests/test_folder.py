"""Labelled folders: which images and label files belong together, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mosaicell.errors import OptionError
from mosaicell.reading.images import write_labels
from mosaicell.training.folder import find_labels, list_images, pick_images, read_pair, read_pixels


def write_pair(root: Path, image: str, label: str, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    for folder in ("images", "labels"):
        (root / folder).mkdir(exist_ok=True)
    pixels = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
    labels = np.arange(6 * width, dtype=np.uint32).reshape(6, width)
    tifffile.imwrite(root / "images" / image, pixels, photometric="minisblack")
    write_labels(root / "labels" / label, labels)
    return pixels, labels


def test_a_name_with_dots_has_the_label_file_that_the_program_would_write(tmp_path: Path) -> None:
    pixels, labels = write_pair(tmp_path, "plate.7.b.tif", "plate_label.tiff")
    (image,) = list_images(tmp_path)
    assert find_labels(tmp_path, image) == tmp_path / "labels" / "plate_label.tiff"
    read = read_pair(tmp_path, image)
    np.testing.assert_array_equal(read[0], pixels[..., None])
    np.testing.assert_array_equal(read[1], labels)


def test_images_come_by_name_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_pair(tmp_path, f"{name}.TIF", f"{name}_label.tiff")
    for name in ("._a.tif", "notes.txt", "d.csv"):
        (tmp_path / "images" / name).write_bytes(b"")
    assert [path.name for path in list_images(tmp_path)] == ["a.TIF", "b.TIF", "c.TIF"]


def test_two_images_with_one_label_file_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "plate.1.tif", "plate_label.tiff")
    write_pair(tmp_path, "plate.2.tif", "plate_label.tiff")
    with pytest.raises(OptionError, match=r"plate\.1\.tif and plate\.2\.tif share the label file plate_label\.tiff"):
        list_images(tmp_path)


def test_two_images_with_label_files_named_in_full_are_taken(tmp_path: Path) -> None:
    write_pair(tmp_path, "plate.1.tif", "plate.1_label.tiff")
    write_pair(tmp_path, "plate.2.tif", "plate.2_label.tiff")
    images = list_images(tmp_path)
    assert [find_labels(tmp_path, image).name for image in images] == ["plate.1_label.tiff", "plate.2_label.tiff"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="images is not a folder"):
        list_images(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(OptionError, match="holds no image"):
        list_images(tmp_path)


def test_files_that_do_not_fit_or_cannot_be_read_are_named(tmp_path: Path) -> None:
    write_pair(tmp_path, "a.tif", "a_label.tiff", width=9)
    image, label = tmp_path / "images" / "a.tif", tmp_path / "labels" / "a_label.tiff"
    with pytest.raises(OptionError, match=r"a_label\.tiff has shape \(6, 9\), its image \(6, 8\)"):
        read_pair(tmp_path, image)
    label.write_bytes(b"")
    with pytest.raises(OptionError, match=r"a_label\.tiff is empty"):
        read_pair(tmp_path, image)
    label.unlink()
    with pytest.raises(OptionError, match=r"a_label\.tiff, the labels of a\.tif, is missing"):
        read_pair(tmp_path, image)
    image.write_bytes(b"no image")
    with pytest.raises(OptionError, match=r"a\.tif is no image"):
        read_pixels(image)


def test_images_are_picked_by_source_and_spread_over_the_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    names = [f"{number}.png" for number in range(9)]
    for name in names:
        (tmp_path / "images" / name).touch()
    rows = [f"{name},plate{index % 2},grey" for index, name in enumerate(names[:8])]
    (tmp_path / "manifest.csv").write_text("\n".join(["image,source,modality", *rows]), encoding="utf-8")
    everything = pick_images(tmp_path)
    assert {source: len(paths) for source, paths in everything.items()} == {"": 1, "plate0/grey": 4, "plate1/grey": 4}
    for asked in ("plate1", "plate1/grey"):
        (picked,) = pick_images(tmp_path, (asked,), 2).values()
        assert [path.name for path in picked] == ["1.png", "7.png"]
    with pytest.raises(OptionError, match="holds no image of the sources plate7"):
        pick_images(tmp_path, ("plate7",))
