"""The last rows of maps: what is cut from them, and what is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction, decode_part
from mosaicell.networks import map_rows as module
from mosaicell.networks.grid import Grid
from mosaicell.networks.manifest import Card, read_manifest, read_models
from mosaicell.networks.map_rows import MapRows
from mosaicell.networks.raw import Raw, no_candidates
from mosaicell.networks.tiling import Band
from mosaicell.options import WEIGHTS_FOLDER
from tests.test_branches import make_card


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Decode nothing; hold maps and boxes that are to be decoded."""
    given: list[tuple[np.ndarray, np.ndarray]] = []

    def decode(raw: Raw, card: Card, grid: Grid, bounds: object, least: int) -> Prediction:
        assert least == 7
        given.append((raw.maps, raw.candidates))
        return Prediction(np.zeros((1, 1), np.uint32), 0.0)

    monkeypatch.setattr(module, "decode_part", decode)
    return given


def box_at(y: float, x: float, side: float = 10.0) -> tuple[float, ...]:
    return y - side / 2, x - side / 2, y + side / 2, x + side / 2, 0.9


def rows_of(grid: Grid, *boxes: tuple[float, ...], rows: int = 20) -> tuple[MapRows, np.ndarray]:
    """Append maps band by band, with all boxes in the first."""
    maps = np.arange(2 * grid.map_px[0] * grid.map_px[1], dtype=np.float32).reshape(2, *grid.map_px)
    held = MapRows(grid, make_card(), 7)
    found = np.array(boxes, np.float32).reshape(-1, 5)
    for first in range(0, grid.map_px[0], rows):
        held.append(Band((first, 0), maps[:, first : first + rows], found if not first else found[:0]))
    return held, maps


def test_parts_are_cut_with_the_boxes_centred_in_them(seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
    grid = Grid((100, 80), (100, 80))
    held, maps = rows_of(grid, box_at(30, 20), box_at(29, 50), box_at(55, 60), box_at(62, 20), box_at(99, 79))
    cut = held.cut((10, 0, 90, 80))
    cut((30, 10, 60, 70))
    np.testing.assert_array_equal(seen[0][0], maps[:, 30:60, 10:70])
    assert sorted(seen[0][1][:, :2].tolist()) == [[-5, 5], [20, 45]]
    held.cut((80, 60, 100, 80))((85, 65, 100, 80))
    assert len(seen[1][1]) == 1


@pytest.mark.parametrize("map_px", [(100, 80), (50, 40), (300, 240)])
def test_what_reaches_below_is_not_forgotten(
    map_px: tuple[int, int], seen: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """A box that begins above and is centred below still counts, and so do rows of a band that reaches below."""
    grid = Grid((100, 80), map_px)
    times = map_px[0] / 100
    held, maps = rows_of(grid, box_at(51 * times, 20, 30 * times), box_at(20 * times, 20, 30 * times), rows=10)
    held.drop_above((50, 0, 80, 80))
    held.cut((50, 0, 80, 80))((50, 0, 80, 80))
    np.testing.assert_array_equal(seen[0][0], maps[:, int(50 * times) : int(80 * times)])
    assert seen[0][1][:, 0].tolist() == [pytest.approx((51 - 15 - 50) * times)]
    held.cut((0, 0, 80, 80))((0, 0, 80, 80))
    # what lies above is gone
    assert seen[1][0].shape[1] < 80 * times
    assert len(seen[1][1]) == 1


def test_rows_reach_as_far_as_the_last_band() -> None:
    grid = Grid((100, 80), (50, 40))
    held = MapRows(grid, make_card(), 7)
    assert not held.reaches((0, 0, 1, 1))
    held.append(Band((0, 0), np.zeros((2, 25, 40), np.float32), np.empty((0, 5), np.float32)))
    assert held.reaches((0, 0, 50, 80))
    assert not held.reaches((0, 0, 51, 80))


#: maps that decoders of a kind see
MAPS = {"awf": 2, "omnipose": 4, "stardist": 1, "hover": 3, "maunet": 3, "cellpose": 3, "cellmask": 1}


def test_maps_of_zeros_hold_nothing_whatever_the_decoder() -> None:
    """What is not run has such maps, and is not decoded either."""
    names = list(read_manifest(WEIGHTS_FOLDER))
    cards = [card for card in read_models(names, WEIGHTS_FOLDER).values() if isinstance(card, Card)]
    assert {card.kind for card in cards} == set(MAPS)
    grid = Grid((120, 90), (120, 90))
    for card in cards:
        maps = np.zeros((MAPS[card.kind], 120, 90), np.float32)
        nothing = no_candidates(card.decoder.payload)
        decoded = decode_part(Raw(maps, nothing), card, grid, grid.whole, 1)
        held = MapRows(grid, card, 1)
        held.append(Band((0, 0), maps, nothing))
        undecoded = held.cut((10, 0, 110, 80))((20, 10, 100, 80))
        assert not decoded.labels.any()
        assert undecoded.labels.shape == undecoded.map_labels.shape == (80, 70)
        assert not undecoded.labels.any()
        assert undecoded.kind == card.kind
