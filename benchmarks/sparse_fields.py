"""A scene laid into a larger field of its own background: the same cells, and far more of what lies between them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.evaluation.metrics import FRAME_PX

Labels = NDArray[np.uint32]

#: px around a cell that are no background: halos and the blur of the optics
RIM_PX = 5
#: sides of the patches that a background is quilted from: the largest of which there are enough is taken
PATCHES_PX, FEWEST_PATCHES = (24, 16, 12, 8, 6), 30
#: over so many px the scene's border is blended into the field
BLEND_PX = 4
#: scale in px below which brightness is noise and belongs to the patches
LEVEL_PX = 12.0


def enlarge_field(
    pixels: NDArray[Any], labels: Labels, shape_px: tuple[int, int], rng: np.random.Generator, *, centred: bool = False
) -> tuple[NDArray[Any], Labels, tuple[int, int]]:
    """Lay a scene into a larger field of its own background and noise.

    Parameters
    ----------
    pixels : (y, x, c) uint8 or uint16
    labels : (y, x) uint32
    shape_px : (int, int)
        Height and width of the field, at least those of the scene.
    rng : numpy.random.Generator
    centred : bool
        In the middle, else anywhere.

    Returns
    -------
    field : (y, x, c), as `pixels`
        Cells that reach the scene's border are replaced by background; all other cells keep their pixels.
    labels : (y, x) uint32
        Of the scene, without those cells.
    corner : (int, int)
        Row and column of the scene in the field.

    Raises
    ------
    ValueError
        When the scene has too little background, or the field is smaller than the scene.
    """
    height, width = labels.shape
    room = shape_px[0] - height, shape_px[1] - width
    if min(room) < 0:
        raise ValueError(f"a field of {shape_px[0]} x {shape_px[1]} px does not hold a scene of {height} x {width} px")
    top, left = (r // 2 if centred else int(rng.integers(r + 1)) for r in room)
    background = cv2.dilate((labels > 0).astype(np.uint8), _disc(RIM_PX)) == 0
    values = pixels.astype(np.float32)
    level = _level(values, background)
    patches = _cut_patches(values - level, background)
    field = _quilt(patches, shape_px, rng)
    middle = np.median(level[background], axis=0)
    _add_level(field, level - middle, (top, left))
    field += middle
    whole = drop_cut_cells(labels)
    cut = cv2.dilate(((labels > 0) & (whole == 0)).astype(np.uint8), _disc(RIM_PX - 2)) > 0
    keep = np.pad(~cut | (whole > 0), 1)
    share = cv2.distanceTransform(keep.astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] / BLEND_PX
    share = np.where(whole > 0, 1, np.minimum(share, 1))[..., None]
    inside = field[top : top + height, left : left + width]
    inside += (values - inside) * share
    limit = np.iinfo(pixels.dtype).max
    return np.clip(np.rint(field), 0, limit).astype(pixels.dtype), whole, (top, left)


def drop_cut_cells(labels: Labels) -> Labels:
    """Return labels without the cells that the metric leaves out at the border."""
    inner = (slice(FRAME_PX, -FRAME_PX),) * 2
    frame = np.ones(labels.shape, bool)
    frame[inner] = False
    return np.where(np.isin(labels, np.unique(labels[frame])), 0, labels).astype(labels.dtype)


def _disc(radius_px: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))


def _level(values: NDArray[np.float32], background: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the smooth brightness (y, x, c) of the background, carried on beneath the cells."""
    seen = background.astype(np.float32)
    mean = np.average(values.reshape(-1, values.shape[2]), axis=0, weights=seen.ravel() if seen.any() else None)
    level = np.broadcast_to(mean.astype(np.float32), values.shape).copy()
    scale = LEVEL_PX * 2 ** np.floor(np.log2(max(1.0, max(seen.shape) / 3 / LEVEL_PX)))
    while scale >= LEVEL_PX:
        # from coarse to fine, what few background pixels say of a place counts less than what is known already
        weight = _blur(seen[..., None], scale)
        change = _blur((values - level) * seen[..., None], scale)
        level += change / np.maximum(weight, 0.2)
        scale /= 2
    return level


def _blur(image: NDArray[np.float32], scale_px: float) -> NDArray[np.float32]:
    """Blur (y, x, c) over a scale, in a smaller copy where the scale is large: a kernel of 1,000 px takes long."""
    height, width = image.shape[:2]
    factor = max(1.0, scale_px / LEVEL_PX)
    small_px = max(1, round(width / factor)), max(1, round(height / factor))
    small = cv2.GaussianBlur(cv2.resize(image, small_px, interpolation=cv2.INTER_AREA), (0, 0), scale_px / factor)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)


def _cut_patches(rest: NDArray[np.float32], background: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Cut patches (n, side, side, c) of background, the quieter half: debris is not to be repeated."""
    integral = cv2.integral(background.astype(np.uint8))
    for side in PATCHES_PX:
        if min(background.shape) < side:
            continue
        full = integral[side:, side:] - integral[:-side, side:] - integral[side:, :-side] + integral[:-side, :-side]
        rows, columns = np.nonzero(full == side * side)
        if len(rows) < FEWEST_PATCHES:
            continue
        some = np.linspace(0, len(rows) - 1, min(len(rows), 1000)).astype(int)
        patches = np.stack([rest[y : y + side, x : x + side] for y, x in zip(rows[some], columns[some], strict=True)])
        loudness = np.abs(patches).max(axis=(1, 2, 3))
        return patches[np.argsort(loudness, kind="stable")[: max(FEWEST_PATCHES // 2, len(patches) // 2)]]
    raise ValueError("the scene has too little background between its cells")


def _quilt(patches: NDArray[np.float32], shape_px: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Blend patches drawn at random, half over each other, so that their variance is kept: (y, x, c)."""
    side, channels = patches.shape[1], patches.shape[3]
    half = side // 2
    # squares of the two windows over each other add up to 1, as variances do
    window = np.sin(np.pi * (np.arange(side, dtype=np.float32) + 0.5) / side)
    weighted = patches * (window[:, None] * window)[..., None]
    rows, columns = (-(-length // side) + 1 for length in shape_px)
    field = np.zeros((rows * side + half, columns * side + half, channels), np.float32)
    for y in (0, half):
        for x in (0, half):
            chosen = weighted[rng.integers(len(patches), size=(rows, columns))]
            tiles = chosen.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, channels)
            field[y : y + rows * side, x : x + columns * side] += tiles
    return field[half : half + shape_px[0], half : half + shape_px[1]]


def _add_level(field: NDArray[np.float32], level: NDArray[np.float32], corner: tuple[int, int]) -> None:
    """Add a scene's uneven brightness to a field; beyond the scene it fades away, what is fine in it at once."""
    smooth = _blur(level, max(level.shape[:2]) / 8)
    for part, reaches_px in ((smooth, [side / 2 for side in level.shape[:2]]), (level - smooth, [LEVEL_PX, LEVEL_PX])):
        nearest, fades = [], []
        for axis, reach_px in enumerate(reaches_px):
            place = np.arange(field.shape[axis]) - corner[axis]
            nearest.append(np.clip(place, 0, level.shape[axis] - 1))
            fades.append(np.exp(-np.square((place - nearest[axis]) / reach_px)).astype(np.float32))
        # beyond this, less than a thousandth is left
        near_y, near_x = (np.flatnonzero(fade > 1e-3) for fade in fades)
        box = slice(near_y[0], near_y[-1] + 1), slice(near_x[0], near_x[-1] + 1)
        fade = fades[0][box[0]][:, None] * fades[1][box[1]]
        field[box] += part[nearest[0][box[0]][:, None], nearest[1][box[1]]] * fade[..., None]
