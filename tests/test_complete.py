"""Labels that leave cells out are completed by what was found, and nothing else changes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.training.complete import complete_labels, main
from mosaicell.training.dataset import load_samples
from mosaicell.writing.masks import read_labels, write_labels


def test_only_what_labels_leave_out_is_added() -> None:
    labels, found = np.zeros((2, 100, 100), np.uint32)
    labels[10:40, 10:40] = 7
    found[12:42, 12:40] = 1  # the labelled cell
    found[30:60, 38:68] = 2  # touches it: 20 of 900 px
    found[65:95, 5:35] = 3
    found[70:82, 50:58] = 4  # 96 px: a speck
    found[90:100, 60:80] = 5  # 200 px, less than a quarter of the median of 900
    found[60:90, 69:99] = 6
    complete = complete_labels(labels, found)
    np.testing.assert_array_equal(complete[labels > 0], 7)
    assert np.unique(complete).tolist() == [0, 7, 8, 9, 10]
    for new, old in ((8, 2), (9, 3), (10, 6)):
        np.testing.assert_array_equal(complete == new, (found == old) & (labels == 0))
    np.testing.assert_array_equal(complete_labels(labels, np.zeros_like(found)), labels)
    np.testing.assert_array_equal(complete_labels(np.zeros_like(labels), found) > 0, np.isin(found, [1, 2, 3, 6]))


def test_labels_without_any_cell_left_out_stay() -> None:
    labels = np.zeros((40, 40), np.uint32)
    labels[5:30, 5:30] = 3
    np.testing.assert_array_equal(complete_labels(labels, labels), labels)


def write_data(folder: Path) -> Path:
    """Write an image of each of two sources, with one of two cells labelled, and masks that hold both."""
    for name in ("images", "labels", "masks"):
        (folder / name).mkdir(parents=True)
    both = np.zeros((64, 64), np.uint32)
    both[5:25, 5:25], both[35:55, 35:55] = 1, 2
    rows = [["image", "source", "modality"]]
    for name, source in (("a", "smears"), ("b", "tissue")):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.where(both > 0, 200, 20).astype(np.uint8))
        write_labels(folder / "labels" / f"{name}_label.tiff", np.where(both == 1, 1, 0))
        write_labels(folder / "masks" / f"{name}_label.tiff", both)
        rows.append([f"{name}.png", source, "brightfield"])
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *sources: str, masks: str = "masks") -> None:
    command = ["complete", "--data", folder, "--masks", folder / masks, "--sources", *sources, "-o", folder / "new"]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    main()


def test_a_folder_is_trained_on_with_complete_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "data")
    run(monkeypatch, data, "smears")
    samples = {sample.source: sample for sample in load_samples(data / "new", tmp_path / "cache")}
    assert {source: int(sample.labels.max()) for source, sample in samples.items()} == {
        "smears/brightfield": 2,
        "tissue/brightfield": 1,
    }
    assert read_labels(data / "labels" / "a_label.tiff").max() == 1


@pytest.mark.parametrize(
    ("sources", "masks", "complaint"),
    [
        (("smears", "marrow"), "masks", "no image of the sources marrow"),
        (("smears",), "images", "holds no mask of a.png"),
    ],
)
def test_what_is_missing_is_said(
    sources: tuple[str, ...], masks: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = write_data(tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, data, *sources, masks=masks)
    assert complaint in capsys.readouterr().err
    assert not (data / "new").exists()


def test_a_folder_that_is_there_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path)
    (data / "new").mkdir()
    with pytest.raises(SystemExit):
        run(monkeypatch, data, "smears")
    assert "is there already" in capsys.readouterr().err
    assert not list((data / "new").iterdir())


def test_masks_of_another_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path)
    write_labels(data / "masks" / "a_label.tiff", np.zeros((20, 20), np.uint32))
    with pytest.raises(SystemExit):
        run(monkeypatch, data, "smears")
    assert "a.png: labels of shape (64, 64), found cells of shape (20, 20)" in capsys.readouterr().err
    assert not (data / "new").exists()
