"""MAUNet targets: against a loop over cells, each pixel one class, unchanged by new ids, mirrored with the labels.

Time for 507 cells on one core, at most 30 ms (processor time; 22 and 18 ms by the two pairs of rules):
the command in `tests/test_star_targets.py` with "maunet_maps(labels, CHANNELS, MaunetTargetOptions())" of
`mosaicell.training.maunet_targets`.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.distance_comparisons import fields_of_labels
from mosaicell.errors import OptionError
from mosaicell.postprocess.objects import relabel_sequential
from mosaicell.training.maunet_targets import (
    BOUNDARY_RULES,
    CHANNELS,
    DISTANCE_RULES,
    MaunetTargetOptions,
    maunet_maps,
)
from tests.test_star_targets import SHAPES, draw_touching

RULES = [MaunetTargetOptions(*rules) for rules in product(BOUNDARY_RULES, DISTANCE_RULES)]


def depths_of(cell: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a cell to the nearest one outside within the image."""
    return ndimage.distance_transform_edt(cell)


def outermost_of(cell: np.ndarray) -> np.ndarray:
    shifted = [np.roll(np.pad(cell, 1, mode="edge"), step, axis)[1:-1, 1:-1] for step in (1, -1) for axis in (0, 1)]
    return cell & ~np.all(shifted, axis=0)


def loop_over_cells(labels: np.ndarray, options: MaunetTargetOptions) -> np.ndarray:
    boundary, spared = np.zeros((2, *labels.shape), bool)
    distance = np.zeros(labels.shape)
    places = np.argwhere(np.ones(labels.shape, bool))
    for number in np.unique(labels[labels > 0]):
        cell = labels == number
        side, depths = math.sqrt(cell.sum()), depths_of(cell)
        if options.boundary == "inside":
            boundary |= cell & (depths <= max(side / 20, 1))
        else:
            for place in np.argwhere(outermost_of(cell)):
                near = np.hypot(*(places - place).T) <= math.ceil(side / 40)
                boundary |= near.reshape(labels.shape)
        spared |= cell & (depths == depths.max())
        if options.distance == "centre":
            away = np.hypot(*(places - np.argwhere(cell).mean(0)).T).reshape(labels.shape)
        else:
            away = depths.max() - depths
        distance[cell] = 1 / (1 + options.beta * away[cell] / side)
    boundary &= ~spared
    inside = labels > 0
    return np.stack([inside & ~boundary, boundary, ~inside & ~boundary, np.zeros_like(inside), distance])


@pytest.mark.parametrize("options", RULES)
@pytest.mark.parametrize(("shape", "seed"), [(shape, seed) for seed, shape in enumerate(SHAPES)])
def test_maps_are_those_of_a_loop_over_cells(shape: tuple[int, int], seed: int, options: MaunetTargetOptions) -> None:
    labels = draw_touching(shape, seed)
    maps = maunet_maps(labels, CHANNELS, options)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, loop_over_cells(labels, options), atol=1e-5)


def test_the_benchmark_draws_what_is_learned() -> None:
    labels = relabel_sequential(draw_touching((57, 64), 3))
    # cells wide enough that the rules leave them an interior
    large = np.isin(labels, np.flatnonzero(np.bincount(labels.ravel()) > 60)) & (labels > 0)
    kept = relabel_sequential(labels * large)
    learned = maunet_maps(kept, ("interior", "distance"), MaunetTargetOptions())
    np.testing.assert_allclose(fields_of_labels(kept), learned, atol=1e-5)


@pytest.mark.parametrize("options", RULES)
def test_a_pixel_is_of_one_class_and_none_is_the_proxy(options: MaunetTargetOptions) -> None:
    maps = maunet_maps(draw_touching((57, 64), 3), CHANNELS, options)
    np.testing.assert_array_equal(maps[:3].sum(0), 1)
    assert not maps[3].any()


@pytest.mark.parametrize("options", RULES)
def test_every_cell_keeps_an_interior(options: MaunetTargetOptions) -> None:
    labels = np.zeros((30, 60), np.uint16)
    labels[3, 3:20], labels[10:12, 3:20], labels[20:23, 3:20], labels[5:25, 30:50], labels[28, 58] = 1, 2, 3, 4, 5
    interior, boundary = maunet_maps(labels, ("interior", "boundary"), options)
    assert set(np.unique(labels[interior > 0])) == {1, 2, 3, 4, 5}
    # a line is all interior, what is wider has a border
    assert set(np.unique(labels[boundary > 0])) >= {3, 4}


def test_the_boundary_is_as_wide_as_the_rules_say() -> None:
    labels = np.zeros((120, 120), np.uint8)
    labels[10:110, 10:110] = 1
    inside = maunet_maps(labels, ("boundary",), MaunetTargetOptions())[0]
    # 100 / 20 px within the cell
    np.testing.assert_array_equal(np.flatnonzero(inside[60]), [*range(10, 15), *range(105, 110)])
    both = maunet_maps(labels, ("boundary",), MaunetTargetOptions(boundary="both sides"))[0]
    # the outermost pixel and ceil(100 / 40) px to either side of it
    np.testing.assert_array_equal(np.flatnonzero(both[60]), [*range(7, 14), *range(106, 113)])


def test_the_distance_is_1_in_the_middle_and_falls_as_the_paper_says() -> None:
    y, x = np.mgrid[:81, :81] - 40
    labels = (np.hypot(y, x) <= 30).astype(np.uint8)
    side = math.sqrt(labels.sum())
    for rule in DISTANCE_RULES:
        distance = maunet_maps(labels, ("distance",), MaunetTargetOptions(distance=rule))[0]
        assert distance[40, 40] == 1
        np.testing.assert_allclose(distance[40, 40:71], 1 / (1 + np.arange(31) / side), atol=0.01)
        assert not distance[labels == 0].any()


def test_beta_makes_the_field_steeper() -> None:
    labels = draw_touching((48, 64), 1)
    plain, steep = (maunet_maps(labels, ("distance",), MaunetTargetOptions(beta=beta))[0] for beta in (1, 3))
    np.testing.assert_allclose((1 / steep[labels > 0] - 1), 3 * (1 / plain[labels > 0] - 1), atol=1e-4)


def test_channels_come_in_the_order_that_is_asked_for() -> None:
    labels = draw_touching((48, 64), 1)
    whole = maunet_maps(labels, CHANNELS, MaunetTargetOptions())
    np.testing.assert_array_equal(maunet_maps(labels, ("distance", "boundary"), MaunetTargetOptions()), whole[[4, 1]])


@pytest.mark.parametrize("options", RULES)
def test_mirrored_and_renumbered_labels_have_mirrored_maps(options: MaunetTargetOptions) -> None:
    labels = draw_touching((57, 33), 4)
    plain = maunet_maps(labels, CHANNELS, options)
    np.testing.assert_allclose(maunet_maps(labels[:, ::-1] * 7, CHANNELS, options)[:, :, ::-1], plain, atol=1e-5)
    np.testing.assert_allclose(maunet_maps(labels.T, CHANNELS, options).transpose(0, 2, 1), plain, atol=1e-5)


@pytest.mark.parametrize("options", RULES)
def test_nothing_and_all_have_finite_maps(options: MaunetTargetOptions) -> None:
    empty = maunet_maps(np.zeros((9, 7), np.uint8), CHANNELS, options)
    assert empty[2].all()
    assert not empty[[0, 1, 3, 4]].any()
    full = maunet_maps(np.full((9, 7), 4), CHANNELS, options)
    assert full[0].all()
    assert 0 < full[4].min() <= full[4].max() == 1


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(OptionError, match=r"targets.boundary is 'paper'; allowed are inside, both sides"):
        MaunetTargetOptions(boundary="paper")
    with pytest.raises(OptionError, match="allowed are centre, depth"):
        MaunetTargetOptions(distance="edge")
