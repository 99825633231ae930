"""Files that hold more than one picture, drawn in place: discs, stacks of them at every focus, noise beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from tests.test_tiff_pages import change_tag
from tests.toys import draw_discs

SHAPE = (120, 180)
#: plane of a stack, from 1, that is in focus
FOCUS = 5
#: tags of colours and of a palette
PHOTOMETRIC_TAG, PALETTE_TAG = 262, 320


def draw_noise(seed: int, level: float = 12) -> np.ndarray:
    """Draw what a camera sees of nothing: uint8 of `SHAPE`."""
    return np.random.default_rng(seed).normal(level, 2, SHAPE).clip(0, 255).astype(np.uint8)


def draw_noisy_discs(count: int, seed: int = 0) -> np.ndarray:
    """Draw discs on a dark ground with noise: uint8, 60 px wide for each disc."""
    discs = draw_discs(count).astype(np.float32) * 0.7
    noise = np.random.default_rng(seed).normal(12, 2, discs.shape)
    return (discs + noise).clip(0, 255).astype(np.uint8)


def draw_focus_series(*, bright: bool = True, planes: int = 9) -> np.ndarray:
    """Draw three discs at every focus, bright on dark or as rims about a grey ground: uint8 (planes, y, x)."""
    discs = draw_discs(3).astype(np.float32) / 255
    if not bright:
        # as phase contrast has them: dark inside, bright around, as much of either as of the ground between
        discs = cv2.GaussianBlur(discs, (0, 0), 1) - cv2.GaussianBlur(discs, (0, 0), 4)
    series = []
    for plane in range(1, planes + 1):
        blurred = cv2.GaussianBlur(discs, (0, 0), 0.3 + 3 * abs(plane - FOCUS)) * (180 if bright else -120)
        noise = np.random.default_rng(plane).normal(12 if bright else 120, 2, SHAPE)
        series.append((blurred + noise).clip(0, 255).astype(np.uint8))
    return np.stack(series)


def write_pages(path: Path, planes: np.ndarray) -> None:
    """Write pages of which nothing says what they are."""
    with tifffile.TiffWriter(path) as writer:
        for plane in planes:
            writer.write(plane, photometric="minisblack", metadata=None)


def write_ome(path: Path, planes: np.ndarray, names: list[str]) -> None:
    """Write channels with names as OME describes them."""
    metadata = {"axes": "CYX", "Channel": {"Name": names}}
    tifffile.imwrite(path, planes, ome=True, photometric="minisblack", metadata=metadata)


def write_imagej(path: Path, planes: np.ndarray, axes: str, **metadata: Any) -> None:
    """Write a stack as ImageJ describes it."""
    tifffile.imwrite(path, planes, imagej=True, photometric="minisblack", metadata={"axes": axes, **metadata})


def write_composite(path: Path, planes: np.ndarray) -> None:
    """Write channels of 8 bits as ImageJ does, each with a table of colours that it is shown in."""
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    count = len(planes)
    text = f"ImageJ=1.53t\nimages={count}\nchannels={count}\nhyperstack=true\nmode=composite\n"
    with tifffile.TiffWriter(path) as writer:
        for number, plane in enumerate(planes):
            described = None if number else text
            writer.write(plane, photometric="palette", colormap=table, metadata=None, description=described)


def write_bilevel_palette(path: Path, plane: np.ndarray) -> None:
    """Write a plane of 1 bit with a palette of black and white."""
    table = (PALETTE_TAG, "H", 6, (0, 65535) * 3, True)
    tifffile.imwrite(path, plane, photometric="minisblack", metadata=None, extratags=[table])
    change_tag(path, PHOTOMETRIC_TAG, 3)


def write_inverting(path: Path, plane: np.ndarray) -> None:
    """Write a plane that ImageJ shows dark on white, its values as they were measured."""
    tifffile.imwrite(path, plane, photometric="miniswhite", description="ImageJ=1.53t\n", metadata=None)
