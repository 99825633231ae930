"""The benchmark of whole slides: what is drawn, how seams are counted, what is measured and said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from benchmarks import command, scenery, seams, slide, slides
from benchmarks.command import Measurement, measure_program
from benchmarks.scenery import KIND, LEVEL_PERCENTILES, draw_scenery
from benchmarks.seams import Comparison, Crossing, compare_seams, count_crossing
from benchmarks.slide import SlideResult, find_misses, format_table, main
from benchmarks.slides import Relief, draw_rows, write_slide
from mosaicell.answers import slide as bands
from mosaicell.evaluation.contestant import Usage
from mosaicell.networks.tiling import is_empty
from mosaicell.networks.views import Views
from mosaicell.reading.images import mask_name, read_image, read_labels, write_labels
from mosaicell.reading.pixels import ArrayPixels

Shape = tuple[int, int]


@pytest.fixture(autouse=True)
def small_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay small slides out as large ones are: many fields, of few scenes."""
    monkeypatch.setattr(slides, "FIELD_PX", 150)
    monkeypatch.setattr(scenery, "SCENE_PX", 240)
    monkeypatch.setattr(scenery, "SCENES", 3)
    monkeypatch.setattr(slides, "TILE_PX", 64)


def draw(shape: Shape, kind: str = KIND, seed: int = 0, glass: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Draw all rows of a slide: pixels (y, x, c) and labels (y, x)."""
    pixels, labels = zip(*draw_rows(shape, draw_scenery(kind, seed), glass), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def squares(*corners: Shape, side: int = 10, shape: Shape = (100, 120)) -> np.ndarray:
    """Label image of squares with these upper left corners, ids in their order."""
    labels = np.zeros(shape, np.uint32)
    for label, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = label
    return labels


# drawing


def test_the_same_seed_draws_the_same_slide() -> None:
    pixels, labels = draw((400, 330))
    again = draw((400, 330))
    np.testing.assert_array_equal(pixels, again[0])
    np.testing.assert_array_equal(labels, again[1])
    assert not np.array_equal(labels, draw((400, 330), seed=1)[1])


@pytest.mark.parametrize("shape", [(32, 500), (433, 517), (700, 150)])
def test_a_slide_has_the_shape_asked_for_and_whole_cells(shape: Shape) -> None:
    pixels, labels = draw(shape, glass=0.0)
    assert (pixels.shape, pixels.dtype) == ((*shape, 1), np.uint8)
    assert (labels.shape, labels.dtype) == (shape, np.uint32)
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    # the slide's border may cut a cell in two; nothing else may
    for label, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if all(side.start > 0 and side.stop < length for side, length in zip(box, shape, strict=True)):
            assert ndimage.label(labels[box] == label)[1] == 1


def test_cells_reach_over_the_borders_of_fields() -> None:
    _, labels = draw((450, 450), glass=0.0)
    borders = ([150, 300], [150, 300])
    assert count_crossing(labels, labels, borders).cells >= 15


def test_cells_are_where_their_labels_are() -> None:
    pixels, labels = draw((450, 600))
    ground = pixels[cv2.dilate((labels > 0).astype(np.uint8), np.ones((9, 9))) == 0]
    assert pixels[labels > 0].mean() > ground.mean() + 20
    # seen one by one: each is brighter than the ground
    brightness = ndimage.mean(pixels[..., 0], labels, np.arange(1, labels.max() + 1))
    assert (brightness > np.median(ground) + 3).mean() > 0.98


def test_glass_shows_nothing_to_the_program() -> None:
    """Tiles of glass are left out by it; where there is none it looks at every tile."""
    drawn = draw_scenery()

    def empty_share(glass: float) -> float:
        pixels, labels = (np.concatenate(part) for part in zip(*draw_rows((640, 640), drawn, glass), strict=True))
        tiles = [(slice(y, y + 64), slice(x, x + 64)) for y in range(0, 640, 64) for x in range(0, 640, 64)]
        views = Views(ArrayPixels(pixels))
        whole = views.at(1.0, (1.0, 99.0))
        empty = [tile for tile in tiles if is_empty(whole[:, *tile])]
        assert not any(labels[tile].any() for tile in empty)
        return len(empty) / len(tiles)

    assert empty_share(0.0) == 0
    assert 0.25 < empty_share(0.5) < 0.55


def test_dense_and_sparse_lie_alike_on_slides_of_all_sizes() -> None:
    small, large = (Relief(shape, np.random.default_rng(3), 0.2) for shape in ((400, 500), (4000, 5000)))
    for y, x in ((40, 100), (200, 250), (360, 150)):
        assert small.density(y, x) == large.density(10 * y, 10 * x)
    heights = small.heights(np.arange(400.0), np.arange(500.0))
    assert (heights < small.shore).mean() == pytest.approx(0.2, abs=0.01)


def test_few_rows_are_held_at_a_time() -> None:
    heights = [len(labels) for _, labels in draw_rows((1000, 200), draw_scenery())]
    assert sum(heights) == 1000
    assert max(heights) <= slides.FIELD_PX + slides.REACH_PX


@pytest.mark.parametrize("kind", ["fluorescence_cells", "brightfield_tissue", "phase_layer"])
def test_scenes_go_from_sparse_to_dense_under_one_camera(kind: str) -> None:
    drawn = draw_scenery(kind)
    assert len({pixels.shape[2] for pixels in drawn.pixels}) == 1
    filled = [np.count_nonzero(labels) for labels in drawn.labels]
    assert filled == sorted(filled)
    levels = np.array([np.percentile(pixels, LEVEL_PERCENTILES) for pixels in drawn.pixels])
    assert np.ptp(levels, axis=0).max() <= 3


@pytest.mark.parametrize("kind", [KIND, "brightfield_tissue"])
@pytest.mark.parametrize("shape", [(128, 192), (200, 333)])
def test_the_file_is_tiled_and_compressed_and_holds_what_was_drawn(tmp_path: Path, kind: str, shape: Shape) -> None:
    truth = np.zeros(shape, np.uint32)
    cells = write_slide(tmp_path / "slide.tif", shape, draw_scenery(kind), 0.0, truth)
    pixels, labels = draw(shape, kind, glass=0.0)
    np.testing.assert_array_equal(read_image(tmp_path / "slide.tif").pixels, pixels)
    np.testing.assert_array_equal(truth, labels)
    assert cells == labels.max()
    with tifffile.TiffFile(tmp_path / "slide.tif") as file:
        page = file.pages.first
        assert (page.is_tiled, page.compression) == (True, tifffile.COMPRESSION.ADOBE_DEFLATE)
        assert (page.tilelength, page.tilewidth) == (64, 64)


# seams


def test_equal_cells_do_not_differ_whatever_their_ids() -> None:
    # across a row, across a column, beside both, across both
    labels = squares((45, 20), (10, 55), (40, 40), (46, 57))
    other = np.array([0, 3, 1, 4, 2], np.uint32)[labels]
    assert count_crossing(labels, other, ([50], [60])) == Crossing(3, 0, 0)


def test_a_cell_that_only_touches_a_seam_does_not_cross_it() -> None:
    labels = squares((40, 20), (50, 40))
    assert count_crossing(labels, labels, ([50], [])).cells == 0
    assert count_crossing(labels, labels, ([49, 51], [])).cells == 2


def test_a_cut_cell_differs() -> None:
    whole = squares((45, 20), (45, 60))
    blocks = whole.copy()
    blocks[50:55, 20:30] = 3
    assert count_crossing(whole, blocks, ([50], [])) == Crossing(2, 1, 0)
    # the pieces cross no seam any more
    assert count_crossing(blocks, whole, ([50], [])) == Crossing(1, 0, 0)


def test_a_missing_cell_differs_on_one_side_only() -> None:
    whole, blocks = squares((45, 20), (45, 60)), squares((45, 20))
    assert count_crossing(whole, blocks, ([50], [])) == Crossing(2, 1, 0)
    assert count_crossing(blocks, whole, ([50], [])) == Crossing(1, 0, 0)
    empty = np.zeros_like(whole)
    assert count_crossing(empty, whole, ([50], [])) == Crossing(0, 0, 0)
    assert count_crossing(whole, empty, ([50], [])).differing_fraction == 1
    assert count_crossing(empty, whole, ([50], [])).differing_fraction == 0


def test_a_pixel_more_is_a_near_match() -> None:
    whole = squares((45, 20), (45, 60), (5, 5))
    blocks = whole.copy()
    blocks[55, 20] = 1
    blocks[15:20, 5:15] = 3
    for one, other in ((whole, blocks), (blocks, whole)):
        assert count_crossing(one, other, ([50], [])) == Crossing(2, 1, 1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a small image a slide of many blocks."""
    monkeypatch.setattr(bands, "CORE_PX", (150, 200))
    monkeypatch.setattr(bands, "MAX_CORE_PX", (300, 400))
    monkeypatch.setattr(seams, "COMPARED_PX", 200_000)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("margin_px", [64, 0])
def test_the_program_decodes_in_blocks_as_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, margin_px: int
) -> None:
    """And without margins, cells that cross seams differ: the comparison sees it."""
    monkeypatch.setattr(bands, "MARGIN_PX", margin_px)
    monkeypatch.setattr(bands, "MAX_MARGIN_PX", margin_px)
    write_slide(tmp_path / "slide.tif", (500, 640), draw_scenery(), 0.0)
    compared = compare_seams(tmp_path / "slide.tif", ("awf-fluorescence", "omnipose"), 1)
    assert compared.shape_px == (395, 505)
    assert compared.blocks == (3, 3)
    assert compared.whole.cells >= 20
    if margin_px:
        assert compared.whole == compared.in_blocks
        assert compared.differing_fraction == 0
    else:
        assert compared.differing_fraction > 0.5


# the run of the program


def write_program(path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a script in the place of predict.py."""
    path.write_text(f"import sys, pathlib, json\nout = pathlib.Path(sys.argv[sys.argv.index('-o') + 1])\n{body}\n")
    monkeypatch.setattr(command, "PROGRAM", path)


def test_a_run_is_measured_with_what_its_report_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {
        "cells": 3,
        "cells_by_branch": {"a": 1, "b": 2},
        "seconds": {"read": 0.001, "network": 0.002, "total": 0.003},
    }
    report = {"threads": 2, "images": [record]}
    expected = "assert sys.argv[1:4] == ['--report', '--device', 'cpu']"
    write = f"(out / 'run.json').write_text({json.dumps(report)!r})"
    work = "held = b'x' * 50_000_000\nimport time\nwhile time.process_time() < 0.3: pass"
    write_program(tmp_path / "fake.py", monkeypatch, f"{expected}\n{write}\n{work}")
    found = measure_program(tmp_path / "a.b.tif", tmp_path / "masks")
    assert (found.cells, found.branches, found.threads) == (3, ("a", "b"), 2)
    assert found.stages_s == {"read": 0.001, "network": 0.002}
    assert found.rest_s == pytest.approx(found.wall_s - 0.003)
    assert found.peak_ram_bytes > 50_000_000
    assert found.cpu_s > 0.25
    assert found.mask == tmp_path / "masks" / "a_label.tiff"


def test_a_failed_run_is_named_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "fake.py", monkeypatch, "print('no luck', flush=True)\nsys.exit(1)")
    with pytest.raises(RuntimeError, match=r"ended with exit code 1 on a\.tif; it said: no luck"):
        measure_program(tmp_path / "a.tif", tmp_path / "masks")
    monkeypatch.setattr(command, "TIMEOUT_S", 0.2)
    write_program(tmp_path / "fake.py", monkeypatch, "import time\ntime.sleep(60)")
    with pytest.raises(RuntimeError, match=r"took longer than 0\.2 s"):
        measure_program(tmp_path / "a.tif", tmp_path / "masks")


def test_a_run_whose_memory_is_not_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.Command, "run", lambda *_: Usage(1.0, 0, False, None, None))
    with pytest.raises(RuntimeError, match=r"left no run\.json"):
        measure_program(tmp_path / "a.tif", tmp_path / "masks")
    (tmp_path / "masks" / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no /proc"):
        measure_program(tmp_path / "a.tif", tmp_path / "masks")


# the command

GOOD = SlideResult(
    shape_px=(10496, 8415),
    kind="fluorescence_nuclei",
    drawn=50_573,
    run=Measurement(
        wall_s=28.2,
        cpu_s=50.1,
        stages_s={"read": 0.3, "network": 21.7},
        peak_ram_bytes=1_530_000_000,
        threads=2,
        cells=50_391,
        branches=("awf-fluorescence", "omnipose"),
        mask=Path("mask"),
    ),
    f1=0.9931,
    seams=Comparison((5584, 4476), (6, 2), Crossing(1000, 1, 1), Crossing(1000, 1, 0)),
)


def test_the_table_has_every_figure_and_its_target() -> None:
    lines = format_table(GOOD).splitlines()
    assert lines[:2] == ["| what | result | target |", "| --- | ---: | ---: |"]
    assert all(re.fullmatch(r"\| [^|]+ \| [^|]+ \| [^|]*\|", line) for line in lines)
    cells = {
        what.strip(): (found.strip(), target.strip()) for what, found, target in (r.split("|")[1:4] for r in lines)
    }
    assert cells["drawn slide, fluorescence_nuclei"][0] == "10496 x 8415 px, 88.3 MP"
    assert cells["wall time from process start to end"] == ("28.2 s", "under 50 s on two cores")
    assert cells["of it network"][0] == "21.7 s"
    assert cells["of it the rest: process, imports, networks"][0] == "6.2 s"
    assert cells["CPU time"][0] == "50.1 s"
    assert cells["peak RSS, without pages of files"] == ("1.53 GB", "at most 4.00 GB")
    assert (cells["cells drawn"][0], cells["cells found"][0]) == ("50,573", "50,391")
    assert cells["F1 at IoU 0.5"][0] == "0.993"
    assert cells["compared in blocks and in one piece"][0] == "5584 x 4476 px, 6 x 2 blocks"
    assert cells["cells across seams, decoded in one piece"][0] == "1,000"
    assert cells["of these not the same in blocks"] == ("1 (0.10%), 1 of them nearly (IoU 0.9)", "at most 0.1%")
    assert cells["of these not the same in one piece"][0] == "1 (0.10%), 0 of them nearly (IoU 0.9)"


def test_a_missed_target_is_a_sentence() -> None:
    assert find_misses(GOOD) == []
    slow = replace(GOOD, run=replace(GOOD.run, wall_s=50.0, peak_ram_bytes=4_010_000_000))
    assert find_misses(slow) == [
        "The run took 50.0 s; the target is under 50 s on two cores.",
        "The run used 4.01 GB of RAM; the target is at most 4.00 GB.",
    ]
    lost, added = Crossing(1000, 2, 2), Crossing(500, 1, 0)
    for seams_found in (replace(GOOD.seams, whole=lost), replace(GOOD.seams, in_blocks=added)):
        assert find_misses(replace(GOOD, seams=seams_found)) == [
            "0.20% of the cells across seams differ from the whole image; the target is at most 0.1%."
        ]


@pytest.fixture
def fake_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in place that finds all cells but one, and a comparison where next to nothing differs."""

    def measure(image: Path, output: Path) -> Measurement:
        output.mkdir()
        labels = read_labels(image.with_name("truth_label.tiff"))
        labels[labels == labels.max()] = 0
        write_labels(output / mask_name(image), labels)
        return replace(GOOD.run, cells=int(labels.max()), mask=output / mask_name(image))

    monkeypatch.setattr(slide, "measure_program", measure)
    monkeypatch.setattr(slide, "compare_seams_apart", lambda *_: GOOD.seams)


@pytest.mark.usefixtures("fake_run")
def test_the_command_prints_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--shape", "300", "400", "--json", str(tmp_path / "r.json"), "--keep", str(tmp_path / "kept" / "here")]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "| 300 x 400 px, 0.1 MP |" in captured.out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["shape_px"] == [300, 400]
    assert found["cells_found"] == found["cells_drawn"] - 1 > 10
    assert 0.8 < found["f1"] <= 1
    assert f"| {found['f1']:.3f} |" in captured.out
    assert found["cpu_s"] == 50.1
    assert found["seconds"] == {"read": 0.3, "network": 21.7, "rest": pytest.approx(6.2)}
    assert found["seams"]["whole"] == {"cells": 1000, "differing": 1, "near": 1}
    assert found["missed"] == []
    kept = tmp_path / "kept" / "here"
    assert read_labels(kept / "truth_label.tiff").max() == found["cells_drawn"]
    assert read_image(kept / "slide.tif").pixels.shape == (300, 400, 1)


@pytest.mark.usefixtures("fake_run")
def test_a_missed_target_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(slide, "MOST_S", 20.0)
    assert main(["--shape", "100", "200", "--json", str(tmp_path / "r.json")]) == 1
    captured = capsys.readouterr()
    assert captured.err == "The run took 28.2 s; the target is under 20 s on two cores.\n"
    assert json.loads((tmp_path / "r.json").read_text())["missed"] == captured.err.splitlines()


def test_a_failed_run_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_program(tmp_path / "fake.py", monkeypatch, "sys.exit(3)")
    assert main(["--shape", "100", "200"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: fake.py ended with exit code 3 on slide.tif" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "31", "100"], "at least 32 px"),
        (["--shape", "100000", "100000"], "at most 1,000,000,000 px"),
        (["--shape", "100"], "expected 2 arguments"),
        (["--kind", "fluorescence_whale"], "invalid choice"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_program_finds_the_drawn_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From drawing to table, with the shipped weights and the comparison in its own process."""
    assert main(["--shape", "300", "400", "--json", str(tmp_path / "r.json")]) in (0, 1)
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["f1"] > 0.9
    assert found["peak_rss_bytes"] > 50_000_000
    assert {"read", "network", "decode", "write", "rest"} <= set(found["seconds"])
    assert sum(found["seconds"].values()) == pytest.approx(found["wall_s"])
    assert found["seams"]["shape_px"] == [300, 400]
    assert found["seams"]["differing_fraction"] == 0
    assert "| F1 at IoU 0.5 |" in capsys.readouterr().out
