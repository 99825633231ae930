"""Proposals: the surest boxes that do not lie on each other, so many at most."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess.boxes import suppress_boxes
from mosaicell.postprocess.proposals import choose_proposals


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    corners = rng.uniform(0, 200, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1), rng.random(count)


def test_few_boxes_are_suppressed_and_no_more(rng: np.random.Generator) -> None:
    boxes, scores = draw(rng, 300)
    chosen = choose_proposals(boxes, scores)
    assert chosen.tolist() == suppress_boxes(boxes, scores, 0.7).tolist()


@pytest.mark.parametrize("most", [0, 1, 40])
def test_the_surest_are_taken(most: int, rng: np.random.Generator) -> None:
    boxes, scores = draw(rng, 300)
    assert choose_proposals(boxes, scores, most=most).tolist() == choose_proposals(boxes, scores)[:most].tolist()
    compared = choose_proposals(boxes, scores, most_compared=50)
    assert set(compared) <= set(np.argsort(-scores)[:50])
    assert len(compared) > 30


def test_boxes_cut_to_almost_nothing_are_left_out() -> None:
    boxes = np.array([[0.0, 0, 0.5, 30], [0, 0, 30, 0.9], [0, 0, 1, 1], [0, 0, 30, 30]])
    assert choose_proposals(boxes, np.array([0.9, 0.8, 0.7, 0.6])).tolist() == [2, 3]
    assert choose_proposals(boxes[:0], np.zeros(0)).size == 0
