"""Which cells stay: by size and place, with what is known of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.answers.cell_filter import filter_cells
from mosaicell.errors import OptionError
from mosaicell.options import Options
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.systems import Choice

#: sizes and places need none
NO_PIXELS = ArrayPixels(np.zeros((40, 50, 1), np.uint8))


def make_choice(*, judged: bool = True) -> Choice:
    """Bars of 10, 20, 30 and 40 px, the first and the third at the border; of the second branch but for the first."""
    labels = np.zeros((40, 50), np.uint32)
    for cell, row in enumerate((0, 10, 20, 30), 1):
        labels[row, 5 : 5 + 10 * cell] = cell
    labels[20] = np.roll(labels[20], -5)
    sources, likelihoods = np.array([0, 1, 1, 1], np.uint8), np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    said = (sources, likelihoods) if judged else (None, None)
    return Choice(labels, "b", {"a": 1, "b": 3} if judged else {"b": 4}, {}, 0.5, {}, 1.0, *said)


def options(**given: Any) -> Options:
    return Options(Path("in"), Path("out"), **given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, [1, 2, 3, 4]),
        ({"min_area_px": 20}, [2, 3, 4]),
        ({"max_area_px": 20}, [1, 2]),
        ({"min_area_px": 20, "max_area_px": 30}, [2, 3]),
        ({"exclude_edges": True}, [2, 4]),
        ({"exclude_edges": True, "min_area_px": 30}, [4]),
        ({"min_area_px": 100}, []),
    ],
)
@pytest.mark.parametrize("judged", [True, False])
def test_cells_that_are_asked_for_stay(given: dict[str, Any], kept: list[int], judged: bool) -> None:
    before, choice = (
        make_choice(judged=judged),
        filter_cells(make_choice(judged=judged), options(**given), NO_PIXELS, "grey"),
    )
    for new, old in enumerate(kept, 1):
        np.testing.assert_array_equal(choice.labels == new, before.labels == old)
    assert choice.labels.max() == len(kept)
    assert sum(choice.cells.values()) == len(kept)
    if judged:
        assert choice.sources is not None
        assert choice.likelihoods is not None
        assert before.sources is not None
        assert choice.sources.tolist() == [int(old > 1) for old in kept]
        np.testing.assert_allclose(choice.likelihoods, [1 - 0.1 * old for old in kept], rtol=1e-6)
        assert choice.cells == {"a": kept.count(1), "b": len(kept) - kept.count(1)}
    else:
        assert (choice.sources, choice.likelihoods) == (None, None)


def test_size_and_border_are_those_of_the_cells_as_found() -> None:
    choice = filter_cells(make_choice(), options(exclude_edges=True, max_area_px=20, expand_px=12), NO_PIXELS, "grey")
    assert choice.cells == {"a": 0, "b": 1}
    # the one that stays has grown to the border, and over what was left out
    assert choice.labels[0, 10] == choice.labels[20, 10] == 1
    assert np.count_nonzero(choice.labels) > 400


def test_limits_without_any_cell_between_them_are_refused() -> None:
    with pytest.raises(OptionError, match="--max-area 5 is below --min-area 6"):
        options(min_area_px=6, max_area_px=5)
    assert options(min_area_px=6, max_area_px=6).max_area_px == 6
