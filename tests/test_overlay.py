"""Outlines: where they run, whose colours differ, and files that are whole or absent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.contrast.normalize import normalize
from mosaicell.reading.images import read_image
from mosaicell.writing.overlay import (
    PALETTE,
    choose_colours,
    draw_outlines,
    stretch_contrast,
    write_overlay,
)


def draw_grid(rows: int, columns: int, cell_px: int) -> np.ndarray:
    """Label image without background: square cells that all touch."""
    ids = np.arange(1, rows * columns + 1, dtype=np.uint32).reshape(rows, columns)
    return np.kron(ids, np.ones((cell_px, cell_px), np.uint32))


def outline_mask(labels: np.ndarray) -> np.ndarray:
    painted = draw_outlines(np.zeros((*labels.shape, 3), np.uint8), labels)
    return np.asarray(painted.any(axis=2))


def test_outline_is_the_inner_border_of_every_cell() -> None:
    labels = np.zeros((30, 40), np.uint32)
    labels[5:15, 8:20], labels[20:25, 30:36] = 1, 2
    expected = labels > 0
    expected[6:14, 9:19] = expected[21:24, 31:35] = False
    np.testing.assert_array_equal(outline_mask(labels), expected)


def test_the_image_stays_as_it_was_away_from_outlines(rng: np.random.Generator) -> None:
    view = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
    labels = np.zeros((40, 50), np.uint32)
    labels[10:20, 10:30] = 1
    painted = draw_outlines(view.copy(), labels)
    outline = outline_mask(labels)
    np.testing.assert_array_equal(painted[~outline], view[~outline])
    assert (painted[outline] == PALETTE[5]).all()


def test_outlines_do_not_depend_on_ids(rng: np.random.Generator) -> None:
    labels = draw_grid(5, 6, 9)
    labels[labels % 7 == 0] = 0
    renumbered = np.concatenate([[0], rng.permutation(30) + 1])[labels]
    np.testing.assert_array_equal(outline_mask(labels), outline_mask(renumbered))


def test_outlines_commute_with_flips() -> None:
    labels = draw_grid(3, 4, 11)
    labels[5:20, 5:20] = 0
    np.testing.assert_array_equal(outline_mask(labels)[::-1], outline_mask(labels[::-1]))
    np.testing.assert_array_equal(outline_mask(labels).T, outline_mask(labels.T))


def test_touching_cells_differ_in_colour(rng: np.random.Generator) -> None:
    labels = draw_grid(22, 27, 4)
    labels = np.concatenate([[0], rng.permutation(22 * 27) + 1])[labels]
    painted = draw_outlines(np.zeros((*labels.shape, 3), np.uint8), labels)
    corners = painted[4:-4:4, 4:-4:4].astype(int)
    assert corners.any(axis=2).all()
    assert np.abs(np.diff(corners, axis=0)).any(axis=2).all()
    assert np.abs(np.diff(corners, axis=1)).any(axis=2).all()


def test_a_cell_with_more_neighbours_than_colours_still_has_one() -> None:
    pairs = np.array([(i, j) for i in range(1, 21) for j in range(1, i)])
    colours = choose_colours(20, pairs)
    assert len(set(colours[1 : len(PALETTE) + 1].tolist())) == len(PALETTE)
    assert ((colours >= 0) & (colours < len(PALETTE))).all()


def test_outlines_grow_with_the_image() -> None:
    widths = []
    for side in (400, 1600, 4400):
        labels = np.zeros((60, side), np.uint32)
        labels[20:40, 20:60] = 1
        widths.append(int(outline_mask(labels)[20:40, 40].sum()) // 2)
    assert widths == [1, 2, 3]


def test_no_cells_and_one_pixel() -> None:
    assert not outline_mask(np.zeros((5, 5), np.uint32)).any()
    assert not outline_mask(np.ones((1, 1), np.uint32)).any()
    assert outline_mask(np.array([[1, 0]], np.uint32)).sum() == 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_view_has_full_contrast_and_keeps_order(dtype: str) -> None:
    ramp = np.linspace(10, 200, 64 * 64).reshape(64, 64, 1).astype(dtype)
    view = stretch_contrast(ramp)
    assert (view.dtype, view.shape) == (np.uint8, (64, 64, 3))
    assert (view.min(), view.max()) == (0, 255)
    assert (np.diff(view[..., 0].ravel().astype(int)) >= 0).all()
    np.testing.assert_array_equal(view[..., 0], view[..., 2])


def test_the_view_shows_what_the_networks_see(rng: np.random.Generator) -> None:
    bright = np.linspace(0, 50_000, 64 * 64).reshape(64, 64)
    dim = 100 + 300 * (np.add.outer(np.arange(64), np.arange(64)) % 32 > 16)
    pixels = np.dstack([bright, dim, np.zeros((64, 64))]).astype(np.uint16)
    np.testing.assert_array_equal(
        stretch_contrast(pixels), (normalize(pixels).transpose(1, 2, 0) * 255).astype(np.uint8)
    )
    assert np.ptp(stretch_contrast(pixels)[..., 1]) == 255
    assert not stretch_contrast(np.full((8, 8, 1), 9, np.uint16)).any()


def test_bands_of_the_view_agree_about_a_frame(rng: np.random.Generator) -> None:
    pixels = np.zeros((2300, 90, 1), np.uint8)
    pixels[200:-200, 20:-20] = np.linspace(90, 200, 50).astype(np.uint8)[:, None]
    view = stretch_contrast(pixels)
    assert len(np.unique(view[:190])) == 1
    np.testing.assert_array_equal(view, (normalize(pixels).transpose(1, 2, 0) * 255).astype(np.uint8))


def test_the_file_is_the_painted_view(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 4000, (50, 60, 1), dtype=np.uint16)
    labels = np.zeros((50, 60), np.uint32)
    labels[10:20, 10:30] = 1
    write_overlay(tmp_path / "x_overlay.png", pixels, labels)
    expected = draw_outlines(stretch_contrast(pixels), labels)
    np.testing.assert_array_equal(read_image(tmp_path / "x_overlay.png").pixels, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["x_overlay.png"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        write_overlay(tmp_path / "x.png", np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8), np.uint32))
    assert not list(tmp_path.iterdir())


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for pixels in (np.zeros((8, 9, 1)), np.zeros((8, 8)), np.zeros((8, 8, 2))):
        with pytest.raises(ValueError, match="allowed are"):
            write_overlay(tmp_path / "x.png", pixels, np.zeros((8, 8), np.uint32))


def test_red_stays_red_in_the_file(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[5:, :, 0] = 200
    write_overlay(tmp_path / "x.png", pixels, np.zeros((20, 20), np.uint32))
    stored = cv2.imread(str(tmp_path / "x.png"))
    assert stored is not None
    assert stored[10, 10].tolist() == [0, 0, 255]
