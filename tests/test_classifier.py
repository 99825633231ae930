"""Windows of a classifier: they cover the image, keep the size of cells, and their answers are averaged.

`training/classifier.py` is tested in `tests/test_training_classifier.py`.
"""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.networks.classifier import ClassifierCard, classify, count_windows, cut_windows

CARD = ClassifierCard(input_px=16, reduction=2, most_windows=9, classes=("a", "b", "c", "d"))


@pytest.mark.parametrize("shape", [(32, 32), (33, 64), (20, 100), (1, 1), (5, 40), (300, 31)])
def test_windows_have_the_size_of_the_input(shape: tuple[int, int], rng: np.random.Generator) -> None:
    windows = cut_windows(rng.random((3, *shape), np.float32), CARD)
    rows, columns = count_windows(shape, CARD)
    assert windows.shape == (rows * columns, 3, 16, 16)
    assert windows.dtype == np.float32
    assert 0 <= windows.min() <= windows.max() <= 1


def test_an_image_as_large_as_a_window_is_averaged_in_blocks(rng: np.random.Generator) -> None:
    image = rng.random((3, 32, 32), np.float32)
    (window,) = cut_windows(image, CARD)
    np.testing.assert_allclose(window, image.reshape(3, 16, 2, 16, 2).mean((2, 4)), atol=1e-6)


def test_windows_cover_the_image() -> None:
    height, width = 70, 95
    y, x = np.mgrid[:height, :width].astype(np.float32)
    windows = cut_windows(np.stack([y, x, y]), CARD)
    assert len(windows) == 9
    # the mean place of a pair of pixels lies half a pixel from each
    assert {0.5, height - 1.5} <= set(windows[:, 0].ravel().tolist())
    assert {0.5, width - 1.5} <= set(windows[:, 1].ravel().tolist())
    seen = np.zeros((height, width), bool)
    for window in windows:
        top, left = (int(window[plane].min() - 0.5) for plane in (0, 1))
        seen[top : top + 32, left : left + 32] = True
    assert seen.all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((32, 32), (1, 1)), ((33, 32), (2, 1)), ((96, 96), (3, 3)), ((500, 500), (3, 3)), ((32, 5000), (1, 9)),
     ((1, 1), (1, 1)), ((70, 2000), (1, 9)), ((200, 64), (4, 2)), ((130, 150), (3, 3)), ((120, 150), (3, 3))],
)  # fmt: skip
def test_there_are_as_many_windows_as_cover_it_but_no_more_than_allowed(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert count_windows(shape, CARD) == expected


def test_a_small_image_is_mirrored_and_not_enlarged() -> None:
    image = np.zeros((3, 12, 12), np.float32)
    image[:, 4:8, 4:8] = 1
    (window,) = cut_windows(image, CARD)
    # as large as in any other image: two of sixteen pixels, in the middle
    np.testing.assert_array_equal(window[0, 7:9, 7:9], 1)
    assert window[0, 5:11, 5:11].sum() == 4
    # and once more in each direction
    assert window[0].sum() > 4


def test_mirroring_an_image_mirrors_its_windows(rng: np.random.Generator) -> None:
    image = rng.random((3, 70, 100), np.float32)
    rows, columns = count_windows(image.shape[1:], CARD)
    plain = cut_windows(image, CARD).reshape(rows, columns, 3, 16, 16)
    mirrored = cut_windows(image[:, ::-1], CARD).reshape(rows, columns, 3, 16, 16)
    # those at the edges, as the middle may lie half a pixel beside
    np.testing.assert_allclose(mirrored[0][..., ::-1, :], plain[-1], atol=1e-6)


def test_answers_are_averaged_over_windows(rng: np.random.Generator) -> None:
    image = rng.random((3, 40, 150), np.float32)
    seen = []

    def run_model(windows: np.ndarray) -> np.ndarray:
        seen.append(windows)
        logits = windows.mean((2, 3)) @ rng.random((3, 4), np.float32)
        return logits / logits.sum(1, keepdims=True)

    probabilities = classify(image, run_model, CARD)
    assert probabilities.shape == (4,)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1)
    np.testing.assert_array_equal(seen[0], cut_windows(image, CARD))

    def alternate(windows: np.ndarray) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[np.arange(len(windows)) % 2]

    count = len(cut_windows(image, CARD))
    np.testing.assert_allclose(
        classify(image, alternate, CARD), [-(-count // 2) / count, count // 2 / count, 0, 0], rtol=1e-6
    )
