"""Which true box a box belongs to, and which boxes take part in a step."""

from __future__ import annotations

import pytest
import torch

from mosaicell.training import rcnn_targets
from mosaicell.training.networks.box_codes import pair_ious
from mosaicell.training.rcnn_targets import BACKGROUND, IGNORED, draw_sample, match_boxes
from tests.test_roi_align import draw_boxes

TRUTH = torch.tensor([[0.0, 0, 10, 10], [0, 20, 10, 30]])


def test_boxes_belong_to_what_they_overlap_enough() -> None:
    """IoU 1, 2/3, 1/3 and 0 with the first, and 9/11 with the second."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 2, 10, 12], [0, 5, 10, 15], [40, 40, 50, 50], [0, 21, 10, 31]])
    assert match_boxes(boxes, TRUTH, 0.3, 0.7).tolist() == [0, IGNORED, IGNORED, BACKGROUND, 1]
    assert match_boxes(boxes, TRUTH, 0.5, 0.5).tolist() == [0, 0, BACKGROUND, BACKGROUND, 1]


def test_every_true_box_keeps_the_boxes_nearest_to_it() -> None:
    boxes = torch.tensor([[0.0, 6, 10, 16], [0, 4, 10, 14], [0, -4, 10, 6], [0, 29, 10, 39], [90, 90, 99, 99]])
    matches = match_boxes(boxes, TRUTH, 0.3, 0.7, keep_best=True)
    assert matches.tolist() == [BACKGROUND, 0, 0, 1, BACKGROUND]


def test_what_is_overlapped_by_none_keeps_none() -> None:
    far = torch.tensor([[500.0, 500, 510, 510]])
    assert match_boxes(TRUTH, far, 0.3, 0.7, keep_best=True).tolist() == [BACKGROUND] * 2
    assert match_boxes(TRUTH, far[:0], 0.3, 0.7, keep_best=True).tolist() == [BACKGROUND] * 2
    assert match_boxes(far[:0], TRUTH, 0.3, 0.7, keep_best=True).tolist() == []


@pytest.mark.parametrize("keep_best", [False, True])
def test_it_does_not_depend_on_how_many_are_compared_at_once(keep_best: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, truth = draw_boxes(300, 1), draw_boxes(20, 2)
    whole = match_boxes(boxes, truth, 0.3, 0.5, keep_best=keep_best)
    monkeypatch.setattr(rcnn_targets, "PAIRS_AT_ONCE", 100)
    assert match_boxes(boxes, truth, 0.3, 0.5, keep_best=keep_best).tolist() == whole.tolist()
    assert len(whole.unique()) > 5
    if keep_best:
        assert set(pair_ious(boxes, truth).max(0).indices.tolist()) <= set((whole >= 0).nonzero()[:, 0].tolist())


def test_a_sample_holds_cells_up_to_their_share_and_fills_up_with_others() -> None:
    torch.manual_seed(1)
    matches = torch.tensor([3] * 50 + [BACKGROUND] * 100 + [IGNORED] * 30)
    sample = draw_sample(matches, 40, 0.25)
    assert (len(sample.cells), len(sample.others)) == (10, 30)
    assert (matches[sample.cells] == 3).all()
    assert (matches[sample.others] == BACKGROUND).all()
    assert len(set(sample.cells.tolist())) == 10
    few = draw_sample(torch.tensor([BACKGROUND, 0, BACKGROUND]), 40, 0.25)
    assert (len(few.cells), len(few.others)) == (1, 2)
    assert draw_sample(matches, 40, 0.25).others.tolist() != sample.others.tolist()
