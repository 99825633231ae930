"""Overlay: the outlines of the cells on an 8-bit view of the image, as a PNG to look at."""

from __future__ import annotations

import os

import numpy as np

from mosaicell.contrast.normalize import PERCENTILES, measure_contrast, stretch
from mosaicell.contrast.sample import take_sample
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.writing.parts import write_whole

#: RGB outline colours, bright enough for fluorescence and strong enough for stained tissue
PALETTE = np.array(
    [
        (255, 60, 60),
        (40, 220, 60),
        (60, 130, 255),
        (255, 210, 0),
        (255, 60, 220),
        (0, 220, 220),
        (255, 140, 0),
        (150, 90, 255),
        (170, 240, 0),
        (0, 170, 120),
        (255, 130, 160),
        (130, 190, 255),
    ],
    np.uint8,
)
#: step between the colours of consecutive ids; coprime to the palette, so that all are used
PALETTE_STEP = 5
#: longer image side, in pixels, from which outlines are 2 and 3 px wide: fitted to a screen they stay visible
WIDE_OUTLINE_SIDES_PX = (1000, 4000)
#: rows converted to 8 bits at a time, so that a slide needs no float copy
BAND_ROWS = 1024
#: deflate level of the PNG, where speed counts more than size
PNG_LEVEL = 2


def write_overlay(path: str | os.PathLike[str], pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write the image with outlined cells as an 8-bit RGB PNG, whole or not at all.

    Parameters
    ----------
    path:
        PNG file to write or replace.
    pixels:
        (y, x, c) with c in {1, 3}, any real dtype, finite.
    labels:
        (y, x), 0 = background, 1..n without gaps.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    OSError
        If the file cannot be written.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.shape[:2] != labels.shape:
        raise ValueError(
            f"pixels have shape {pixels.shape}, labels {labels.shape}; allowed are (y, x, 1 or 3) and (y, x)"
        )
    import cv2

    view = draw_outlines(stretch_contrast(pixels), labels)
    data = cv2.imencode(".png", cv2.cvtColor(view, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1]
    with write_whole(path) as part:
        part.write_bytes(data.tobytes())


def stretch_contrast(pixels: np.ndarray) -> np.ndarray:
    """Return an 8-bit RGB view of what the networks see.

    Parameters
    ----------
    pixels:
        (y, x, c) with c in {1, 3}, any real dtype, finite.

    Returns
    -------
    numpy.ndarray
        uint8 (y, x, 3), every channel stretched as `normalize` does: a dim channel is seen beside a bright one, cells
        beside debris, and a frame as it was. A constant image becomes black.
    """
    contrast = measure_contrast(take_sample(ArrayPixels(pixels)), PERCENTILES)
    view = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), BAND_ROWS):
        planes = stretch(pixels[top : top + BAND_ROWS], contrast, (top, 0))
        view[top : top + BAND_ROWS] = (planes.transpose(1, 2, 0) * 255).astype(np.uint8)
    return view


def draw_outlines(view: np.ndarray, labels: np.ndarray, thickness_px: int | None = None) -> np.ndarray:
    """Paint the outline of every cell, inside the cell, in a colour that no touching cell has.

    Parameters
    ----------
    view:
        uint8 (y, x, 3), painted in place.
    labels:
        (y, x), 0 = background, 1..n without gaps.
    thickness_px:
        Of the outlines; by default more on larger views.

    Returns
    -------
    numpy.ndarray
        The view.

    Notes
    -----
    A pixel belongs to the outline when another id lies within the outline's width along an axis. The cost is
    a few comparisons per pixel, whatever the number of cells. The border of the image is no outline.
    """
    thickness = thickness_px or 1 + sum(max(labels.shape) >= side for side in WIDE_OUTLINE_SIDES_PX)
    outline = np.zeros(labels.shape, bool)
    touching = []
    for shift in range(1, thickness + 1):
        for first, second in ((np.s_[shift:], np.s_[:-shift]), (np.s_[:, shift:], np.s_[:, :-shift])):
            differs = labels[first] != labels[second]
            outline[first] |= differs
            outline[second] |= differs
            pairs = np.stack([labels[first][differs], labels[second][differs]], axis=1)
            touching.append(pairs[(pairs[:, 0] > 0) & (pairs[:, 1] > 0)])
    outline &= labels > 0
    colours = PALETTE[choose_colours(int(labels.max(initial=0)), np.concatenate(touching))]
    view[outline] = colours[labels[outline]]
    return view


def choose_colours(count: int, touching: np.ndarray) -> np.ndarray:
    """Choose a palette entry for each id, different for cells that touch.

    Parameters
    ----------
    count:
        Highest id.
    touching:
        (n, 2) pairs of ids that touch, in any order, repeated or not.

    Returns
    -------
    numpy.ndarray
        int64 (count + 1,) index into the palette; entry 0 belongs to the background.

    Notes
    -----
    Greedy in the order of ids: a cell keeps its own colour unless an earlier neighbour has it. With more
    earlier neighbours than colours a cell keeps its own.
    """
    colours = np.arange(count + 1) * PALETTE_STEP % len(PALETTE)
    touching = touching.astype(np.int64)
    # One number for each pair sorts ten times faster than two.
    keys = np.unique(touching.max(axis=1) * (count + 1) + touching.min(axis=1))
    neighbours = keys % (count + 1)
    later, starts = np.unique(keys // (count + 1), return_index=True)
    ends = np.append(starts, len(keys))[1:]
    for cell, start, end in zip(later.tolist(), starts.tolist(), ends.tolist(), strict=True):
        taken = set(colours[neighbours[start:end]].tolist())
        own = int(colours[cell])
        free = (own + step for step in range(len(PALETTE)))
        colours[cell] = next((entry % len(PALETTE) for entry in free if entry % len(PALETTE) not in taken), own)
    return colours
