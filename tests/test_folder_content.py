"""Images that are folders through the run: found, told from others, done again when they change."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mosaicell.errors import OptionError
from mosaicell.machine.limits import SLIDE_FROM_PX
from mosaicell.options import Options
from mosaicell.reading.enclosure import open_anywhere
from mosaicell.runs.folder_content import digest_folder, measure_folder
from mosaicell.runs.inputs import Search, find_images
from mosaicell.runs.run import run
from mosaicell.writing.masks import read_labels
from mosaicell.writing.ome_zarr import write_ome_zarr
from tests.ngff_files import write_image
from tests.toys import draw_discs, write_discs, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


def segment(weights: Path, source: Path, **more: Any) -> int:
    given = {"weights_path": weights, "device": "cpu", "threads": 1}
    return run(Options(source, weights.parent / "out", **given, **more))  # type: ignore[arg-type]


def names(found: list[Any]) -> list[str]:
    return [source.name for source in found]


def test_a_folder_of_zarr_is_one_image(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_image(folder / "a.ome.zarr", draw_discs(3), "yx", "0.5")
    write_image(folder / "b.zarr", np.stack([draw_discs(2)] * 3), "tyx", "0.4")
    write_discs(folder / "c.png", 1)
    assert segment(weights, folder, overlay=True, table=True, ome_zarr=True) == 0
    cells = {path.name: int(read_labels(path).max()) for path in (tmp_path / "out").glob("*_label.tiff")}
    assert cells == {"a.ome_label.tiff": 3, "b_label.tiff": 2, "c_label.tiff": 1}
    table = (tmp_path / "out" / "a.ome_cells.csv").read_text().splitlines()
    assert "area_um2" in table[0]
    assert len(table) == 4


@pytest.mark.slow
def test_a_slide_has_the_cells_of_the_same_slide_in_tiff(weights: Path, tmp_path: Path) -> None:
    slide = draw_discs(50, 25)
    assert slide.size > SLIDE_FROM_PX
    write_image(tmp_path / "in" / "a.zarr", slide, "yx", "0.5", side_px=200, shards=(600, 600))
    tifffile.imwrite(tmp_path / "in" / "b.tif", slide, tile=(256, 256), compression="zlib")
    assert segment(weights, tmp_path / "in") == 0
    first, second = (read_labels(tmp_path / "out" / f"{name}_label.tiff") for name in "ab")
    assert first.max() == 50 * 25
    np.testing.assert_array_equal(first, second)


def test_it_may_be_named_itself_and_its_parts_too(weights: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.zarr" / "A" / "1", draw_discs(2), "yx")
    assert segment(weights, tmp_path / "in" / "a.zarr" / "A" / "1") == 0
    assert read_labels(tmp_path / "out" / "1_label.tiff").max() == 2
    given = {"weights_path": weights, "device": "cpu"}
    with pytest.raises(OptionError, match="folder of the input"):
        run(Options(tmp_path / "in" / "a.zarr", tmp_path / "in", **given))  # type: ignore[arg-type]


def test_a_folder_without_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_image(tmp_path / "a.zarr", draw_discs(2), "yx"))
    for path in (Path(), write_image(tmp_path / ".a.zarr", draw_discs(2), "yx")):
        with pytest.raises(OptionError, match="gives its mask no name"):
            find_images((path,), Search())


def test_what_a_folder_holds_is_not_searched(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", draw_discs(2), "yx")
    write_discs(tmp_path / "a.zarr" / "thumbnail.png")
    (tmp_path / "x").mkdir()
    write_image(tmp_path / "x" / "b.zarr", draw_discs(2), "yx")
    assert names(find_images((tmp_path,), Search(recursive=True)).images) == ["a.zarr", "x/b.zarr"]
    assert names(find_images((tmp_path,), Search(recursive=True, include=("b*",))).images) == ["x/b.zarr"]


def test_labels_of_an_earlier_run_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ome_zarr(tmp_path / "a.zarr", [np.ones((30, 40), np.uint32)])
    with caplog.at_level(logging.WARNING):
        found = find_images((tmp_path,), Search())
    assert (found.images, found.left_out) == ([], 1)
    assert "a.zarr: labels of an image, left out" in caplog.text


def test_a_link_to_a_folder_elsewhere_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "other" / "a.zarr", draw_discs(2), "yx")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zarr").symlink_to(tmp_path / "other" / "a.zarr")
    found = find_images((tmp_path / "in",), Search())
    assert (names(found.images), [source.name for source in found.refused]) == ([], ["a.zarr"])
    assert names(find_images((tmp_path / "in",), Search(follow_links=True)).images) == ["a.zarr"]


def test_it_is_done_again_when_a_chunk_changes(weights: Path, tmp_path: Path) -> None:
    folder = write_image(tmp_path / "in" / "a.zarr", draw_discs(2), "yx")
    mask = tmp_path / "out" / "a_label.tiff"
    assert segment(weights, tmp_path / "in", skip_existing=True) == 0
    first = mask.stat().st_ino
    assert segment(weights, tmp_path / "in", skip_existing=True) == 0
    assert mask.stat().st_ino == first
    write_image(folder, draw_discs(1, 1).repeat(2, axis=1), "yx", overwrite=True)
    assert segment(weights, tmp_path / "in", skip_existing=True) == 0
    assert read_labels(mask).max() == 1


def test_a_folder_that_is_no_image_fails_alone(weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in" / "a.zarr").mkdir(parents=True)
    write_discs(tmp_path / "in" / "b.png", 2)
    assert segment(weights, tmp_path / "in") == 1
    assert "a.zarr: is no image: the folder holds neither zarr.json nor .zattrs" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b_label.tiff"]


def test_bytes_and_time_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"123")
    (tmp_path / "d").write_bytes(b"4567")
    assert measure_folder(tmp_path)[0] == 7
    assert measure_folder(tmp_path)[1] == max(path.stat().st_mtime_ns for path in tmp_path.rglob("[cd]"))
    before = digest_folder(tmp_path, open_anywhere).digest()
    (tmp_path / "d").write_bytes(b"4568")
    assert digest_folder(tmp_path, open_anywhere).digest() != before
