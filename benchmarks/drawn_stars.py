"""What networks of the two kinds of sribdmed would predict of drawn cells: rays, and distances from the middle."""

from __future__ import annotations

import cc3d
import cv2
import edt
import numpy as np
from numpy.typing import NDArray

from benchmarks.drawn_maps import NOISE, NOISE_BLUR_PX, DrawnMaps

Map = NDArray[np.float32]

#: share of a px by which a ray goes on from one look to the next
STEP_PX = 0.5
#: noise of rays, as the standard deviation of their logarithm
RAY_NOISE = 0.05


def rays_of_labels(labels: NDArray[np.integer], places: NDArray[np.intp], count: int) -> Map:
    """Measure how far cells reach from some of their pixels along rays of even angles.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.
    places : intp array (n, 2)
        Pixels (y, x).
    count : int
        Number of rays; ray k points to 2 pi k / count, dy its sine and dx its cosine.

    Returns
    -------
    float32 array (n, count)
        Distance from the pixel's centre to where the ray leaves its cell or the image, in px; 0 in the background.
    """
    angles = 2 * np.pi * np.arange(count) / count
    rays = np.zeros((len(places), count), np.float32)
    framed = np.pad(labels, 1)
    own = labels[places[:, 0], places[:, 1]]
    for ray, (dy, dx) in enumerate(zip(np.sin(angles), np.cos(angles), strict=True)):
        rest = np.flatnonzero(own)
        steps = 0
        while rest.size:
            steps += 1
            y = np.rint(places[rest, 0] + steps * STEP_PX * dy).astype(np.intp) + 1
            x = np.rint(places[rest, 1] + steps * STEP_PX * dx).astype(np.intp) + 1
            inside = framed[y, x] == own[rest]
            rays[rest[~inside], ray] = (steps - 0.5) * STEP_PX
            rest = rest[inside]
    return rays


def object_probability_of_labels(labels: NDArray[np.integer]) -> Map:
    """Divide each cell's distance to its border by its greatest one: 1 in its middle, 0 in the background."""
    distances = edt.edt(np.ascontiguousarray(labels), black_border=False)
    deepest = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    np.maximum.at(deepest, labels.ravel(), distances.ravel())
    return distances / np.where(deepest > 0, deepest, 1)[labels]


def middle_distances_of_labels(labels: NDArray[np.integer]) -> Map:
    """Return how far pixels lie from the middle of their cell, across and down, in shares of its reach to that side.

    Returns
    -------
    float32 array (2, y, x)
        Horizontal and vertical: -1 at the left or upper end of a cell, 0 in its middle and in the background, 1 at the
        right or lower end.
    """
    maps = np.zeros((2, *labels.shape), np.float32)
    statistics = cc3d.statistics(np.ascontiguousarray(labels, np.uint32))
    for number, box in enumerate(statistics["bounding_boxes"]):
        if not number or box is None:
            continue
        rows, columns = box[0], box[1]
        inside = labels[rows, columns] == number
        if not inside.any():
            continue
        places = np.nonzero(inside)
        for map_, along in zip(maps, (places[1], places[0]), strict=True):
            # the middle of the pixels, as whole numbers of px, is that of the published targets
            from_middle = (along - np.rint(along.mean())).astype(np.float32)
            for side in (-1, 1):
                reach = (side * from_middle).max()
                if reach > 0:
                    from_middle[side * from_middle > 0] /= reach
            map_[rows, columns][places] = from_middle
    return maps


def draw_star_answer(maps: DrawnMaps, rays: int, grid_px: int, seed: int = 0) -> tuple[Map, Map]:
    """Return what a StarDist network with a little noise would answer for drawn cells.

    Returns
    -------
    maps : float32 array (1, 2, y, x)
        Foreground and object probability.
    rays : float32 array (1, rays, y / grid_px, x / grid_px)
        Rays of every so-many-th pixel; 0 in the background.
    """
    rng = np.random.default_rng(seed)
    height, width = (side // grid_px for side in maps.labels.shape)
    shape_px = (height * grid_px, width * grid_px)
    labels = maps.labels[: shape_px[0], : shape_px[1]]
    probability = object_probability_of_labels(labels) + _noise(shape_px, rng)
    planes = np.stack([maps.foreground[: shape_px[0], : shape_px[1]], probability.clip(0, 1)])
    places = np.argwhere(labels[::grid_px, ::grid_px])
    lengths = rays_of_labels(labels, grid_px * places, rays)
    answered = np.zeros((rays, height, width), np.float32)
    answered[:, places[:, 0], places[:, 1]] = lengths.T * rng.lognormal(0, RAY_NOISE, lengths.T.shape)
    return planes[None].astype(np.float32), answered[None]


def draw_hover_maps(maps: DrawnMaps, seed: int = 0) -> Map:
    """Return what a HoVer network with a little noise would answer for drawn cells: float32 (3, y, x)."""
    rng = np.random.default_rng(seed)
    distances = middle_distances_of_labels(maps.labels)
    noise = np.stack([_noise(maps.labels.shape, rng) for _ in distances])
    return np.concatenate([maps.foreground[None], distances + noise])


def _noise(shape_px: tuple[int, ...], rng: np.random.Generator) -> Map:
    return cv2.GaussianBlur(rng.normal(0, NOISE, shape_px).astype(np.float32), (0, 0), NOISE_BLUR_PX)
