"""Stains: immunostained tissue seen without its brown, in which nuclei are paler than what lies around them.

Absorbances of stains add up, so that each pixel tells how much there is of two of them (Ruifrok and Johnston, 2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.pixels import Pixels

#: what bare glass shows of red, green and blue
Glass = tuple[float, float, float]
#: what haematoxylin and diaminobenzidine absorb of red, green and blue light (Ruifrok and Johnston, table 1)
HAEMATOXYLIN, BROWN = (0.65, 0.70, 0.29), (0.27, 0.57, 0.78)
#: stains are looked for on at most so many pixels
SAMPLE_PX = 1_000_000
#: of the pixels' values, each colour by itself, what bare glass shows
GLASS_PERCENTILE = 99
#: nuclei are paler than dark brown alone: it absorbs so much blue light, so many times as much as green light, and of
#: that so many times as much as red light
BROWN_ABSORBANCE, BROWN_HUE = 0.5, (1.15, 1.2)
#: a pixel is blue where it absorbs so much red light, and so many times as much as blue light
BLUE_ABSORBANCE, BLUE_HUE = 0.15, 1.05
#: tissue is immunostained where at least these shares of it are brown and blue: a section has 0.50 and 0.10; labelled
#: brightfield images have at most 0.05 of the one, and a smear of brownish red cells 0.10 and 0.005
MIN_BROWN, MIN_BLUE = 0.1, 0.02
#: what is found in the brown is glands where it is so many times as wide as the nuclei without the brown; no cell is
GLAND_SIZE = 3.0
#: what users are told
SEEN_WITHOUT_BROWN = "a section in brown and blue, seen without the brown"


@dataclass(frozen=True)
class CounterstainPixels:
    """A section of which haematoxylin alone is seen, as blue on white, (y, x, 3) uint8.

    Attributes
    ----------
    pixels
        Red, green and blue.
    glass
        What bare glass shows of each.
    """

    pixels: Pixels
    glass: Glass

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape_px

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, 3) within bounds."""
        return keep_haematoxylin(self.pixels.read(bounds), self.glass)

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, 3)."""
        return keep_haematoxylin(self.pixels.sample(step), self.glass)


def keep_haematoxylin(pixels: np.ndarray, glass: Glass) -> np.ndarray:
    """Show pixels (y, x, 3) without all that is not haematoxylin, uint8 (y, x, 3).

    Parameters
    ----------
    pixels
        Red, green and blue.
    glass
        What bare glass shows of each.
    """
    stains = np.array([HAEMATOXYLIN, BROWN])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    # what neither stain explains is a third, at right angles to both
    third = np.cross(*stains)
    inverse = np.linalg.inv(np.stack([*stains, third / np.linalg.norm(third)]))
    amount = _absorbances(pixels, glass) @ inverse[:, 0].astype(np.float32)
    shown = np.exp(np.maximum(amount, 0)[..., None] * -stains[0].astype(np.float32))
    return np.asarray(np.rint(255 * shown), np.uint8)


def _absorbances(pixels: np.ndarray, glass: Glass) -> np.ndarray:
    """Return the absorbances, float32 (y, x, 3), not below 0; 5.5 where nothing comes through, as in 8 bits."""
    passed = pixels.astype(np.float32) / np.array(glass, np.float32)
    return -np.log(np.clip(passed, 1 / 255, 1))


def find_glass(pixels: Pixels) -> Glass | None:
    """Look whether an image is a section stained in brown and blue.

    Parameters
    ----------
    pixels
        The image.

    Returns
    -------
    What bare glass shows of red, green and blue, for `CounterstainPixels`; None where it is no such section.
    """
    height, width = pixels.shape_px
    sample = pixels.sample(math.ceil(math.sqrt(max(1.0, height * width / SAMPLE_PX))))
    if sample.shape[2] != 3:
        return None
    red, green, blue = np.percentile(sample, GLASS_PERCENTILE, axis=(0, 1)).tolist()
    glass = (red, green, blue)
    if min(glass) <= 0:
        return None
    reds, greens, blues = np.moveaxis(_absorbances(sample, glass), 2, 0)
    brown = (blues > BROWN_ABSORBANCE) & (blues > BROWN_HUE[0] * greens) & (greens > BROWN_HUE[1] * reds)
    bluish = (reds > BLUE_ABSORBANCE) & (reds > BLUE_HUE * blues)
    return glass if brown.mean() >= MIN_BROWN and bluish.mean() >= MIN_BLUE else None
