"""Views of images and the outlines of their cells, as JPEG and PNG data to put into a page."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.reading.images import has_image_name, read_image
from mosaicell.writing.masks import mask_name, read_labels
from mosaicell.writing.overlay import draw_outlines, stretch_contrast

#: longer side: two views beside each other fill a screen
SIDE_PX = 720
#: a small image is enlarged to this at most
MAX_ENLARGEMENT = 3
MAX_BYTES = 50_000
#: so that outlines do not fade where a view is shown small
OUTLINE_PX = 2
#: JPEG qualities tried one after the other, then again on views of half the size
QUALITIES = (90, 80, 70, 60, 50, 40)
#: colour for every pixel: with the usual half small stained or fluorescent cells would turn grey
FULL_COLOUR = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def find_images(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """List the images of a folder by their own name and by the names that their mask may have.

    Returns
    -------
    by_name, by_mask : dict
        Of two images with one mask name the first counts.
    """
    by_name: dict[str, Path] = {}
    by_mask: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if has_image_name(path) and not path.name.startswith("."):
            by_name[path.name] = path
            for names in ("challenge", "full"):
                by_mask.setdefault(mask_name(path, names), path)
    return by_name, by_mask


@dataclass(frozen=True)
class View:
    """An image, and outlines to lay over it; the outlines are None where there is no mask that fits.

    Attributes
    ----------
    picture : bytes
        JPEG.
    found, true : bytes or None
        PNG with transparency, of the cells found and of the true ones.
    """

    picture: bytes
    found: bytes | None
    true: bytes | None


def draw_view(image_path: Path, mask_path: Path | None, truth_path: Path | None = None) -> View:
    """Draw an image and the outlines of its cells.

    Parameters
    ----------
    image_path : Path
    mask_path, truth_path : Path or None
        Label files; one that is missing, unreadable or of another size leaves its outlines out.

    Returns
    -------
    View
        Each part of at most 50 kB, its longer side 720 px or, for a small image, three times its own.

    Raises
    ------
    ValueError or OSError
        The image cannot be read.
    """
    pixels = read_image(image_path).pixels
    picture = shrink_image(pixels)
    outlines = []
    for path in (mask_path, truth_path):
        labels = _read_mask(path, pixels.shape[:2])
        outlines.append(None if labels is None else encode_outlines(labels, picture.shape[:2]))
    return View(encode_jpeg(picture), *outlines)


def shrink_image(pixels: np.ndarray) -> NDArray[np.uint8]:
    """Return an 8-bit RGB view (y, x, 3) of an image (y, x, 1 or 3), its longer side at most 720 px."""
    height, width = pixels.shape[:2]
    factor = min(SIDE_PX / max(height, width), MAX_ENLARGEMENT)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return stretch_contrast(small.reshape(size[1], size[0], pixels.shape[2]))


def shrink_labels(labels: np.ndarray, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Return labels (y, x) at another size, each pixel that of the nearest, renumbered 1..n without gaps."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for old, new in zip(labels.shape, shape, strict=True)
    )
    small = labels[rows[:, None], columns]
    # with a background pixel added, background is number 0 also where no cell leaves any
    index = np.unique(np.append(small, 0), return_inverse=True)[1]
    return index[:-1].reshape(small.shape).astype(np.uint32)


def encode_outlines(labels: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """Return the outlines of labels (y, x) at another size as PNG, transparent elsewhere, of at most 50 kB.

    Where they take more, they are drawn at half the size, as often as it takes.
    """
    while True:
        colours = np.zeros((*shape, 3), np.uint8)
        draw_outlines(colours, shrink_labels(labels, shape), OUTLINE_PX)
        painted = colours.any(axis=2, keepdims=True) * np.uint8(255)
        layers = np.concatenate([colours[..., ::-1], painted], axis=2)
        data = cv2.imencode(".png", layers, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        if len(data) <= MAX_BYTES:
            return data
        shape = tuple(max(1, side // 2) for side in shape)


def encode_jpeg(view: NDArray[np.uint8]) -> bytes:
    """Return an RGB view (y, x, 3) as JPEG of at most 50 kB: first the quality gives way, then the size."""
    while True:
        for quality in QUALITIES:
            data = cv2.imencode(".jpg", view[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *FULL_COLOUR])[1].tobytes()
            if len(data) <= MAX_BYTES:
                return data
        view = cv2.resize(view, (max(1, view.shape[1] // 2), max(1, view.shape[0] // 2)), interpolation=cv2.INTER_AREA)


def data_uri(data: bytes) -> str:
    """Return JPEG or PNG data as an address that needs no file."""
    form = "jpeg" if data.startswith(b"\xff\xd8") else "png"
    return f"data:image/{form};base64,{b64encode(data).decode('ascii')}"


def _read_mask(path: Path | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if path is None or not path.is_file():
        return None
    try:
        labels = read_labels(path)
    except (OSError, ValueError):
        return None
    return labels if labels.shape == shape else None
