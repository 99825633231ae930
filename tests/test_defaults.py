"""The rules for files that hold several pictures: names of nuclear stains, kinds of pages, the sharpest plane."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.pictures.defaults import (
    Found,
    are_colours,
    are_planes,
    are_spots,
    choose_scene,
    find_sharpest,
    is_nuclear,
    may_join,
    name_pages,
    projects,
    spread_pages,
    spread_planes,
)
from tests.stacks import FOCUS, draw_focus_series, draw_noise, draw_noisy_discs

Looks = list[np.ndarray]
SERIES: Looks = list(draw_focus_series().astype(np.float32))
FRAMES: Looks = [draw_noisy_discs(3, seed).astype(np.float32) for seed in range(4)]
#: as different stains of the same field have it: other places, other levels
STAINS: Looks = [FRAMES[0], 40 + 0.2 * FRAMES[1][::-1, ::-1] ** 1.1, np.roll(FRAMES[2], 30, axis=1) * 0.6]


@pytest.mark.parametrize(
    "name",
    [
        "DAPI",
        "dapi-ch1",
        "Hoechst 33342",
        "DNA1(Ir191)",
        "191Ir_DNA1",
        "Nuclei",
        "nuclear stain",
        "NucBlue",
        "H2B-mCherry",
        "Histone H3",
        "HH3",
        "DRAQ5",
        "SYTOX Green",
        "TO-PRO-3",
        "propidium iodide",
        "PI",
        "7-AAD",
        "Haematoxylin",
    ],
)
def test_names_of_nuclear_stains(name: str) -> None:
    assert is_nuclear(name)


@pytest.mark.parametrize(
    "name",
    ["", "CD8", "PanCK", "Ki67", "GFP", "H3K27me3", "nucleolin", "PIP2", "API", "perinuclear", "mtDNA", "Ch1"],
)
def test_names_of_other_channels(name: str) -> None:
    assert not is_nuclear(name)


def test_the_largest_scene_and_of_equal_ones_the_first() -> None:
    assert choose_scene([(5, 5), (20, 30), (30, 20), (1, 90)]) == 1


def test_pages_without_a_name_are_told_by_what_they_show() -> None:
    assert name_pages(SERIES, have_colours=False) == "planes"
    assert name_pages(FRAMES, have_colours=False) == "times"
    assert name_pages(STAINS, have_colours=False) == "channels"
    assert name_pages(STAINS, have_colours=True) == "times"
    moved = [np.roll(frame, 31 * shift, axis=1) for shift, frame in enumerate(FRAMES)]
    assert name_pages(moved, have_colours=False) == "times"
    sparse = [draw_noise(seed).astype(np.float32) for seed in range(3)]
    sparse[2][50:56, 50:56] += 60
    assert name_pages(sparse, have_colours=False) == "channels"


def test_more_than_a_few_channels_that_show_the_same_are_planes_unless_they_have_names() -> None:
    assert are_planes(SERIES, [""] * len(SERIES))
    assert not are_planes(SERIES[:3], [""] * 3)
    assert not are_planes(SERIES, [f"stain {number}" for number in range(len(SERIES))])
    assert not are_planes([*STAINS, STAINS[0][:, ::-1]], [""] * 4)


def test_colours_are_told_from_frames() -> None:
    red, green, blue = (level * FRAMES[0] + base for level, base in ((1.0, 10.0), (0.6, 40.0), (0.8, 90.0)))
    opaque = np.full_like(red, 255)
    assert are_colours([red, green, blue])
    assert are_colours([red, green, blue, opaque])
    assert are_colours([red, red, red])
    assert not are_colours(FRAMES[:3])
    assert not are_colours(FRAMES)
    assert not are_colours([red, green, blue, FRAMES[0]])
    assert not are_colours(SERIES[2:5])


def test_the_sharpest_plane_is_found_and_the_first_of_equal_ones() -> None:
    number, look = find_sharpest(SERIES)
    assert number == FOCUS - 1
    assert look is SERIES[number]
    assert find_sharpest(FRAMES)[0] == 0


def test_stacks_of_fluorescence_alone_are_projected() -> None:
    assert projects(SERIES[FOCUS - 1])
    assert not projects(draw_focus_series(bright=False)[FOCUS - 1].astype(np.float32))


def test_frames_are_not_seen_together() -> None:
    assert may_join(STAINS)
    assert not may_join(FRAMES)


def test_spots_are_much_smaller_than_cells_that_are_trusted() -> None:
    spots, nuclei = Found(0.9, 150.0, "fluorescence"), Found(0.9, 200.0, "fluorescence")
    assert are_spots(spots, [spots, Found(0.5, 1000.0, "fluorescence")])
    assert not are_spots(nuclei, [nuclei, Found(0.5, 1000.0, "fluorescence")])
    assert not are_spots(spots, [spots, Found(0.4, 1000.0, "grey")])


def test_tiny_spots_are_no_cells_where_transmitted_light_shows_any() -> None:
    spots = Found(0.9, 60.0, "fluorescence")
    assert are_spots(spots, [spots, Found(0.1, 200.0, "grey")])
    assert not are_spots(spots, [spots, Found(0.1, 200.0, "fluorescence")])
    assert not are_spots(spots, [spots, Found(0.05, 200.0, "grey")])
    assert not are_spots(spots, [spots, Found(0.1, 150.0, "grey")])


def test_few_pages_are_looked_at_and_neighbours_among_them() -> None:
    assert spread_pages(5) == [0, 1, 2, 3, 4]
    pages = spread_pages(1000)
    assert (len(pages), pages[0], pages[-1]) == (40, 0, 999)
    assert all(second == first + 1 for first, second in zip(pages[::2], pages[1::2], strict=True))
    planes = spread_planes(1000)
    assert (len(planes), planes[0], planes[-1]) == (64, 0, 999)
