"""Images for a classifier: reduced as the program reduces them, with the class of whatever window is cut from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from mosaicell.contrast.normalize import normalize
from mosaicell.training.augment import AugmentOptions, change_photometry, warp_crop
from mosaicell.training.folder import find_labels, list_images, read_pair, read_sources
from mosaicell.training.image_classes import LARGE_CELL_PX, low_level_class
from mosaicell.training.synthesis import SCENES, draw_scene
from mosaicell.writing.parts import write_whole

#: side of a drawn scene in px
SCENE_PX = 448
#: windows are enlarged and reduced by up to this factor
SCALE_JITTER = 1.6
#: this share of those in colour so that their largest cell gets up to so many times the area of the limit, or less,
#: within a range of factors: few images have large cells, and those that have look alike
LIMIT_FRACTION = 0.5
LIMIT_JITTER = 4.0
SCALE_RANGE = (0.5, 4.0)
#: no colour may come or go, and light may not turn to dark
PHOTOMETRY = AugmentOptions(
    gamma=0.2, grey_probability=0.0, invert_probability=0.0, haze_probability=0.0, blur_probability=0.3
)
#: the rule gives colour images one of these
LARGE_CELLS, SMALL_CELLS = 2, 3
#: part of every key of the cache: raise it when `normalize`, the rule or what `_pack` stores changes
CACHE_VERSION = 1


@dataclass(frozen=True)
class ClassSample:
    """One labelled image, reduced.

    Attributes
    ----------
    label
        Index into `image_classes.CLASSES`.
    image
        uint8 (y, x, c), normalised as a whole, then reduced; one channel for an image without colour.
    centres
        float32 (n, 2) as (y, x): middles of the cells, in px of the reduced image.
    areas_px
        float32 (n,): their areas before the image was reduced.
    """

    name: str
    source: str
    label: int
    image: np.ndarray
    centres: np.ndarray
    areas_px: np.ndarray


def load_class_samples(root: Path, cache: Path, reduction: int) -> list[ClassSample]:
    """Read the images of a folder in the challenge's layout, normalise, sort and reduce them; keep that in `cache`.

    Raises
    ------
    OptionError
        When the folder holds no image, or an image or its labels are missing or cannot be read.
    """
    sources = read_sources(root)
    cache.mkdir(parents=True, exist_ok=True)
    samples = []
    for path in list_images(root):
        changed = (path.stat().st_mtime_ns, find_labels(root, path).stat().st_mtime_ns)
        key = f"classes:{CACHE_VERSION}:{reduction}:{path}:{changed}"
        packed = cache / (hashlib.sha1(key.encode()).hexdigest()[:20] + ".npz")
        source = sources.get(path.name, "")
        if not packed.exists():
            sample = make_class_sample(*read_pair(root, path), reduction)
            with write_whole(packed) as part:
                np.savez(
                    part,
                    label=sample.label,
                    image=sample.image,
                    centres=sample.centres,
                    areas_px=sample.areas_px,
                )
        with np.load(packed) as arrays:
            rest = (arrays["image"], arrays["centres"], arrays["areas_px"])
            samples.append(ClassSample(path.name, source, int(arrays["label"]), *rest))
    return samples


def draw_class_samples(per_kind: int, reduction: int, rng: np.random.Generator) -> list[ClassSample]:
    """Draw scenes of all kinds of training/synthesis.py."""
    return [
        make_class_sample(*draw_scene(kind, (SCENE_PX, SCENE_PX), rng), reduction, kind, "drawn")
        for kind in SCENES
        for _ in range(per_kind)
    ]


def make_class_sample(
    pixels: np.ndarray, labels: np.ndarray, reduction: int, name: str = "", source: str = ""
) -> ClassSample:
    """Sort, normalise and reduce an image (y, x, c) with its labels (y, x)."""
    label = low_level_class(pixels, labels)
    image = normalize(pixels)
    if label not in (LARGE_CELLS, SMALL_CELLS):
        image = image.mean(0, keepdims=True)
    size = tuple(max(1, round(side / reduction)) for side in reversed(labels.shape))
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in image]
    areas = np.bincount(labels.ravel())
    ids = np.flatnonzero(areas[1:]) + 1
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids), np.float32).reshape(-1, 2)
    reduced = np.rint(np.stack(planes, -1) * 255).astype(np.uint8)
    return ClassSample(name, source, label, reduced, centres / reduction, areas[ids].astype(np.float32))


def draw_window(sample: ClassSample, input_px: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Cut one augmented window.

    Parameters
    ----------
    sample
        Smaller ones are mirrored at their edges.
    input_px
        Side of the window.

    Returns
    -------
    window : float32 (3, input_px, input_px)
    label : int
        That of the image, but where it is one of colour the size of the largest cell that has its middle in the window,
        scaled as the window is; without such a cell that of the whole image.
    """
    scale = _draw_scale(sample, rng)
    matrix = _window_matrix(sample.image.shape[:2], input_px, scale, rng)
    # `warp_crop` wants labels too
    image, _ = warp_crop(sample.image, np.zeros(sample.image.shape[:2], np.uint8), matrix, input_px)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255
    planes = np.repeat(planes, 3, 0) if len(planes) == 1 else planes
    window = change_photometry(planes, sample.label in (LARGE_CELLS, SMALL_CELLS), PHOTOMETRY, rng)
    return window, _label_window(sample, matrix, input_px, scale)


def _draw_scale(sample: ClassSample, rng: np.random.Generator) -> float:
    largest_px = sample.areas_px.max(initial=0)
    if sample.label in (LARGE_CELLS, SMALL_CELLS) and largest_px and rng.random() < LIMIT_FRACTION:
        wanted_px = LARGE_CELL_PX * np.exp(rng.uniform(-1, 1) * np.log(LIMIT_JITTER))
        return float(np.clip(np.sqrt(wanted_px / largest_px), *SCALE_RANGE))
    return float(np.exp(rng.uniform(-1, 1) * np.log(SCALE_JITTER)))


def _window_matrix(shape_px: tuple[int, int], input_px: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the affine map (2, 3) from window to image coordinates (x, y): any angle, any place, mirrored or not."""
    angle = rng.uniform(0, 2 * np.pi)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    lengths = np.array(shape_px[::-1], float)
    # where the image is large enough, not much of the window lies outside
    margin = np.minimum(input_px / scale / 2, lengths / 2)
    centre = rng.uniform(margin, lengths - margin)
    middle = np.full(2, (input_px - 1) / 2)
    return np.column_stack((linear, centre - 0.5 - linear @ middle))


def _label_window(sample: ClassSample, matrix: np.ndarray, input_px: int, scale: float) -> int:
    if sample.label not in (LARGE_CELLS, SMALL_CELLS):
        return sample.label
    places = np.linalg.solve(matrix[:, :2], sample.centres[:, ::-1].T - matrix[:, 2:])
    inside = ((places >= 0) & (places < input_px)).all(0)
    areas = sample.areas_px[inside] if inside.any() else sample.areas_px
    return LARGE_CELLS if areas.max(initial=0) * scale**2 > LARGE_CELL_PX else SMALL_CELLS
