"""Codes of boxes: by hand, there and back, limits, and IoU of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mosaicell.postprocess.box_fusion import box_ious
from mosaicell.training.networks.box_codes import (
    MOST_GROWTH,
    PLAIN_UNITS,
    UNITS,
    clip_boxes,
    decode_codes,
    encode_boxes,
    pair_ious,
)
from tests.test_roi_align import draw_boxes


def test_codes_by_hand() -> None:
    box, reference = torch.tensor([[2.0, 10.0, 12.0, 30.0]]), torch.tensor([[0.0, 0.0, 10.0, 40.0]])
    codes = encode_boxes(box, reference, PLAIN_UNITS)
    torch.testing.assert_close(codes, torch.tensor([[0.2, 0.0, 0.0, -0.6931]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(encode_boxes(box, reference, UNITS), codes / torch.tensor([0.1, 0.1, 0.2, 0.2]))


@pytest.mark.parametrize("units", [PLAIN_UNITS, UNITS])
def test_decoding_undoes_encoding(units: tuple[float, float]) -> None:
    boxes, references = draw_boxes(50, 1), draw_boxes(50, 2)
    torch.testing.assert_close(
        decode_codes(encode_boxes(boxes, references, units), references, units), boxes, atol=1e-3, rtol=1e-4
    )


def test_no_code_makes_a_box_of_any_size() -> None:
    (box,) = decode_codes(torch.tensor([[0.0, 0.0, 999.0, -999.0]]), torch.tensor([[0.0, 0.0, 10.0, 10.0]]), UNITS)
    sides = box[2:] - box[:2]
    torch.testing.assert_close(sides, torch.tensor([10 * MOST_GROWTH, 10 / MOST_GROWTH]))


def test_boxes_end_at_the_edges() -> None:
    boxes = torch.tensor([[-3.0, 5.0, 80.0, 20.0], [70.0, 90.0, 99.0, 120.0]])
    assert clip_boxes(boxes, 64, 96).tolist() == [[0, 5, 64, 20], [64, 90, 64, 96]]


def test_ious_of_all_pairs_are_those_of_each() -> None:
    first, second = draw_boxes(20, 3), draw_boxes(30, 4)
    found = pair_ious(first, second).numpy()
    for column, other in enumerate(second.numpy()):
        expected = box_ious(first.double().numpy(), np.tile(other.astype(np.float64), (20, 1)))
        np.testing.assert_allclose(found[:, column], expected, atol=1e-5)
