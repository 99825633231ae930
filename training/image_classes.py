"""Classes of images by low-level cues, one for each segmentation model: python -m training.image_classes --data DIR.

Source: sribdmed paper, section 2.1 and figure 1. Paper and published code disagree, and both go by how an image is
stored; the third rule here goes by what it shows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.contrast.modality import COLOURED, analyse_sample, measure_colour
from mosaicell.contrast.sample import take_sample
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import list_images, read_pair, read_sources

#: names of the classes 0 to 3; the segmentation models of the paper are StarDist for all but the second (HoVer-Net)
CLASSES = ("one channel", "grey", "colour, large cells", "colour, small cells")
#: mean saturation and range of mean values by which paper and published code decide
MEAN_SATURATION = 0.1
VALUE_RANGE = (0.1, 0.6)
#: largest cell in px above which the cells of a colour image are large: paper, and published code
LARGE_CELL_PX = 8_000
LARGE_CELL_PX_IN_CODE = 30_000
DEFAULT_RULE = "content"


def low_level_class(image: np.ndarray, labels: NDArray[np.integer], rule: str = DEFAULT_RULE) -> int:
    """Sort an image into one of the paper's four classes.

    Parameters
    ----------
    image : (y, x) or (y, x, c) array, c = 1 or 3
        Pixels as stored. The published rules need integers, or floats in [0, 1].
    labels : integer array (y, x)
        Label image, 0 = background; the area of the largest cell separates the classes 2 and 3.
    rule : str
        "paper": one channel; grey where the mean saturation is above 0.1 and the mean value within (0.1, 0.6); colour
        by 8,000 px.
        "code": one channel; colour where the mean saturation is above 0.1 or the mean value outside [0.1, 0.6], by
        30,000 px; else grey.
        "content": by the modality analyser (`mosaicell.contrast.modality`): one channel for fluorescence without
        colour, grey for whatever else has no colour, colour by 8,000 px.

    Returns
    -------
    int
        Index into `CLASSES`.

    Raises
    ------
    ValueError
        For an unknown rule or another shape.

    Notes
    -----
    As the paper states its condition, grey images are those with colour. "content" alone gives an image the same class
    whether it is stored as one channel or as three equal ones, and whatever its exposure and bit depth.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; choose one of {', '.join(RULES)}")
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ValueError(f"got an image of shape {image.shape}; allowed is (y, x), (y, x, 1) or (y, x, 3) with pixels")
    return RULES[rule](pixels, largest_cell_px(labels))


def largest_cell_px(labels: NDArray[np.integer]) -> int:
    """Return the area of the largest cell in px, 0 without a cell."""
    return int(np.unique(labels[labels > 0], return_counts=True)[1].max(initial=0))


def _class_of_paper(pixels: np.ndarray, largest_px: int) -> int:
    if pixels.shape[2] == 1:
        return 0
    saturation, value = _mean_saturation_and_value(pixels)
    if saturation > MEAN_SATURATION and VALUE_RANGE[0] < value < VALUE_RANGE[1]:
        return 1
    return 2 if largest_px > LARGE_CELL_PX else 3


def _class_of_code(pixels: np.ndarray, largest_px: int) -> int:
    if pixels.shape[2] == 1:
        return 0
    saturation, value = _mean_saturation_and_value(pixels)
    if saturation <= MEAN_SATURATION and VALUE_RANGE[0] <= value <= VALUE_RANGE[1]:
        return 1
    return 2 if largest_px > LARGE_CELL_PX_IN_CODE else 3


def _class_of_content(pixels: np.ndarray, largest_px: int) -> int:
    sample = take_sample(ArrayPixels(pixels))
    modality = analyse_sample(sample)
    if modality == "grey":
        return 1
    if modality == "fluorescence" and measure_colour(sample).chroma <= COLOURED:
        return 0
    return 2 if largest_px > LARGE_CELL_PX else 3


def _mean_saturation_and_value(pixels: np.ndarray) -> tuple[float, float]:
    """Return the means of S and V of the colour space HSV, in [0, 1]."""
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    hsv = cv2.cvtColor(pixels.astype(np.float32) / np.float32(peak), cv2.COLOR_RGB2HSV)
    return float(hsv[..., 1].mean(dtype=np.float64)), float(hsv[..., 2].mean(dtype=np.float64))


RULES: dict[str, Callable[[np.ndarray, int], int]] = {
    "paper": _class_of_paper,
    "code": _class_of_code,
    "content": _class_of_content,
}


def count_classes(root: Path) -> dict[str, dict[str, NDArray[np.int64]]]:
    """Count the images of a folder in each class.

    Parameters
    ----------
    root
        Folder with images/ and labels/.

    Returns
    -------
    int64 (4,) by rule, then by source; an image that no manifest.csv names has the source "".

    Raises
    ------
    OptionError
        When an image or its labels are missing or cannot be read.
    """
    sources = read_sources(root)
    counts: dict[str, dict[str, NDArray[np.int64]]] = {rule: {} for rule in RULES}
    for path in list_images(root):
        pixels, labels = read_pair(root, path)
        for rule, by_source in counts.items():
            row = by_source.setdefault(sources.get(path.name, ""), np.zeros(len(CLASSES), np.int64))
            row[low_level_class(pixels, labels, rule)] += 1
    return counts


def format_counts(counts: dict[str, dict[str, NDArray[np.int64]]]) -> list[str]:
    """Write the counts of `count_classes` as lines of two tables: by rule, and by source for all rules."""
    lines = ["| rule | " + " | ".join(CLASSES) + " |", "|---|" + "---:|" * len(CLASSES)]
    for rule, by_source in counts.items():
        total = np.sum(list(by_source.values()), axis=0)
        lines.append(f"| {rule} | " + " | ".join(str(number) for number in total) + " |")
    lines += ["", "| source | " + " | ".join(counts) + " |", "|---|" + "---:|" * len(counts)]
    for source in sorted(next(iter(counts.values()))):
        cells = (" / ".join(str(number) for number in by_source[source]) for by_source in counts.values())
        lines.append(f"| {source} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.image_classes", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    arguments = parser.parse_args()
    with ends_in_one_sentence(parser):
        print("\n".join(format_counts(count_classes(arguments.data))))


if __name__ == "__main__":
    main()
