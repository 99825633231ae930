"""Average precision: by hand, against pycocotools, and from the files beside masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mosaicell.evaluation.average_precision import (
    IOU_THRESHOLDS,
    Detections,
    average_precisions,
    detect_cells,
    nothing_detected,
    read_scores,
    summarise_precision,
)
from mosaicell.evaluation.score import main
from tests.test_matching import disturb, scribble
from tests.test_score import grid_of_cells


def detections(n_truth: int, scores: list[float], matched: list[bool]) -> Detections:
    """Make an image whose matches are the same at all thresholds."""
    return Detections(n_truth, np.array(scores), np.tile(np.array(matched, bool), (len(IOU_THRESHOLDS), 1)))


def draw_image(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[int, float]]:
    """Draw a true and a predicted label image, with scores of which many are equal."""
    truth = np.kron(scribble(rng, (12, 15), int(rng.integers(0, 25))), np.ones((4, 4), np.uint32))
    prediction = disturb(rng, truth)
    ids = np.unique(prediction[prediction > 0]).tolist()
    return truth, prediction, {number: float(rng.integers(1, 8)) / 8 for number in ids}


def test_perfect_masks_have_an_average_precision_of_one_whatever_their_scores() -> None:
    truth = grid_of_cells(7)
    scores = {number: 1 / number for number in range(1, 8)}
    np.testing.assert_array_equal(average_precisions([detect_cells(truth, truth, scores)]), np.ones(10))


def test_wrong_cells_cost_only_where_they_rank_before_right_ones() -> None:
    """By hand: two of two found; a wrong cell ranks last, between them, or first."""
    precisions = [
        average_precisions([detections(2, scores, [True, True, False])])[0]
        for scores in ([0.9, 0.8, 0.1], [0.9, 0.5, 0.6], [0.8, 0.7, 0.9])
    ]
    # recalls 0.00 to 0.50 are 51 of 101
    assert precisions == pytest.approx([1, (51 + 50 * 2 / 3) / 101, 2 / 3])


def test_recall_that_is_not_reached_has_no_precision() -> None:
    assert average_precisions([detections(4, [0.9], [True])])[0] == pytest.approx(26 / 101)


def test_cells_of_all_images_are_ranked_together() -> None:
    right, wrong = detections(1, [0.5], [True]), detections(1, [0.9], [False])
    assert average_precisions([right, wrong])[0] == pytest.approx(51 / 101 / 2)
    assert average_precisions([right, detections(1, [0.1], [False])])[0] == pytest.approx(51 / 101)


def test_the_surest_of_two_that_share_a_true_cell_takes_it() -> None:
    """Both halves have IoU 0.5 with it."""
    truth, halves = np.zeros((8, 8), np.int32), np.zeros((8, 8), np.int32)
    truth[2:6, 2:6], halves[2:4, 2:6], halves[4:6, 2:6] = 1, 1, 2
    for scores, expected in (({1: 0.2, 2: 0.7}, [False, True]), ({1: 0.7, 2: 0.7}, [True, False])):
        found = detect_cells(truth, halves, scores)
        assert found.matched[0].tolist() == expected
        assert not found.matched[1:].any()


def test_each_threshold_has_its_own_matches(rng: np.random.Generator) -> None:
    truth = np.zeros((30, 30), np.int32)
    truth[5:25, 5:25] = 3
    moved = np.roll(truth, 2, axis=0)  # IoU 18 / 22
    found = detect_cells(truth, moved, {3: 1.0})
    assert found.matched[:, 0].tolist() == [threshold <= 18 / 22 for threshold in IOU_THRESHOLDS]
    assert average_precisions([found]).sum() == 7


def test_nothing_to_find_has_no_average_precision_and_nothing_found_has_zero() -> None:
    assert np.isnan(average_precisions([nothing_detected(np.zeros((5, 5), int))])).all()
    assert (average_precisions([nothing_detected(grid_of_cells(3))]) == 0).all()


def test_scores_of_other_cells_are_refused() -> None:
    for scores in ({1: 0.5}, {1: 0.5, 2: 0.5, 3: 0.5}):
        with pytest.raises(ValueError, match="its mask has 2 cells"):
            detect_cells(grid_of_cells(2), grid_of_cells(2), scores)


@pytest.mark.consumers
@pytest.mark.parametrize("seed", range(8))
def test_it_equals_pycocotools(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation, rle = pytest.importorskip("pycocotools.cocoeval"), pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    images = [draw_image(rng) for _ in range(6)]
    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (truth, prediction, scores) in enumerate(images, 1):
        for number in np.unique(truth[truth > 0]):
            mask = truth == number
            entry = {"id": len(truths) + 1, "image_id": image, "category_id": 1, "iscrowd": 0, "area": int(mask.sum())}
            truths.append(entry | {"segmentation": rle.encode(np.asfortranarray(mask, np.uint8))})
        for number, score in scores.items():
            mask = np.asfortranarray(prediction == number, np.uint8)
            results.append({"image_id": image, "category_id": 1, "score": score, "segmentation": rle.encode(mask)})
    known = coco.COCO()
    known.dataset = {
        "info": {},
        "images": [{"id": image, "height": 48, "width": 60} for image in range(1, len(images) + 1)],
        "annotations": truths,
        "categories": [{"id": 1}],
    }
    known.createIndex()
    judged = evaluation.COCOeval(known, known.loadRes(results), "segm")
    judged.params.iouThrs = np.array(IOU_THRESHOLDS)
    judged.params.maxDets = [10_000]
    judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
    judged.evaluate()
    judged.accumulate()
    expected = judged.eval["precision"][:, :, 0, 0, 0].mean(axis=1)
    ours = average_precisions([detect_cells(*image) for image in images])
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    assert 0 < ours.mean() < 1


def test_modalities_have_rows_of_their_own() -> None:
    images = [
        ("phase", detections(1, [0.5], [True])),
        ("", detections(2, [0.9, 0.8], [False, False])),
        ("empty", nothing_detected(np.zeros((3, 3), int))),
    ]
    rows = summarise_precision(images)
    assert [row[:2] for row in rows] == [("empty", "1"), ("phase", "1"), ("all", "3")]
    assert rows[0][2:] == ("-", "-", "-", "0", "0")
    assert rows[1][2:] == ("1.0000", "1.0000", "1.0000", "1", "1")
    assert rows[2][5:] == ("3", "3")


def write_mask(folder: Path, name: str, labels: np.ndarray, table: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}_label.tiff"
    tifffile.imwrite(path, labels)
    if table is not None:
        (folder / f"{name}_cells.csv").write_text(table, encoding="utf-8")
    return path


def test_scores_are_read_from_the_table_beside_a_mask(tmp_path: Path) -> None:
    path = write_mask(tmp_path, "a.b", grid_of_cells(2), "label,area_px,likelihood\n1,36,0.25\n2,36,1e-3\n")
    assert read_scores(path) == {1: 0.25, 2: 0.001}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "there is no a_cells.csv beside the mask"),
        ("", "lacks the column"),
        ("label,area_px\n1,36\n", "lacks the column"),
        ("label,likelihood\n1,0.5\n2,\n", "line 3: no id or no likelihood"),
        ("label,likelihood\n1\n", "line 2: no id or no likelihood"),
        ("label,likelihood\none,0.5\n", "line 2: no id or no likelihood"),
    ],
)
def test_tables_that_cannot_be_used_are_named(table: str | None, message: str, tmp_path: Path) -> None:
    path = write_mask(tmp_path, "a", grid_of_cells(2), table)
    with pytest.raises(ValueError, match=message):
        read_scores(path)


def test_the_command_prints_a_second_table_and_counts_what_has_no_scores_as_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, masks = tmp_path / "truth", tmp_path / "masks"
    for name in "abc":
        write_mask(truth, name, grid_of_cells(2))
    write_mask(masks, "a", grid_of_cells(2), "label,likelihood\n1,0.9\n2,0.8\n")
    write_mask(masks, "b", grid_of_cells(2))
    assert main(["-g", str(truth), "-s", str(masks), "--ap"]) == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[2].startswith("| 0.5 | all | 3 | 0.6667 |")
    assert lines[4].startswith("| images | number | AP 0.50:0.95 |")
    # a third of the cells is found without an error
    assert lines[6] == f"| all | 3 | {34 / 101:.4f} | {34 / 101:.4f} | {34 / 101:.4f} | 6 | 2 |"
    assert "b_label.tiff: nothing found, for the average precision: there is no b_cells.csv" in printed.err
    assert "c_label.tiff: counted as 0" in printed.err
