"""A run folder: masks, run.json and timing.csv become one record for each image, whatever is missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.evaluation.metrics import Scores
from mosaicell.evaluation.records import ImageRecord, Run
from mosaicell.evaluation.run_folder import add_scores, count_cells, read_run
from mosaicell.evaluation.scored_masks import ScoredImage
from mosaicell.evaluation.timed_image import TimedImage, write_csv
from mosaicell.writing.masks import write_labels

ENTRY: dict[str, Any] = {
    "image": "a.png",
    "height": 30,
    "width": 40,
    "dtype": "uint8",
    "modality": "grey",
    "branch": "omnipose",
    "confidences": {"awf-grey": 0.7, "omnipose": 0.9},
    "cells_by_branch": {"awf-grey": 1, "omnipose": 2},
    "predicted_f1": 0.85,
    "scale": 0.5,
    "cells": 3,
    "notes": ["the alpha channel is dropped"],
    "seconds": {"read": 0.1, "network": 0.5, "total": 0.8},
}


def draw_labels(cells: int = 3, shape: tuple[int, int] = (30, 40)) -> np.ndarray:
    labels = np.zeros(shape, np.uint32)
    for cell in range(cells):
        labels[4 : 4 + 6, 8 * cell + 3 : 8 * cell + 9] = cell + 1
    return labels


def write_report(folder: Path, *entries: object, **settings: object) -> None:
    (folder / "run.json").write_text(json.dumps({**settings, "images": entries}))


def timed(name: str, **changes: Any) -> TimedImage:
    values: dict[str, Any] = {
        "seconds": (3.0, 1.0, 2.0),
        "shape": (30, 40),
        "peak_ram_bytes": 500_000_000,
        "peak_gpu_bytes": None,
        "exit_code": 0,
        "mask": "valid",
        "failure": "",
    }
    return TimedImage(name, **{**values, **changes})


def read_one(folder: Path) -> ImageRecord:
    run = read_run(folder, "run")
    assert run.problems == ()
    (image,) = run.images
    return image


def test_the_three_sources_of_an_image_become_one_record(tmp_path: Path) -> None:
    write_report(tmp_path, ENTRY, version="1.2", device="cpu", threads=2, elapsed_s=5.5, options={"system": "s"},
                 weights_sha256={"omnipose": "abc"})  # fmt: skip
    write_csv(tmp_path / "timing.csv", [timed("a.png")])
    write_labels(tmp_path / "a_label.tiff", draw_labels())
    run = read_run(tmp_path, "first")
    assert (run.name, run.folder, run.has_masks, run.elapsed_s) == ("first", tmp_path, True, 5.5)
    assert run.settings == {"version": "1.2", "device": "cpu", "threads": "2", "system": "s"}
    assert run.weights == {"omnipose": "abc"}
    image = read_one(tmp_path)
    assert (image.failures, image.skipped, image.pixels, image.cells) == ((), False, 1200, 3)
    assert (image.modality, image.branch, image.confidence, image.scale) == ("grey", "omnipose", 0.9, 0.5)
    assert (image.cells_by_branch, image.predicted_f1) == ({"awf-grey": 1, "omnipose": 2}, 0.85)
    assert (image.seconds, image.notes) == (ENTRY["seconds"], ("the alpha channel is dropped",))
    assert (image.wall_s, image.slowest_s, image.late_s, image.tolerance_s) == (2, 3, 0, 10)
    assert image.tolerance_share == pytest.approx(0.3)
    assert (image.ram_mb, image.gpu_mb, image.f1) == (500, None, None)


def test_an_empty_folder_is_an_empty_run(tmp_path: Path) -> None:
    assert read_run(tmp_path, "none") == Run("none", tmp_path)


def test_masks_alone_give_sizes_and_cells_and_nothing_else(tmp_path: Path) -> None:
    write_labels(tmp_path / "b_label.tiff", draw_labels(2))
    write_labels(tmp_path / "a_label.tiff", draw_labels(0))
    (tmp_path / ".a.12.part_label.tiff").write_bytes(b"half")
    run = read_run(tmp_path, "masks")
    assert run.images == tuple(
        ImageRecord(name, height=30, width=40, cells=cells) for name, cells in (("a", 0), ("b", 2))
    )


def test_a_report_alone_calls_no_mask_missing(tmp_path: Path) -> None:
    write_report(tmp_path, ENTRY)
    assert (read_one(tmp_path).failures, read_one(tmp_path).cells) == ((), 3)
    assert not read_run(tmp_path, "run").has_masks


def test_a_mask_that_is_missing_beside_others_is_a_failure_and_has_no_cells(tmp_path: Path) -> None:
    write_report(tmp_path, ENTRY, {"image": "b.png", "cells": 1})
    write_labels(tmp_path / "b_label.tiff", draw_labels(1))
    missing, present = read_run(tmp_path, "run").images
    assert (missing.failures, missing.cells) == (("no mask: a_label.tiff",), None)
    assert (present.failures, present.cells) == ((), 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the mask is empty: 0 bytes"),
        (b"neither", "the mask is no image"),
        (b"II*\0\x08\0\0\0", "the mask is cut short"),
    ],
)
def test_an_unreadable_mask_is_a_failure(tmp_path: Path, content: bytes, sentence: str) -> None:
    write_report(tmp_path, ENTRY)
    (tmp_path / "a_label.tiff").write_bytes(content)
    image = read_one(tmp_path)
    assert image.failures[0].startswith(sentence)
    assert image.cells is None


@pytest.mark.parametrize("is_there", [True, False])
def test_the_mask_of_a_split_slide_is_there_or_not_but_not_looked_into(tmp_path: Path, is_there: bool) -> None:
    slide = {"image": "slide.ome.zarr", "height": 30_000, "width": 40_000, "cells": 70_000, "mask": "slide.zarr"}
    write_report(tmp_path, ENTRY, slide)
    write_labels(tmp_path / "a_label.tiff", draw_labels())
    if is_there:
        (tmp_path / "slide.zarr").mkdir()
    image = read_run(tmp_path, "run").images[1]
    assert (image.name, image.pixels) == ("slide.ome.zarr", 1_200_000_000)
    assert image.failures == (() if is_there else ("no mask: slide_label.tiff",))
    assert image.cells == (70_000 if is_there else None)


def test_a_mask_of_another_size_is_a_failure(tmp_path: Path) -> None:
    write_report(tmp_path, ENTRY)
    write_labels(tmp_path / "a_label.tiff", draw_labels(shape=(40, 30)))
    assert read_one(tmp_path).failures == ("the mask is 40 x 30 pixels, the image 30 x 40",)


def test_the_cells_counted_are_those_of_the_mask(tmp_path: Path) -> None:
    write_report(tmp_path, {**ENTRY, "cells": 99}, {"image": "b.png", "skipped": True})
    for name in "ab":
        write_labels(tmp_path / f"{name}_label.tiff", draw_labels(2))
    first, second = read_run(tmp_path, "run").images
    assert (first.cells, second.cells, first.skipped, second.skipped) == (2, 2, False, True)


def test_failures_of_both_sources_are_told_once(tmp_path: Path) -> None:
    write_report(tmp_path, *({"image": name, "error": "is cut short"} for name in ("a.png", "b.png", "c.png")))
    (tmp_path / "timing.csv").write_text(
        "Img Name,Exit Code,Mask,Failure\n"
        "a.png,1,missing,is cut short\n"
        "b.png,1,missing,\n"
        "c.png,137,valid,\n"
        "d.png,0,is no TIFF,\n"
        "e.png,3,,\n"
        "f.png,0,valid,\n"
    )
    failures = {image.name[0]: image.failures for image in read_run(tmp_path, "run").images}
    assert failures == {
        "a": ("is cut short",),
        "b": ("is cut short", "no mask was written"),
        "c": ("is cut short", "the program ended with exit code 137"),
        "d": ("the mask is not valid: is no TIFF",),
        "e": ("the program ended with exit code 3",),
        "f": (),
    }


def test_of_two_images_with_one_mask_name_the_one_that_was_done_owns_the_mask(tmp_path: Path) -> None:
    entries = [{"image": "a.jpg", "error": "its mask would replace another"}, {**ENTRY, "cells": 99}]
    for order in (entries, entries[::-1]):
        write_report(tmp_path, *order)
        write_labels(tmp_path / "a_label.tiff", draw_labels())
        scored = ScoredImage("a_label.tiff", "", (Scores(0.5, 3, 3, 3, 1.0),))
        refused, done = add_scores(read_run(tmp_path, "run"), [scored]).images
        assert (refused.f1, done.f1) == (None, 1)
        assert (refused.name, refused.cells, len(refused.failures)) == ("a.jpg", None, 1)
        assert (done.name, done.cells, done.failures) == ("a.png", 3, ())


def test_masks_named_in_full_and_in_sub_folders_are_found(tmp_path: Path) -> None:
    write_report(
        tmp_path,
        {"image": "p.A1.png"},
        {"image": "p.A2.png", "mask": "p.A2_label.tiff"},
        {"image": "x/c.png", "mask": "x/c_label.tiff"},
        {"image": "d.png", "mask": "../d_label.tiff"},
    )
    (tmp_path / "x").mkdir()
    for cells, name in enumerate(("p.A1", "p.A2", "x/c"), start=1):
        write_labels(tmp_path / f"{name}_label.tiff", draw_labels(cells))
    scores = (Scores(0.5, 3, 3, 3, 1.0),)
    scored = [ScoredImage(f"{name}_label.tiff", "", scores) for name in ("p.A1", "p.A2")]
    run = add_scores(read_run(tmp_path, "run"), scored)
    assert {image.name: image.cells for image in run.images} == {
        "d.png": None,
        "p.A1.png": 1,
        "p.A2.png": 2,
        "x/c.png": 3,
    }
    assert [image.f1 for image in run.images] == [None, 1, 1, None]
    assert run.images[0].failures == ("no mask: d_label.tiff",)
    assert [image.key for image in run.images[1:3]] == ["p.A1_label.tiff", "p.A2_label.tiff"]


def test_the_truth_of_a_mask_named_in_full_may_be_named_up_to_the_first_dot(tmp_path: Path) -> None:
    write_report(tmp_path, {"image": "a.v2.png"})
    write_labels(tmp_path / "a.v2_label.tiff", draw_labels())
    (image,) = add_scores(
        read_run(tmp_path, "run"), [ScoredImage("a_label.tiff", "", (Scores(0.5, 3, 3, 3, 1.0),))]
    ).images
    assert (image.f1, image.cells, image.key) == (1, 3, "a_label.tiff")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "run.json cannot be read"),
        ("{", "run.json cannot be read"),
        ("\xff", "run.json cannot be read"),
        ("[" * 100_000, "run.json cannot be read"),
        ("[]", "run.json cannot be used: it holds a list, not an object"),
        ("null", "run.json cannot be used: it holds a NoneType, not an object"),
    ],
    ids=ascii,
)
def test_a_damaged_report_is_named_and_the_rest_is_read(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    write_labels(tmp_path / "a_label.tiff", draw_labels())
    run = read_run(tmp_path, "run")
    assert [image.cells for image in run.images] == [3]
    assert len(run.problems) == 1
    assert run.problems[0].startswith(problem)


def test_values_of_a_wrong_kind_are_not_known(tmp_path: Path) -> None:
    wrong: list[object] = [None, True, "x", [], {}, -1, float("nan"), float("inf"), 10**400]
    for value in wrong:
        entry = {"image": "a.png"} | dict.fromkeys(
            ("height", "width", "cells", "scale", "confidences", "seconds", "predicted_f1", "cells_by_branch"), value
        )
        write_report(tmp_path, entry, 7, None, {"image": value if value != "x" else ""}, elapsed_s=value, options=value,
                     weights_sha256=value)  # fmt: skip
        named = [image for image in read_run(tmp_path, "run").images if image.name == "a.png"]
        assert named == [ImageRecord("a.png")], value
        assert read_run(tmp_path, "run").elapsed_s is None
        assert read_run(tmp_path, "run").weights == {}


@pytest.mark.parametrize(
    ("value", "known"),
    [(0, 0), (0.5, 0.5), (1, 1), (1.0001, None), (2.0, None), (-0.1, None), (True, None), (None, None), ("high", None),
     (float("nan"), None), (float("inf"), None), ([0.5], None), ({}, None)],
    ids=str,
)  # fmt: skip
def test_a_predicted_f1_is_a_number_from_0_to_1_or_not_known(
    tmp_path: Path, value: object, known: float | None
) -> None:
    write_report(tmp_path, {**ENTRY, "predicted_f1": value})
    assert read_one(tmp_path).predicted_f1 == known


@pytest.mark.parametrize(("value", "known"), [(True, True), (False, False), (None, False), (1, False), ("yes", False)])
def test_an_image_is_doubtful_where_the_program_says_so(tmp_path: Path, value: object, known: bool) -> None:
    write_report(tmp_path, {**ENTRY, "doubtful": value})
    assert read_one(tmp_path).doubtful is known


def test_counts_of_cells_by_branch_that_are_none_are_left_out(tmp_path: Path) -> None:
    write_report(tmp_path, {**ENTRY, "cells_by_branch": {"a": 3, "b": "x", "c": -1, "d": 2**60, "e": None, "f": 0}})
    assert read_one(tmp_path).cells_by_branch == {"a": 3, "f": 0}


def test_a_name_that_can_have_no_mask_is_kept(tmp_path: Path) -> None:
    write_report(tmp_path, {"image": ".hidden.png"}, {"image": "../../a.png", "cells": 1})
    write_labels(tmp_path / "b_label.tiff", draw_labels())
    failures = {image.name: image.failures for image in read_run(tmp_path, "run").images}
    assert failures == {
        ".hidden.png": ("no mask: the name allows none",),
        "../../a.png": ("no mask: a_label.tiff",),
        "b": (),
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "timing.csv cannot be read: it has no column Img Name"),
        (b"Name,Tolerance\na.png,10\n", "timing.csv cannot be read: it has no column Img Name"),
        (b"Img Name\n" + b"x" * 200_000 + b"\n", "timing.csv cannot be read: field larger than field limit"),
    ],
    ids=["empty", "no name", "endless"],
)
def test_a_damaged_timing_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "timing.csv").write_bytes(content)
    run = read_run(tmp_path, "run")
    assert run.images == ()
    assert [text.startswith(problem) for text in run.problems] == [True]


def test_a_number_that_is_none_is_named_by_its_line_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "timing.csv").write_text(
        "Img Name, Real Running Time, Peak RAM MB, Height\n\na.png,1.5,,\nb.png,fast,7,nan\nc.png\n,1,1,1\n"
    )
    run = read_run(tmp_path, "run")
    assert [(image.name, image.wall_s, image.ram_mb, image.height) for image in run.images] == [
        ("a.png", 1.5, None, None),
        ("b.png", None, 7, None),
        ("c.png", None, None, None),
    ]
    assert run.problems == (
        "timing.csv, line 4: Real Running Time is 'fast', which is no number of 0 or more",
        "timing.csv, line 4: Height is 'nan', which is no number of 0 or more",
    )


def test_a_name_that_is_no_utf8_is_one_image_in_all_sources(tmp_path: Path) -> None:
    name = "caf\udce9.png"
    write_report(tmp_path, {**ENTRY, "image": name})
    write_csv(tmp_path / "timing.csv", [timed(name)])
    write_labels(tmp_path / "caf\udce9_label.tiff", draw_labels())
    image = read_one(tmp_path)
    assert (image.name, image.wall_s, image.cells, image.failures) == (name, 2, 3, ())


def test_truths_of_images_that_the_run_did_not_have_are_counted_and_left_out(tmp_path: Path) -> None:
    write_report(tmp_path, ENTRY)
    write_labels(tmp_path / "b_label.tiff", draw_labels())
    scores = (Scores(0.5, 4, 2, 2, 0.9), Scores(0.9, 4, 2, 1, 0.9))
    run = add_scores(read_run(tmp_path, "run"), [ScoredImage(f"{name}_label.tiff", "", scores) for name in "abcd"])
    assert [image.mask_name for image in run.images] == ["a_label.tiff", "b_label.tiff"]
    assert (run.other_truths, run.images[0].scores) == (2, scores)


def test_where_masks_are_all_that_is_known_the_images_given_decide_which_truths_count(tmp_path: Path) -> None:
    write_labels(tmp_path / "a_label.tiff", draw_labels())
    scored = [ScoredImage(f"{name}_label.tiff", "", (Scores(0.5, 4, 0, 0, 0.0),)) for name in "abc"]
    for given, names in ((None, ["a", "b", "c"]), ({"a_label.tiff", "b_label.tiff"}, ["a", "b"])):
        run = add_scores(read_run(tmp_path, "run"), scored, given)
        assert [image.name for image in run.images] == names
        assert run.other_truths == 3 - len(names)


def test_scores_reach_their_images_and_a_truth_without_one_adds_it_where_masks_are_all_that_is_known(
    tmp_path: Path,
) -> None:
    for name in "ab":
        write_labels(tmp_path / f"{name}_label.tiff", draw_labels())
    scores = (Scores(0.5, 4, 2, 2, 0.9),)
    run = add_scores(
        read_run(tmp_path, "run"),
        [
            ScoredImage("a_label.tiff", "phase-contrast", scores),
            ScoredImage("b_label.tiff", "", (Scores(0.5, 4, 0, 0, 0.0),), "counted as 0: the sizes differ"),
            ScoredImage("c_label.tiff", "", (Scores(0.5, 4, 0, 0, 0.0),), "counted as 0: no such file in /home/me"),
            ScoredImage("d_label.tiff", "", (), "left out, the truth cannot be read: is empty: 0 bytes"),
        ],
    )
    assert [(image.name, image.f1, image.listed_modality, image.failures) for image in run.images] == [
        ("a", pytest.approx(2 / 3), "phase-contrast", ()),
        ("b", 0, "", ("counted as 0: the sizes differ",)),
        ("c", 0, "", ("no mask: c_label.tiff",)),
    ]
    assert run.problems == ("the truth d_label.tiff: left out, the truth cannot be read: is empty: 0 bytes",)


def test_cells_are_counted_by_id() -> None:
    assert count_cells(np.zeros((3, 4), np.uint32)) == 0
    assert count_cells(draw_labels(3)) == 3
    gaps = draw_labels(3)
    gaps[gaps == 2] = 0
    assert count_cells(gaps) == 2
    # an id larger than the number of pixels takes another way
    assert count_cells(np.array([[0, 2**32 - 1], [5, 5]], np.uint32)) == 2
    assert count_cells(np.array([[2**32 - 1, 7]], np.uint32)) == 2
