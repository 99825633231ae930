"""Small views of images with the outlines of their cells, as JPEG data to put into a page."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.images import SUFFIXES, mask_name, read_image, read_labels
from inference.overlay import draw_outlines, stretch_contrast

#: longer side; somewhat more than is shown, for dense screens, but not so much that outlines of one pixel fade
SIDE_PX = 360
#: a small image is enlarged to this at most
MAX_ENLARGEMENT = 3
MAX_BYTES = 40_000
#: JPEG qualities tried one after the other, then again on views of half the size
QUALITIES = (90, 80, 70, 60, 50, 40)
#: colour for every pixel: with the usual half the coloured outlines would turn grey
FULL_COLOUR = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def find_images(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """List the image files of a folder by their own name and by the names that their mask may have.

    Returns
    -------
    by_name, by_mask : dict
        Of two images with one mask name the first counts.
    """
    by_name: dict[str, Path] = {}
    by_mask: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            by_name[path.name] = path
            for names in ("challenge", "full"):
                by_mask.setdefault(mask_name(path, names), path)
    return by_name, by_mask


def draw_thumbnail(image_path: Path, mask_path: Path | None) -> bytes:
    """Draw a small view of an image, with outlines where it has a mask.

    Parameters
    ----------
    image_path : Path
    mask_path : Path or None
        A mask that is missing, unreadable or of another size leaves the outlines out.

    Returns
    -------
    bytes
        JPEG of at most 40 kB, its longer side 360 px or, for a small image, three times its own.

    Raises
    ------
    ValueError or OSError
        The image cannot be read.
    """
    pixels = read_image(image_path).pixels
    view = shrink_image(pixels)
    labels = _read_mask(mask_path, pixels.shape[:2])
    if labels is not None:
        draw_outlines(view, shrink_labels(labels, view.shape[:2]))
    return encode_jpeg(view)


def shrink_image(pixels: np.ndarray) -> NDArray[np.uint8]:
    """Return an 8-bit RGB view (y, x, 3) of an image (y, x, 1 or 3), its longer side at most 360 px."""
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


def encode_jpeg(view: NDArray[np.uint8]) -> bytes:
    """Return an RGB view (y, x, 3) as JPEG of at most 40 kB: first the quality gives way, then the size."""
    while True:
        for quality in QUALITIES:
            data = cv2.imencode(".jpg", view[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *FULL_COLOUR])[1].tobytes()
            if len(data) <= MAX_BYTES:
                return data
        view = cv2.resize(view, (max(1, view.shape[1] // 2), max(1, view.shape[0] // 2)), interpolation=cv2.INTER_AREA)


def data_uri(jpeg: bytes) -> str:
    """Return JPEG data as an address that needs no file."""
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode('ascii')}"


def _read_mask(path: Path | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if path is None or not path.is_file():
        return None
    try:
        labels = read_labels(path)
    except (OSError, ValueError):
        return None
    return labels if labels.shape == shape else None
