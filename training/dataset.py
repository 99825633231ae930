"""Training images: the challenge's folder layout, a cache of decoded images, augmented crops with their targets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mosaicell.contrast.modality import analyse_modality
from mosaicell.contrast.normalize import normalize
from mosaicell.errors import OptionError
from mosaicell.postprocess.objects import split_disconnected
from mosaicell.training.augment import AugmentOptions, change_photometry, crop_matrix, draw_scale, warp_crop
from mosaicell.training.drawing.empty import draw_empty
from mosaicell.training.folder import find_labels, list_images, read_pair, read_sources
from mosaicell.training.image_classes import low_level_class
from mosaicell.training.synthesis import draw_scene
from mosaicell.training.targets import Targets
from mosaicell.writing.parts import write_whole

#: labels with fewer pixels are annotation noise (paper section 2.1)
MIN_CELL_PX = 5
#: share of the empty fields whose noise is stretched to the full range: the harder ones
STRETCHED_FRACTION = 0.4
#: part of every key of the cache: raise it when `normalize`, `analyse_modality`, `low_level_class`, the cleaning of
#: labels or what `_pack` stores changes, or trainings would go on with images that were prepared the old way
CACHE_VERSION = 4


#: makes the targets of a crop from its labels (y, x) and the areas in px of its cells where they are not cut
MakeTargets = Callable[[np.ndarray, np.ndarray], Targets]


@dataclass(frozen=True)
class Sample:
    """One labelled image, ready to be cropped.

    Attributes
    ----------
    image
        uint8 (y, x, c), normalised as a whole, c = 1 or 3.
    labels
        uint16 (y, x), cleaned.
    boxes, areas
        Bounding boxes (n, 4) as (y0, x0, y1, x1) and areas (n + 1,) in px; index 0 of areas is background.
    diameter_px
        Median of 2 sqrt(area / pi), 30 where there is no cell.
    pseudo
        The labels are a model's, not a person's.
    low_level_class
        As `image_classes.low_level_class`; None for a drawn scene.
    """

    source: str
    modality: str
    image: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    diameter_px: float
    pseudo: bool = False
    low_level_class: int | None = None


def load_samples(root: Path, cache: Path) -> list[Sample]:
    """Read images/ and labels/ below `root`, normalise, clean, and keep the decoded result in `cache`.

    `root` has the challenge's layout: images/NAME.*, labels/NAME_label.tiff. A manifest.csv in `root` or in
    its parent (columns image, source, modality) names the sources; an image without an entry has its analysed
    modality as source.

    Parameters
    ----------
    root
        Folder with images/ and labels/.
    cache
        Folder for the decoded images, made when missing; an entry is used until one of its two files or
        `CACHE_VERSION` changes.

    Returns
    -------
    list of Sample
        In the order of the file names, at least one.

    Raises
    ------
    OptionError
        When the folder holds no image, or an image or its labels are missing, unreadable, of different sizes or
        hold more than 65,535 cells.
    """
    images = list_images(root)
    sources = read_sources(root)
    cache.mkdir(parents=True, exist_ok=True)
    samples = []
    for path in images:
        label_path = find_labels(root, path)
        key = f"{CACHE_VERSION}:{path}:{path.stat().st_mtime_ns}:{label_path.stat().st_mtime_ns}"
        packed = cache / (hashlib.sha1(key.encode()).hexdigest()[:20] + ".npz")
        if not packed.exists():
            _pack(root, path, packed)
        with np.load(packed) as arrays:
            image, labels = arrays["image"], arrays["labels"]
            boxes, areas, modality = arrays["boxes"], arrays["areas"], str(arrays["modality"])
            image_class = int(arrays["low_level_class"])
        diameter = float(np.median(2 * np.sqrt(areas[1:] / np.pi))) if len(areas) > 1 else 30.0
        source = sources.get(path.name, modality)
        sample = Sample(source, modality, image, labels, boxes, areas, diameter, low_level_class=image_class)
        samples.append(sample)
    return samples


def _pack(root: Path, path: Path, packed: Path) -> None:
    pixels, stored = read_pair(root, path)
    labels = split_disconnected(stored, MIN_CELL_PX)
    if labels.max(initial=0) > np.iinfo(np.uint16).max:
        raise OptionError(f"{find_labels(root, path)} holds more than 65,535 cells; cut the image into smaller ones")
    image = _normalized_bytes(pixels)
    areas = np.bincount(labels.ravel())
    regions = ndimage.find_objects(labels.astype(np.int32))
    boxes = np.array([(y.start, x.start, y.stop, x.stop) for y, x in regions], np.int32).reshape(-1, 4)
    content: dict[str, Any] = {
        "image": image,
        "labels": labels.astype(np.uint16),
        "boxes": boxes,
        "areas": areas,
        "modality": analyse_modality(pixels),
        "low_level_class": low_level_class(pixels, stored),
    }
    with write_whole(packed) as part:
        np.savez(part, **content)


def _normalized_bytes(pixels: np.ndarray) -> np.ndarray:
    """Normalise (y, x, c) as the program does and return uint8 (y, x, c), with one channel for a grey image."""
    image = np.rint(normalize(pixels).transpose(1, 2, 0) * 255).astype(np.uint8)
    return image[..., :1] if (image[..., :1] == image).all() else image


def draw_crop(
    sample: Sample, augment: AugmentOptions, make_targets: MakeTargets, rng: np.random.Generator
) -> tuple[np.ndarray, Targets]:
    """Cut one augmented crop: image float32 (3, y, x), and its targets."""
    scale = draw_scale(sample.diameter_px, augment, rng)
    height, width = sample.labels.shape
    if len(sample.boxes) and rng.random() < 0.6:
        y0, x0, y1, x1 = sample.boxes[rng.integers(len(sample.boxes))]
        centre = np.array([(y0 + y1) / 2, (x0 + x1) / 2])
        centre += rng.uniform(-0.4, 0.4, 2) * augment.crop_px / scale
    else:
        centre = rng.uniform(0, 1, 2) * (height, width)
    # a centre half a crop away from the border shows no mirrored pixels, if not rotated and the image large enough
    margin = np.minimum(0.5 * augment.crop_px / scale, (height / 2, width / 2))
    centre = np.clip(centre, margin, (height, width) - margin)
    matrix = crop_matrix((centre[0], centre[1]), scale, augment, rng)
    image, labels = warp_crop(sample.image, sample.labels, matrix, augment.crop_px)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255
    planes = np.repeat(planes, 3, 0) if len(planes) == 1 else planes
    planes = change_photometry(planes, sample.modality == "brightfield", augment, rng)
    return planes, make_targets(labels, sample.areas * scale**2)


def synthetic_sample(kind: str, size: int, rng: np.random.Generator) -> Sample:
    """Draw one scene of training/synthesis.py as a sample."""
    pixels, labels = draw_scene(kind, (size, size), rng)
    image = _normalized_bytes(pixels)
    areas = np.bincount(labels.ravel())
    diameter = float(np.median(2 * np.sqrt(areas[1:] / np.pi))) if len(areas) > 1 else 30.0
    no_boxes = np.empty((0, 4), np.int32)
    return Sample("synthetic", _modality(pixels, image), image, labels.astype(np.uint16), no_boxes, areas, diameter)


def _modality(pixels: np.ndarray, image: np.ndarray) -> str:
    """Return the modality of a drawing (y, x, c) and its normalised image, in half the time where that has no colour.

    Crops only ask for stained images, so that "grey" also stands for fluorescence of one channel.
    """
    return analyse_modality(pixels) if image.shape[2] > 1 else "grey"


def empty_sample(size: int, rng: np.random.Generator) -> Sample:
    """Draw one field without a cell as a sample; `normalize` keeps the noise of most of them small, here not always."""
    pixels = draw_empty((size, size), rng)
    image = _normalized_bytes(pixels)
    if rng.random() < STRETCHED_FRACTION:
        low, high = np.percentile(image, (1, 99), axis=(0, 1))
        image = np.clip((image - low) / np.maximum(high - low, 1) * 255, 0, 255).astype(np.uint8)
    labels, no_boxes = np.zeros((size, size), np.uint16), np.empty((0, 4), np.int32)
    return Sample("empty", _modality(pixels, image), image, labels, no_boxes, np.array([size * size]), 30.0)
