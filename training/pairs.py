"""Images and their labels as their owners keep them: in the challenge's layout, or in cellpose's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosaicell.errors import ImageError, OptionError
from mosaicell.reading.images import SUFFIXES
from mosaicell.training.folder import read_pixels
from mosaicell.writing.masks import LABEL_SUFFIX, mask_name, read_labels

log = logging.getLogger("training")

#: how label files end, before the suffix: the challenge's, which are this program's masks too, and cellpose's
LABEL_ENDINGS = ("_label", "_masks")
LABEL_SUFFIXES = (".tiff", ".tif", ".png")
#: how cellpose lets the names of images end, before the suffix: `a_img.png` belongs to `a_masks.png`
IMAGE_ENDING = "_img"


@dataclass(frozen=True)
class Pair:
    """Files of one labelled image."""

    image: Path
    labels: Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read both.

        Returns
        -------
        pixels
            (y, x, c) with c in {1, 3}.
        labels
            uint32 (y, x), ids as stored.

        Raises
        ------
        OptionError
            When one of the two cannot be read, or their sizes differ.
        """
        pixels = read_pixels(self.image)
        try:
            labels = read_labels(self.labels)
        except ImageError as error:
            raise OptionError(f"{self.labels} {error}") from error
        if labels.shape != pixels.shape[:2]:
            raise OptionError(f"{self.labels} has shape {labels.shape}, its image {pixels.shape[:2]}")
        return pixels, labels


def find_pairs(images: Path, labels: Path | None = None) -> list[Pair]:
    """Find labelled images; those without labels are named in the log and left out.

    Parameters
    ----------
    images
        Folder of images, or one that holds `images/`.
    labels
        Folder of the labels. By default `labels/` beside or in that folder, else the folder of the images itself.

    Returns
    -------
    list of Pair
        By the names of the images. The labels of `a.png` are `a_label.tiff` or `a_masks.tif`, both also as .tif, .tiff
        or .png; in a folder of their own `a.tif` or `a.png` too.

    Raises
    ------
    OptionError
        When a folder is missing, or two images have the same labels.
    """
    folder = images / "images" if (images / "images").is_dir() else images
    if labels is None:
        beside = folder.parent / "labels"
        labels = beside if folder.name == "images" and beside.is_dir() else folder
    for needed in (folder, labels):
        if not needed.is_dir():
            raise OptionError(f"{needed} is not a folder")
    pairs: dict[Path, Pair] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES or path.stem.endswith(LABEL_ENDINGS):
            continue
        found = _find_labels(path, labels)
        if found is None:
            log.warning("%s: left out, %s holds no labels of it", path.name, labels)
        elif found in pairs:
            raise OptionError(f"{pairs[found].image.name} and {path.name} share the labels {found}: rename one of them")
        else:
            pairs[found] = Pair(path, found)
    return list(pairs.values())


def _find_labels(image: Path, folder: Path) -> Path | None:
    stems = dict.fromkeys((image.stem, image.stem.removesuffix(IMAGE_ENDING), _challenge_stem(image)))
    names = [stem + ending for stem in stems for ending in LABEL_ENDINGS]
    if folder.resolve() != image.parent.resolve():
        names += stems
    paths = (folder / (name + suffix) for name in names for suffix in LABEL_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _challenge_stem(image: Path) -> str:
    return mask_name(image).removesuffix(LABEL_SUFFIX)
