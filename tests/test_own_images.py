"""What is kept from a training to compare on, and which share of the new weights is taken."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.errors import OptionError
from mosaicell.segmenter import Segmenter
from mosaicell.training.folder import list_images, read_pair
from mosaicell.training.own_images import OwnImage, answer_all, choose_share, hold_out, lay_out, mean_fit
from mosaicell.training.pairs import find_pairs
from tests.toys import draw_discs, write_weights


@pytest.fixture
def images(tmp_path: Path) -> list[OwnImage]:
    """Three and five bright discs, the second labelled with one disc too few."""
    (tmp_path / "in").mkdir()
    for name, count, labelled in (("a", 3, 3), ("b", 5, 4)):
        pixels = draw_discs(count)
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), pixels)
        _, labels = cv2.connectedComponents((pixels > 100).astype(np.uint8))
        labels[labels > labelled] = 0
        cv2.imwrite(str(tmp_path / "in" / f"{name}_masks.png"), labels.astype(np.uint16))
    return [OwnImage(pair) for pair in find_pairs(tmp_path / "in")]


def test_images_are_scored_by_what_the_system_answers(images: list[OwnImage], tmp_path: Path) -> None:
    segmenter = Segmenter(weights=write_weights(tmp_path / "weights"), device="cpu", threads=1)
    answers = answer_all(images, segmenter)
    assert [answer.scores for answer in answers] == [(1.0, 1.0), (pytest.approx(8 / 9),) * 2]
    assert answers[0].models == ("awf-fluorescence", "omnipose")


def test_images_are_laid_out_as_a_training_reads_them(images: list[OwnImage], tmp_path: Path) -> None:
    folder = lay_out(images, tmp_path / "data")
    paths = list_images(folder)
    assert [path.name for path in paths] == ["a.png", "b.png"]
    for path, image in zip(paths, images, strict=True):
        np.testing.assert_array_equal(read_pair(folder, path)[1], image.labels)


def test_an_image_without_a_labelled_cell_is_refused(images: list[OwnImage], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in" / "a_masks.png"), np.zeros((120, 180), np.uint16))
    with pytest.raises(OptionError, match=r"a_masks\.png holds no cell"):
        OwnImage(find_pairs(tmp_path / "in")[0])


@pytest.mark.parametrize(
    ("f1", "kept"),
    [
        ([0.9, 0.1, 0.5], [2]),
        ([0.5, 0.5, 0.5], [1]),
        ([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6], [3, 4]),
        ([0.5] * 12, [2, 6, 10]),
    ],
)
def test_a_quarter_is_kept_over_easy_and_hard_images(f1: list[float], kept: list[int]) -> None:
    assert hold_out(f1) == kept


@pytest.mark.parametrize(
    ("after", "share"),
    [
        ({1.0: 0.80, 0.7: 0.75, 0.4: 0.70}, 1.0),
        # nearly as good with less of the new weights
        ({1.0: 0.80, 0.7: 0.795, 0.4: 0.70}, 0.7),
        ({1.0: 0.50, 0.7: 0.61, 0.4: 0.65}, 0.4),
        # the best gains enough, the smaller share does not
        ({1.0: 0.607, 0.7: 0.604, 0.4: 0.5}, 1.0),
        ({1.0: 0.605, 0.7: 0.604, 0.4: 0.6}, 0.0),
        ({1.0: 0.3, 0.7: 0.4, 0.4: 0.5}, 0.0),
    ],
)
def test_the_smallest_share_that_is_about_the_best_is_taken_if_it_is_better(
    after: dict[float, float], share: float
) -> None:
    assert choose_share(0.6, after) == share


def test_versions_are_compared_by_f1_at_many_overlaps(images: list[OwnImage], tmp_path: Path) -> None:
    segmenter = Segmenter(weights=write_weights(tmp_path / "weights"), device="cpu", threads=1)
    answers = answer_all(images, segmenter)
    assert [answer.fit for answer in answers] == [1.0, pytest.approx(8 / 9)]
    assert mean_fit(answers) == pytest.approx(17 / 18)
    # a cell that fits badly counts for something, though it is not found at any of the thresholds that are printed
    one = images[0]
    one.labels = np.where(one.labels == 1, one.labels, 0)
    half = one.labels.copy()
    rows = np.flatnonzero(half.any(axis=1))
    half[rows[: rows.size * 3 // 5]] = 0
    one.labels = half
    answer = one.answer(segmenter)
    assert answer.scores == (0.0, 0.0)
    assert 0 < answer.fit < 0.5
