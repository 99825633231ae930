"""Features of cells: what each branch says of them, and how they agree with those of other branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction
from mosaicell.answers.features import (
    AGREEMENT,
    MATCHED_SHARE,
    Described,
    describe_branches,
    name_branches,
    name_features,
    score_cells,
)
from mosaicell.decoders import list_kinds, load_decoder
from mosaicell.networks.raw import Raw, no_candidates
from mosaicell.networks.scale import resize_labels
from mosaicell.postprocess.cells import SHAPE_FEATURES, Cells, median_size
from mosaicell.postprocess.hover_targets import distance_maps
from tests.test_cells import boxes_of, draw_discs, perfect_maps

BOTH = ("awf", "omnipose")


def predict(labels: np.ndarray, kind: str, scale: float = 1.0) -> Prediction:
    """Return a branch's perfect answer with these cells; only an AWF model has boxes."""
    small = resize_labels(labels, (round(labels.shape[0] * scale), round(labels.shape[1] * scale)))
    maps = perfect_maps(small)[BOTH.index(kind)]
    boxes = boxes_of(small) if kind == "awf" and labels.any() else np.zeros((0, 5), np.float32)
    return Prediction(labels, 0.9, 0.8, scale, raw=Raw(maps, boxes), map_labels=small, kind=kind)


def describe(*predictions: Prediction) -> list[dict[str, np.ndarray]]:
    typical = [median_size(prediction.map_labels) for prediction in predictions]
    _, described = describe_branches(predictions, typical)
    assert all(one.names == name_features([prediction.kind for prediction in predictions]) for one in described)
    return [dict(zip(one.names, one.values[1:].T, strict=True)) for one in described]


@pytest.mark.parametrize("kind", list_kinds())
@pytest.mark.parametrize("content", ["empty", "full", "gap"])
def test_every_decoder_says_something_finite_of_odd_label_images(kind: str, content: str) -> None:
    labels = np.zeros((40, 30), np.uint32)
    if content == "full":
        labels[:] = 1
    elif content == "gap":
        labels[3:9, 4:9] = 5
    decoder = load_decoder(kind)
    raw = Raw(
        np.full((decoder.judged_maps, *labels.shape), 0.5, np.float32),
        np.zeros((0, 5 + decoder.payload), np.float32),
    )
    said = decoder.describe(Cells(labels, 7), raw)
    assert said.shape == (7, len(decoder.evidence))
    assert said.dtype == np.float64
    assert np.isfinite(said).all()


def test_perfect_cells() -> None:
    labels = draw_discs()
    for values in describe(predict(labels, "awf"), predict(labels, "omnipose")):
        for name in ("awf.foreground", "omnipose.foreground", "awf.box_iou", AGREEMENT, MATCHED_SHARE):
            np.testing.assert_allclose(values[name], 1)
        for name in ("awf.energy_error", "omnipose.outline_boundary", "omnipose.inner_boundary"):
            np.testing.assert_allclose(values[name], 0, atol=1e-6)
        np.testing.assert_allclose(values["awf.box_score"], 0.8)


def test_what_speaks_against_a_cell_shows_in_its_row_only() -> None:
    labels = draw_discs()
    awf, omnipose = predict(labels, "awf"), predict(labels, "omnipose")
    awf.raw.maps[0][labels == 3] = 0.4
    omnipose.raw.maps[0][labels == 3] = 0.6
    awf.raw.maps[1][labels == 4] += 1
    omnipose.raw.maps[1][labels == 5] = 0.7
    awf.raw = Raw(awf.raw.maps, np.delete(awf.raw.candidates, 5, axis=0))
    for values in describe(awf, omnipose):
        assert values["awf.foreground"][2] == pytest.approx(0.4)
        assert values["omnipose.foreground"][2] == pytest.approx(0.6)
        assert values["awf.energy_error"][3] == pytest.approx(1)
        for name in ("omnipose.inner_boundary", "omnipose.outline_boundary"):
            assert values[name][4] == pytest.approx(0.7)
        assert values["awf.box_iou"][5] == values["awf.box_score"][5] == 0
        others = np.delete(np.arange(12), [2, 3, 4, 5])
        for name in ("awf.foreground", "omnipose.foreground", "awf.box_iou"):
            np.testing.assert_allclose(values[name][others], 1)


def test_distances_of_another_shape_speak_against_a_cell() -> None:
    labels = draw_discs()
    foreground = (labels > 0).astype(np.float32)
    maps = np.stack([foreground, *distance_maps(labels)])
    decoder = load_decoder("hover")
    cells = Cells(labels)
    np.testing.assert_allclose(decoder.describe(cells, Raw(maps, no_candidates()))[1:], [[1, 0]] * 12, atol=1e-6)
    # two cells that are one
    labels[labels == 4] = 3
    errors = decoder.describe(Cells(labels, 13), Raw(maps, no_candidates()))[:, 1]
    assert errors[3] > 0.5
    np.testing.assert_allclose(np.delete(errors, [0, 3, 4]), 0, atol=1e-6)


def test_agreement_is_with_the_best_of_the_other_branches() -> None:
    labels = draw_discs()
    half = np.where((labels == 7) & (np.indices(labels.shape)[0] % 40 < 20), 0, labels).astype(np.uint32)
    lacking = np.where(labels == 7, 0, np.where(labels == 12, 7, labels)).astype(np.uint32)
    alone, paired, three = (
        describe(predict(labels, "awf"), *(predict(one, "omnipose") for one in others))[0]
        for others in ((), (lacking,), (half, lacking))
    )
    assert not alone[AGREEMENT].any()
    assert not alone[MATCHED_SHARE].any()
    assert [paired[name][6] for name in (AGREEMENT, MATCHED_SHARE)] == [0, 0]
    seen = (half == 7).sum() / (labels == 7).sum()
    assert 0.45 < seen < 0.55
    assert three[AGREEMENT][6] == pytest.approx(seen)
    assert three[MATCHED_SHARE][6] == (0.5 if seen >= 0.5 else 0)
    for values in (paired, three):
        np.testing.assert_allclose(np.delete(values[AGREEMENT], 6), 1)
        np.testing.assert_allclose(np.delete(values[MATCHED_SHARE], 6), 1)


def test_cells_that_the_maps_do_not_show_have_rows_too() -> None:
    labels = draw_discs()
    labels[0, 0] = 13
    (values,) = describe(predict(labels, "awf", 0.5))
    assert values["size"].shape == (13,)
    assert all(np.isfinite(one).all() for one in values.values())


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        (("awf",), ("awf",)),
        (("awf", "omnipose"), ("awf", "omnipose")),
        (("awf", "omnipose", "awf", "awf"), ("awf", "omnipose", "awf-2", "awf-3")),
    ],
)
def test_branches_have_names_of_their_own(kinds: Sequence[str], names: Sequence[str]) -> None:
    assert name_branches(kinds) == names
    features = name_features(kinds)
    assert len(set(features)) == len(features)
    assert features[: 2 + len(SHAPE_FEATURES)] == (AGREEMENT, MATCHED_SHARE, *SHAPE_FEATURES)
    assert {name.split(".")[0] for name in features if "." in name} == set(names)


def test_features_are_picked_by_name() -> None:
    described = Described(("a", "b", "c"), np.arange(6.0).reshape(2, 3))
    picked = described.columns(("c", "a"))
    np.testing.assert_array_equal(picked, [[2, 0], [5, 3]])
    assert picked.flags.c_contiguous
    with pytest.raises(ValueError, match="no d is known, but a, b, c"):
        described.columns(("a", "d"))


def test_boxes_say_how_sure_a_branch_is_of_its_cells() -> None:
    labels = draw_discs()
    prediction = predict(labels, "awf")
    boxes = prediction.raw.candidates.copy()
    boxes[:, 4] = 0.4 + 0.5 * np.arange(len(boxes)) / len(boxes)
    scores = score_cells(replace(prediction, raw=replace(prediction.raw, candidates=boxes)))
    assert scores is not None
    np.testing.assert_allclose(scores, boxes[:, 4])
    # the first cell has no box of its own
    scores = score_cells(replace(prediction, raw=replace(prediction.raw, candidates=boxes[1:])))
    assert scores is not None
    np.testing.assert_allclose(scores, np.append(boxes[1, 4], boxes[1:, 4]))
    assert score_cells(predict(labels, "omnipose")) is None
    assert score_cells(predict(np.zeros_like(labels), "awf")) is None
