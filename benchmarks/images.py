"""Draw images of rising size to time a program with: python -m benchmarks.images OUT."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile

from benchmarks.results import read_megapixels
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.parts import write_whole

#: scenes in turn, one for each size below that of a slide
KINDS = ("brightfield_blood", "phase_layer", "brightfield_tissue", "dic_yeast", "fluorescence_round")
#: the challenge's slides are fluorescent
SLIDE_KIND = "fluorescence_nuclei"
SLIDE_MEGAPIXELS = 25.0
#: below, a scene has no room; the most take 5 GB to draw
LEAST_MEGAPIXELS, MOST_MEGAPIXELS = 0.01, 100.0
MEGAPIXELS = (0.3, 1.0, 4.0, 9.0, 25.0)
#: cells of one size in all images, so that only the area differs
DIAMETER_PX = 30.0
#: from this size an image is a TIFF, as large ones are
TIFF_MEGAPIXELS = 4.0
SMALL_SHAPE_PX = (480, 640)
#: height and width of one megapixel; others have the same ratio
MEGAPIXEL_SHAPE_PX = (800, 1250)


def choose_shape(megapixels: float) -> tuple[int, int]:
    """Return height and width in pixels: 480 x 640 for 0.3 megapixels, else as near as 16 to 25 allows.

    Parameters
    ----------
    megapixels : float
        Size in 10^6 pixels.
    """
    if megapixels == 0.3:
        return SMALL_SHAPE_PX
    height, width = (round(side * math.sqrt(megapixels)) for side in MEGAPIXEL_SHAPE_PX)
    return height, width


def draw_image(folder: Path, kind: str, megapixels: float, seed: int) -> Path:
    """Draw one image and write it, PNG or from 4 megapixels TIFF (deflate).

    Parameters
    ----------
    folder : Path
        Existing folder.
    kind : str
        One of `training.synthesis.SCENES`.
    megapixels : float
        Size, as for `choose_shape`.
    seed : int
        The same seed gives the same image, whatever other images there are.

    Returns
    -------
    Path
        `drawn_SIZEMP_KIND`, with p for the decimal point: a mask's name ends at the first dot.
    """
    size = f"{megapixels:g}"
    rng = np.random.default_rng([seed, *kind.encode(), *size.encode()])
    pixels, _ = draw_scene(kind, choose_shape(megapixels), rng, diameter_px=DIAMETER_PX)
    as_tiff = megapixels >= TIFF_MEGAPIXELS
    path = folder / f"drawn_{size.replace('.', 'p')}MP_{kind}{'.tif' if as_tiff else '.png'}"
    with write_whole(path) as part:
        if as_tiff:
            tifffile.imwrite(part, pixels.squeeze(), compression="zlib", metadata=None)
        # OpenCV's order of colours is blue, green, red
        elif not cv2.imwrite(str(part), pixels[..., ::-1] if pixels.shape[2] == 3 else pixels):
            raise OSError(f"{part} could not be written")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw one image of each size.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, metavar="OUT", help="folder for the images, made when missing")
    add(
        "--megapixels",
        type=read_megapixels(LEAST_MEGAPIXELS, MOST_MEGAPIXELS),
        nargs="+",
        default=MEGAPIXELS,
        metavar="SIZE",
        help=f"sizes in 10^6 pixels, 0.3 being 640 x 480 (default: {' '.join(f'{size:g}' for size in MEGAPIXELS)})",
    )
    add("--seed", type=int, default=0, help="another seed, 0 or more, draws other images (default: 0)")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error(f"the seed is 0 or more, got {options.seed}")
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        for number, megapixels in enumerate(dict.fromkeys(options.megapixels)):
            kind = KINDS[number % len(KINDS)] if megapixels < SLIDE_MEGAPIXELS else SLIDE_KIND
            path = draw_image(options.folder, kind, megapixels, options.seed)
            height, width = choose_shape(megapixels)
            print(f"{path}: {height} x {width}", flush=True)
    except OSError as error:
        parser.error(f"the images cannot be written: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
