"""Features of predictions: what each number says, and that none of them fails on an odd prediction."""

from __future__ import annotations

import numpy as np
import pytest

from inference.features import FEATURES, agreement, describe
from inference.scale import resize_labels
from postprocess.objects import energy_of_labels

NO_BOXES = np.zeros((0, 5), np.float32)


def draw_discs(shape: tuple[int, int] = (120, 160), pitch: int = 40, radius: int = 14) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    number = rows // pitch * (shape[1] // pitch) + columns // pitch + 1
    inside = (rows % pitch - pitch // 2) ** 2 + (columns % pitch - pitch // 2) ** 2 < radius**2
    return np.where(inside, number, 0).astype(np.uint32)


def maps_of(labels: np.ndarray) -> np.ndarray:
    """Return what a perfect network of kind "awf" answers."""
    return np.stack([(labels > 0).astype(np.float32), energy_of_labels(labels)])


def measure(labels: np.ndarray, maps: np.ndarray, boxes: np.ndarray = NO_BOXES, kind: str = "awf") -> dict[str, float]:
    return dict(zip(FEATURES, describe(labels, maps, boxes, kind, 0.9).tolist(), strict=True))


def test_a_perfect_prediction() -> None:
    labels = draw_discs()
    boxes = np.tile(np.array([[0, 0, 9, 9, 0.7]], np.float32), (6, 1))
    values = measure(labels, maps_of(labels), boxes)
    assert values["confidence"] == 0.9
    assert values["certainty"] == values["explained"] == values["filled"] == 1
    assert values["box_score"] == pytest.approx(0.7)
    assert values["boxes_per_cell"] == pytest.approx(6 / 12)
    assert values["energy_error"] == values["contact"] == values["enlargement"] == 0
    assert values["size_spread"] == pytest.approx(0, abs=1e-9)
    assert values["cells"] == pytest.approx(np.log(13))
    assert np.exp(values["diameter"]) == pytest.approx(28, abs=1)
    assert values["roundness"] == pytest.approx(np.pi / 4, abs=0.06)


def test_doubt_and_contradiction_show() -> None:
    labels = draw_discs()
    maps = maps_of(labels)
    doubtful = measure(labels, np.stack([0.3 + 0.3 * maps[0], maps[1]]))
    assert doubtful["certainty"] == 0
    assert doubtful["filled"] == pytest.approx(0.6)
    half = np.where(labels > 6, labels, 0)
    half = np.where(half > 0, half - 6, 0).astype(np.uint32)
    assert measure(half, maps)["explained"] == pytest.approx(0.5)
    assert measure(labels, np.stack([maps[0], maps[1] * 0.5]))["energy_error"] > 0.3


def test_cells_that_touch() -> None:
    labels = np.repeat(np.arange(1, 5, dtype=np.uint32), 10)[None].repeat(20, 0)
    assert measure(labels, maps_of(labels))["contact"] == 1


def test_a_boundary_on_the_outline_shows() -> None:
    labels = draw_discs(radius=18)
    ring = (labels > 0) & ~(draw_discs(radius=16) > 0)
    maps = np.stack([(labels > 0), ring]).astype(np.float32)
    assert measure(labels, maps, kind="omnipose")["border"] > 0.7
    assert measure(labels, np.stack([maps[0], maps[1] * 0]), kind="omnipose")["border"] == 0


def test_a_resized_prediction_is_measured_on_its_maps() -> None:
    labels = draw_discs()
    large = resize_labels(labels, (240, 320))
    values, same = measure(large, maps_of(labels)), measure(labels, maps_of(labels))
    assert values["enlargement"] == pytest.approx(np.log(0.5))
    assert values["diameter"] == pytest.approx(same["diameter"], abs=0.02)
    assert values["explained"] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["awf", "omnipose"])
@pytest.mark.parametrize("content", ["empty", "full", "pixel"])
def test_odd_predictions_have_finite_features(kind: str, content: str) -> None:
    labels = np.zeros((40, 30), np.uint32)
    if content == "full":
        labels[:] = 1
    elif content == "pixel":
        labels[3, 4] = 1
    maps = np.stack([(labels > 0).astype(np.float32)] * 4)
    assert np.isfinite(describe(labels, maps, NO_BOXES, kind, 0.0)).all()


def test_a_cell_that_vanishes_in_the_reduction_does_no_harm() -> None:
    labels = np.zeros((90, 90), np.uint32)
    labels[0, 0], labels[40:70, 40:70] = 1, 2
    maps = np.zeros((2, 30, 30), np.float32)
    assert np.isfinite(describe(labels, maps, NO_BOXES, "awf", 0.0)).all()


def test_agreement_is_the_f1_of_one_against_the_other() -> None:
    labels = draw_discs()
    nothing = np.zeros_like(labels)
    assert agreement(labels, labels) == 1
    assert agreement(nothing, nothing) == 1
    assert agreement(labels, nothing) == agreement(nothing, labels) == 0
    missing = np.where(labels == 12, 0, labels)
    assert agreement(labels, missing) == agreement(missing, labels) == pytest.approx(2 * 11 / 23)
    assert agreement(labels, draw_discs(radius=9)) == 0
    merged = np.where(labels > 0, 1, 0).astype(np.uint32)
    assert agreement(labels, merged) == 0
