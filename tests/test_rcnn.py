"""Faster and Cascade R-CNN: sizes by known figures and formulas, anchors, shapes, and all weights take part."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from mosaicell.training.networks.detectors import ON_AWF, PUBLISHED, compact_detector, published_detector
from mosaicell.training.networks.rcnn import (
    RCNN,
    STRIDES,
    BoxHead,
    FeaturePyramid,
    ProposalHead,
    lay_anchors,
    place_proposals,
)
from mosaicell.training.networks.residual import ResNetEncoder
from tests.test_residual import count_parameters

#: torchvision's Faster R-CNN with ResNet50 for 91 classes, whose batch normalisations are frozen and do not count
FASTER_RESNET50, FROZEN_NORMS = 41_755_286, 53_120
#: mmdetection's figures in 10^6 with the 80 classes of COCO: its Mask R-CNN with Swin-T has 47.79, of which
#: four convolutions of 256 channels, a transposed one and 80 classes are the masks'
MASK_SWIN, MASK_HEAD = 47.79, (4 * (9 * 256 * 256 + 256) + 4 * 256 * 256 + 256 + 80 * 257) / 1e6
ANCHORS = torch.tensor([[8.0 * 1.3**k, 9.0 * 1.3**k] for k in range(12)])


def count_head(classes: int, boxes: int) -> int:
    return (256 * 49 + 1) * 1024 + 1025 * 1024 + 1025 * (classes + 1) + 1025 * 4 * boxes


def test_faster_rcnn_has_the_size_of_torchvisions() -> None:
    # what torchvision calls 91 classes holds the background
    parameters = count_parameters(lambda: RCNN(ResNetEncoder(), classes=90))
    assert parameters == FASTER_RESNET50 + FROZEN_NORMS - 1025 * 4
    assert parameters - count_head(90, 90) == FASTER_RESNET50 + FROZEN_NORMS - count_head(90, 91)


def test_the_swin_detector_has_the_size_of_mmdetections() -> None:
    parameters = count_parameters(partial(published_detector, "swin", 80))
    assert round(parameters / 1e6, 2) == round(MASK_SWIN - MASK_HEAD, 2) == 45.15


@pytest.mark.parametrize("body", PUBLISHED)
def test_detectors_are_an_encoder_a_pyramid_proposals_and_heads(body: str) -> None:
    make, stages = PUBLISHED[body]
    with torch.device("meta"):
        encoder = make()
    channels: list[int] = encoder.channels[-4:]  # type: ignore[index, assignment]
    pyramid = sum(256 * c + 256 for c in channels) + 4 * (9 * 256 * 256 + 256)
    proposals = 9 * 256 * 256 + 256 + 257 * 3 + 257 * 12
    expected = count_parameters(make) + pyramid + proposals + stages * count_head(1, 1)
    assert count_parameters(partial(published_detector, body)) == expected


def test_exact_sizes() -> None:
    sizes = {body: count_parameters(partial(published_detector, body)) for body in PUBLISHED}
    assert sizes == {
        "swin": 44_746_447,
        "resnext": 87_772_513,
        "resnest": 91_869_825,
        "resnext-one-stage": 59_968_853,
    }


@pytest.mark.parametrize("body", [*PUBLISHED, *ON_AWF])
def test_compact_detectors_are_small(body: str) -> None:
    # of the AWF body half a width is shipped
    assert count_parameters(partial(compact_detector, body, 0.5 if body in ON_AWF else 1.0)) < 6e6
    stages = ON_AWF[body] if body in ON_AWF else PUBLISHED[body][1]
    assert len(compact_detector(body, 0.25).heads) == stages


def test_anchors_lie_on_the_middles_of_their_places() -> None:
    levels = [torch.zeros(1, 1, 64 // stride, 32 // stride) for stride in STRIDES]
    laid = lay_anchors(levels, ANCHORS)
    assert len(laid) == 3 * sum(level.numel() for level in levels)
    torch.testing.assert_close(laid[0], torch.tensor([2 - 4, 2 - 4.5, 2 + 4, 2 + 4.5]))
    # the second place in a row, the third anchor
    sides = laid[5, 2:] - laid[5, :2]
    torch.testing.assert_close(sides, ANCHORS[2])
    torch.testing.assert_close((laid[5, 2:] + laid[5, :2]) / 2, torch.tensor([2.0, 6.0]))
    # the last one, on the coarsest level
    torch.testing.assert_close(laid[-1, 2:] - laid[-1, :2], ANCHORS[-1])
    torch.testing.assert_close((laid[-1, 2:] + laid[-1, :2]) / 2, torch.tensor([48.0, 16.0]))


def test_logits_and_codes_stand_in_the_order_of_the_anchors() -> None:
    """A head that answers its anchor's number: level, then row, then column, then anchor."""
    head = ProposalHead(4)
    nn.init.zeros_(head.objectness.weight)
    assert head.objectness.bias is not None
    assert head.codes.bias is not None
    head.objectness.bias.data = torch.arange(3.0)
    nn.init.zeros_(head.codes.weight)
    head.codes.bias.data = torch.arange(12.0)
    logits, codes = head([torch.rand(2, 4, 3, 5), torch.rand(2, 4, 2, 2)])
    assert logits.shape == (2, 3 * (15 + 4))
    assert logits[1].tolist() == [0, 1, 2] * 19
    assert codes[0, 4].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("body", [*PUBLISHED, *ON_AWF])
def test_a_detector_proposes_and_refines(body: str) -> None:
    torch.manual_seed(1)
    network = compact_detector(body, 0.25).eval()
    with torch.no_grad():
        levels, logits, codes, *_ = network(torch.rand(2, 3, 64, 96))
        boxes = place_proposals(levels, codes, ANCHORS)
        count = 3 * sum(64 * 96 // stride**2 for stride in STRIDES)
        assert logits.shape == (2, count)
        assert codes.shape == boxes.shape == (2, count, 4)
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([64, 96, 64, 96])).all()
        refined, scores = network.refine([level[:1] for level in levels], boxes[0, ::40])
    assert refined.shape == boxes[0, ::40].shape
    assert ((scores > 0) & (scores < 1)).all()
    # small first weights: boxes stay, and nothing is sure
    assert (refined - boxes[0, ::40]).abs().max() < 2


@pytest.mark.parametrize("body", [*PUBLISHED, *ON_AWF])
def test_every_weight_takes_part(body: str) -> None:
    torch.manual_seed(2)
    network = compact_detector(body, 0.25)
    levels, logits, codes, *_ = network(torch.rand(2, 3, 64, 64))
    boxes = place_proposals(levels, codes, ANCHORS)
    refined, scores = network.refine([level[:1] for level in levels], boxes[0, ::20].detach())
    (logits.square().sum() + codes.square().sum() + refined.square().sum() + scores.square().sum()).backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert silent == []


def test_coarse_levels_reach_the_finer_ones() -> None:
    pyramid = FeaturePyramid((4, 4), 8)
    levels = [torch.rand(1, 4, 8, 8), torch.rand(1, 4, 4, 4)]
    before = pyramid(levels)
    after = pyramid([levels[0], levels[1] + 1])
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], pyramid([levels[0] + 1, levels[1]])[1])


def test_a_head_takes_no_boxes() -> None:
    logits, codes = BoxHead(4, 8)(torch.zeros(0, 4, 7, 7))
    assert logits.shape == (0, 2)
    assert codes.shape == (0, 4)
