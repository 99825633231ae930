from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mosaicell.networks.raw import Raw, no_candidates
from mosaicell.networks.tiling import Band, gaussian_window, is_empty, plan_tiles, run_tiles, stream_tiles


def keep_all(candidates: np.ndarray) -> np.ndarray:
    return np.arange(len(candidates))


def part_of(image: np.ndarray) -> Callable[[tuple[int, int, int, int]], np.ndarray]:
    return lambda bounds: image[:, bounds[0] : bounds[2], bounds[1] : bounds[3]]


def identity(batch: np.ndarray) -> list[Raw]:
    return [Raw(tile[:2], no_candidates()) for tile in batch]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (31, 33), (640, 640), (641, 1200), (1000, 1000), (2100, 700)])
@pytest.mark.parametrize("overlap", [0.0, 0.125, 0.5])
def test_tiles_cover_the_image_with_the_overlap_asked_for(shape: tuple[int, int], overlap: float) -> None:
    tiles = plan_tiles(shape, 640, overlap, 32)
    for axis in (0, 1):
        side, starts = tiles.shape_px[axis], tiles.starts[axis]
        assert side % 32 == 0
        assert side <= 640
        assert starts[0] == 0
        assert starts[-1] + side == tiles.padded_px[axis] >= shape[axis]
        gaps = np.diff(starts)
        assert (gaps <= side - 640 * overlap + 1).all()
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def test_tiles_are_no_larger_than_needed() -> None:
    tiles = plan_tiles((1000, 200), 640, 0.125, 32)
    assert tiles.shape_px == (544, 224)
    assert len(tiles) == 2


def test_wrong_window_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        plan_tiles((100, 100), 650, 0.125, 32)
    with pytest.raises(ValueError, match="overlap 1"):
        plan_tiles((100, 100), 640, 1.0, 32)


def test_window_is_symmetric_and_never_vanishes() -> None:
    window = gaussian_window((64, 33))
    assert np.array_equal(window, window[::-1, ::-1])
    assert window.min() == np.float32(1e-3)
    assert window[32, 16] == pytest.approx(window.max())


def test_tiled_equals_whole_for_any_batch(rng: np.random.Generator) -> None:
    image = rng.random((3, 150, 333), np.float32)
    tiles = plan_tiles((150, 333), 64, 0.25, 32)
    assert len(tiles) > 10
    whole = run_tiles(image, plan_tiles((150, 333), 640, 0.25, 32), identity, 1, keep_all).maps
    assert np.array_equal(whole, image[:2])
    results = [run_tiles(image, tiles, identity, batch, keep_all).maps for batch in (1, 3, 100)]
    for maps in results:
        assert np.allclose(maps, whole, atol=1e-6)
        assert np.array_equal(maps, results[0])


def test_padding_mirrors_and_is_cut_off(rng: np.random.Generator) -> None:
    seen = []

    def spy(batch: np.ndarray) -> list[Raw]:
        seen.append(batch)
        return identity(batch)

    image = rng.random((3, 20, 1), np.float32)
    maps = run_tiles(image, plan_tiles((20, 1), 64, 0.0, 32), spy, 1, keep_all).maps
    assert maps.shape == (2, 20, 1)
    assert seen[0].shape == (1, 3, 32, 32)
    assert np.array_equal(seen[0][0, :, 20:, 0], image[:, 19:7:-1, 0])


def test_every_candidate_has_one_owner(rng: np.random.Generator) -> None:
    """Each tile reports all candidates it sees; put together, each is there once, with what else is known of it."""
    shape = (200, 330)
    centres = np.round(rng.uniform(1, (shape[0] - 1, shape[1] - 1), (300, 2)), 2)
    tiles = plan_tiles(shape, 96, 0.25, 32)
    corners = iter(tiles)

    def network(batch: np.ndarray) -> list[Raw]:
        found = []
        for tile in batch:
            start = np.array(next(corners))
            local = centres - start
            inside = (local >= 0).all(1) & (local < tiles.shape_px).all(1)
            payload = np.arange(len(centres))
            rows = np.column_stack((local - 3, local + 3, np.where(inside, 0.9, 0.1), payload, -payload))
            found.append(Raw(tile[:2], rows.astype(np.float32)))
        return found

    def sure(candidates: np.ndarray) -> np.ndarray:
        return np.flatnonzero(candidates[:, 4] > 0.5)

    kept = run_tiles(np.zeros((3, *shape), np.float32), tiles, network, 4, sure).candidates
    assert sorted(kept[:, 5].tolist()) == list(range(len(centres)))
    assert (kept[:, 5] == -kept[:, 6]).all()
    assert np.allclose((kept[:, :2] + kept[:, 2:4]) / 2, centres[kept[:, 5].astype(int)], atol=0.01)


@pytest.mark.parametrize(("slack_px", "times"), [(0.0, 0), (1.0, 0), (2.0, 2)])
def test_a_candidate_that_two_tiles_place_differently_is_not_lost_with_slack(slack_px: float, times: int) -> None:
    """Each of two tiles sees it on the other one's side of the border between them, 1.5 px beyond."""
    tiles = plan_tiles((64, 112), 64, 0.25, 32)
    assert tiles.starts[1] == (0, 48)
    corners = iter(tiles)

    def network(batch: np.ndarray) -> list[Raw]:
        starts = [next(corners)[1] for _ in batch]
        middles = [56 + (1.5 if start == 0 else -1.5) - start for start in starts]
        return [
            Raw(tile[:2], np.array([[27, x - 5, 37, x + 5, 0.9]], np.float32))
            for tile, x in zip(batch, middles, strict=True)
        ]

    found = run_tiles(np.zeros((3, 64, 112), np.float32), tiles, network, 2, keep_all, slack_px).candidates
    assert len(found) == times
    assert sorted(found[:, 1].tolist()) == [49.5, 52.5][:times]


def test_bands_are_the_whole_from_top_to_bottom(rng: np.random.Generator) -> None:
    image = rng.random((3, 333, 150), np.float32)
    tiles = plan_tiles((333, 150), 64, 0.25, 32)
    whole = run_tiles(image, tiles, identity, 1, keep_all).maps
    bands = list(stream_tiles(part_of(image), (333, 150), tiles, identity, 2, keep_all))
    assert len(bands) == len(tiles.starts[0]) > 5
    assert [band.start_px for band in bands] == [(start, 0) for start in tiles.starts[0]]
    assert np.array_equal(np.concatenate([band.maps for band in bands], axis=1), whole)


@pytest.mark.parametrize("columns", [(0, 50), (17, 150), (60, 61), (100, 333)])
def test_strips_are_parts_of_the_whole(columns: tuple[int, int], rng: np.random.Generator) -> None:
    image = rng.random((3, 150, 333), np.float32)
    tiles = plan_tiles((150, 333), 64, 0.25, 32)
    whole = run_tiles(image, tiles, identity, 1, keep_all).maps
    seen = []

    def spy(batch: np.ndarray) -> list[Raw]:
        seen.append(len(batch))
        return identity(batch)

    bands = list(stream_tiles(part_of(image), (150, 333), tiles, spy, 2, keep_all, columns_px=columns))
    assert bands[0].start_px == (0, columns[0])
    assert np.array_equal(np.concatenate([band.maps for band in bands], axis=1), whole[:, :, slice(*columns)])
    assert sum(seen) < len(tiles)


@pytest.mark.parametrize("first", [0, 1, 47, 48, 49, 64, 200, 332])
def test_the_first_row_does_not_change_those_below(first: int, rng: np.random.Generator) -> None:
    image = rng.random((3, 333, 150), np.float32)
    image[:, :120] = 0.5
    tiles = plan_tiles((333, 150), 64, 0.25, 32)

    def stream(first_row_px: int) -> list[Band]:
        read, shape_px = part_of(image), (333, 150)
        bands = stream_tiles(
            read,
            shape_px,
            tiles,
            identity,
            2,
            keep_all,
            columns_px=(17, 150),
            first_row_px=first_row_px,
            skip_empty=True,
        )
        return list(bands)

    whole, rows = stream(0), stream(first)
    maps = [np.concatenate([band.maps for band in bands], axis=1) for bands in (whole, rows)]
    assert rows[0].start_px == (first, 17)
    assert np.array_equal(maps[1], maps[0][:, first:])
    assert len(rows) <= len(whole)


def test_empty_tiles_are_not_run(rng: np.random.Generator) -> None:
    image = np.full((3, 64, 320), 0.5, np.float32)
    image[1, 20:30, 250:260] = 0.6
    tiles = plan_tiles((64, 320), 64, 0.25, 32)
    seen = []

    def spy(batch: np.ndarray) -> list[Raw]:
        seen.append(len(batch))
        return identity(batch)

    (band,) = stream_tiles(part_of(image), (64, 320), tiles, spy, 1, keep_all, skip_empty=True)
    shown = sum(250 - 64 < start < 260 for start in tiles.starts[1])
    # the first tells how many maps there are, and counts no more than the others
    assert len(seen) == 1 + shown < len(tiles)
    assert (band.maps[:, :, :100] == 0).all()
    assert (band.maps[:, :, 100:150] == 0).all()
    assert np.allclose(band.maps[1, 22:28, 252:258], 0.6)


@pytest.mark.parametrize(("contrast", "empty"), [(0.0, True), (0.015, True), (0.017, False), (0.5, False)])
def test_a_tile_with_a_cell_is_not_empty(contrast: float, empty: bool) -> None:
    tile = np.full((3, 64, 64), 0.3, np.float32)
    tile[2, 16:24, 32:40] += contrast
    assert is_empty(tile) is empty


def test_noise_does_not_make_a_tile_full(rng: np.random.Generator) -> None:
    tile = 0.3 + 0.005 * rng.standard_normal((3, 640, 640), np.float32)
    assert is_empty(tile)
    assert is_empty(tile[:, :1, :1])
