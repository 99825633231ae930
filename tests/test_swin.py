"""Swin transformer: its size, windows that do not see each other, shifts, and any size of image in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from mosaicell.training.networks.swin import SwinBlock, SwinEncoder, WindowAttention
from mosaicell.training.onnx_file import write_onnx
from tests.test_residual import count_parameters

#: torchvision's Swin-T with its classifier of 1,000 classes and one norm behind the last stage
SWIN_T, CLASSIFIER, LAST_NORM = 28_288_354, 768 * 1000 + 1000, 2 * 768


def small(window: int = 4) -> SwinEncoder:
    torch.manual_seed(3)
    encoder = SwinEncoder((8, 16, 32, 64), (2, 2, 2, 2), 8, window).eval()
    for module in encoder.modules():
        if isinstance(module, WindowAttention):
            torch.nn.init.normal_(module.bias)
    return encoder


def test_swin_t_has_the_published_size() -> None:
    norms = 2 * (96 + 192 + 384 + 768)
    assert count_parameters(SwinEncoder) == SWIN_T - CLASSIFIER - LAST_NORM + norms


@pytest.mark.parametrize("shape", [(64, 96), (32, 32), (128, 160)])
def test_every_stage_halves_the_size(shape: tuple[int, int]) -> None:
    with torch.no_grad():
        levels = small()(torch.rand(2, 3, *shape))
    assert [tuple(level.shape) for level in levels] == [
        (2, 8 * 2**k, shape[0] // 4 // 2**k, shape[1] // 4 // 2**k) for k in range(4)
    ]


def reach(block: SwinBlock, place: tuple[int, int], size: int) -> set[tuple[int, int]]:
    """Name the pixels whose answer changes with the one at a place."""
    torch.manual_seed(1)
    images = torch.rand(1, size, size, 8).repeat(2, 1, 1, 1)
    images[1, place[0], place[1]] += torch.rand(8)
    with torch.no_grad():
        answers = block(images)
    changed = (answers[0] != answers[1]).any(-1)
    return {(int(y), int(x)) for y, x in changed.nonzero()}


def square(top: int, left: int, bottom: int, right: int) -> set[tuple[int, int]]:
    return {(y, x) for y in range(top, bottom) for x in range(left, right)}


def test_a_pixel_is_seen_in_its_window_alone() -> None:
    assert reach(SwinBlock(8, 2, 4, 0, 0.0).eval(), (5, 2), 12) == square(4, 0, 8, 4)


def test_shifted_windows_lie_across_the_others_and_do_not_wrap_around() -> None:
    block = SwinBlock(8, 2, 4, 2, 0.0).eval()
    assert reach(block, (5, 2), 12) == square(2, 2, 6, 6)
    # the windows at the edges are cut: the shift brings the first rows beside the last ones
    assert reach(block, (0, 0), 12) == square(0, 0, 2, 2)
    assert reach(block, (11, 5), 12) == square(10, 2, 12, 6)


def test_sides_that_no_whole_windows_fill_are_padded() -> None:
    assert reach(SwinBlock(8, 2, 4, 0, 0.0).eval(), (9, 9), 10) == square(8, 8, 10, 10)


def test_the_bias_depends_on_the_distance_alone() -> None:
    attention = WindowAttention(8, 2, 3)
    index = attention.index.reshape(3, 3, 3, 3)
    assert index[0, 0, 1, 2] == index[1, 0, 2, 2] != index[0, 0, 2, 1]
    assert len(torch.unique(index)) == 25


def test_blocks_are_left_out_in_training_alone() -> None:
    torch.manual_seed(2)
    block, images = SwinBlock(8, 2, 4, 0, 0.999), torch.rand(4, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(block(images), images)
        assert not torch.equal(block.eval()(images), images)


def test_an_exported_model_takes_any_size(tmp_path: Path) -> None:
    encoder = small()
    axes = {0: "batch", 2: "height", 3: "width"}
    names = ("a", "b", "c", "d")
    path = tmp_path / "swin.onnx"
    write_onnx(encoder, torch.rand(1, 3, 64, 64), path, axes, dict.fromkeys(names, axes))
    session = onnxruntime.InferenceSession(path)
    for shape in ((1, 3, 64, 64), (2, 3, 96, 160), (1, 3, 32, 224)):
        images = torch.rand(shape)
        with torch.no_grad():
            expected = encoder(images)
        for answer, level in zip(session.run(None, {"image": images.numpy()}), expected, strict=True):
            np.testing.assert_allclose(answer, level.numpy(), atol=0.02)
