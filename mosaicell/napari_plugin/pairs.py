"""Labelled pairs in a folder, as a fine-tuning takes them: images/NAME.tif beside labels/NAME_label.tiff."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.reading.samples import limit_samples
from mosaicell.writing.masks import mask_name, write_labels
from mosaicell.writing.parts import write_whole

#: pairs from which a fine-tuning starts
PAIRS_NEEDED = 3
#: names that end so are those of labels
LABEL_ENDINGS = ("_label", "_masks")


def save_pair(folder: Path, name: str, image: np.ndarray, labels: np.ndarray, *, replace: bool = False) -> Path:
    """Write an image and its labels, the image last: without labels no image is there.

    Parameters
    ----------
    folder
        Gets the folders images and labels.
    name
        Of the image; what file names do not take becomes `_`.
    image
        (y, x) or (y, x, 3) of any type.
    labels
        (y, x) of integers, 0 for the background.
    replace
        Write over an earlier pair of this name.

    Returns
    -------
    pathlib.Path
        The image.

    Raises
    ------
    ImageError
        When shapes differ, no cell is labelled, the name is none, or there is such a pair already.
    OSError
        When a file cannot be written.
    """
    import tifffile

    if labels.shape != image.shape[:2]:
        raise ImageError(f"its shape is {image.shape[:2]}, that of the labels {labels.shape}")
    if not labels.any():
        raise ImageError("the labels hold no cell")
    stem = re.sub(r"[^\w.+-]+", "_", name).strip("._")
    if not stem or stem.endswith(LABEL_ENDINGS):
        raise ImageError(f"its file would have the name {stem!r}, which is none or that of labels: rename the layer")
    path = folder / "images" / f"{stem}.tif"
    label_path = folder / "labels" / mask_name(path, "full")
    others = [other for other in path.parent.glob("*") if other.stem == stem and other != path]
    if others:
        raise ImageError(f"{others[0]} would have the same labels: rename the layer")
    taken = [str(one) for one in (path, label_path) if one.exists()]
    if taken and not replace:
        raise ImageError(f"there is {' and '.join(taken)} already: rename the layer, or tick to replace it")
    pixels = limit_samples(image, [])
    is_grey = pixels.shape[2] == 1
    for parent in (path.parent, label_path.parent):
        parent.mkdir(parents=True, exist_ok=True)
    write_labels(label_path, labels)
    with write_whole(path) as part:
        tifffile.imwrite(
            part,
            pixels[..., 0] if is_grey else pixels,
            photometric="minisblack" if is_grey else "rgb",
            compression="zlib",
            metadata=None,
        )
    return path


def count_pairs(folder: Path) -> int:
    """Count the images of a folder that have labels."""
    images, labels = folder / "images", folder / "labels"
    return sum((labels / mask_name(path, "full")).is_file() for path in images.glob("[!.]*"))


def finetune_command(folder: Path) -> str:
    """Return the command that fine-tunes to the pairs of a folder, for a shell."""
    weights = folder.with_name(f"{folder.name}-weights")
    return shlex.join(["python", "-m", "mosaicell.training.finetune", "--images", str(folder), "-o", str(weights)])
