"""What the samples of a TIFF mean: palette, inverted, CMYK and YCbCr values become grey or RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mosaicell.contrast.modality import analyse_modality
from mosaicell.errors import ImageError

if TYPE_CHECKING:
    import tifffile


def blacken_transparent(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colours (y, x) or (y, x, c) with 0 where alpha (y, x) is 0: whatever a file has there is no picture."""
    hidden = alpha == 0
    if not hidden.any():
        return colours
    colours = colours.copy()
    colours[hidden] = 0
    return colours


def is_grey_palette(table: np.ndarray) -> bool:
    """Say whether a palette (3, n) holds no colour."""
    return bool((table == table[:1]).all())


def is_inverted(array: np.ndarray, page: tifffile.TiffPage) -> bool:
    """Say whether the samples (y, x) or (y, x, c) of a page are to be inverted: 0 is white, and it looks like it.

    Programs mark raw fluorescence so, to show it dark on white.
    """
    from tifffile import PHOTOMETRIC

    marked = page.photometric == PHOTOMETRIC.MINISWHITE and "PhotometricInterpretation" in page.tags
    if not marked or array.dtype.kind not in "bu":
        return False
    return array.dtype == bool or array.ndim != 2 or analyse_modality(array) != "fluorescence"


def resolve_colour(
    array: np.ndarray,
    page: tifffile.TiffPage,
    notes: list[str],
    *,
    alpha_counts: bool | None = None,
    inverted: bool = False,
    for_display: bool = False,
) -> np.ndarray:
    """Turn palette, inverted, CMYK and YCbCr samples into grey or RGB, and drop alpha; what is transparent becomes 0.

    Parameters
    ----------
    array:
        (y, x) or (y, x, c), the samples as stored.
    page:
        Whose tags say what they mean.
    notes:
        Gets every decision taken for the user, in words.
    alpha_counts:
        Whether the image has any pixel that is not transparent, without which alpha says nothing. None for an array
        that is the whole image.
    inverted:
        As `is_inverted` says.
    for_display:
        A palette is there for display: the samples are what was measured.

    Raises
    ------
    ImageError
        If the colours are of a kind that is not read.
    """
    from tifffile import COMPRESSION, PHOTOMETRIC

    alpha = None
    if array.ndim == 3 and page.extrasamples and page.extrasamples[-1] != 0 and array.shape[2] > 1:
        notes.append("the alpha channel is dropped")
        array, alpha = array[..., :-1], array[..., -1]
    kind, white = page.photometric, 2**page.bitspersample - 1
    # JPEG data has become RGB while it was decoded.
    ycbcr = kind == PHOTOMETRIC.YCBCR and page.compression not in (COMPRESSION.JPEG, COMPRESSION.OJPEG)
    if kind == PHOTOMETRIC.PALETTE and for_display:
        notes.append("the palette is for display: the values are used")
    elif kind == PHOTOMETRIC.PALETTE and page.colormap is not None:
        notes.append("the palette is replaced by its colours")
        table = page.colormap if page.colormap.max() < 256 else page.colormap >> 8
        colours = table[0] if is_grey_palette(table) else table.T
        array = colours.astype(np.uint8)[array.astype(np.uint8) if array.dtype == bool else array]
    elif inverted:
        notes.append("0 is white in this file: the values are inverted")
        array = ~array if array.dtype == bool else array.dtype.type(white) - array
    elif kind == PHOTOMETRIC.SEPARATED and array.ndim == 3 and array.shape[2] >= 4:
        notes.append("CMYK is converted to RGB")
        ink = array[..., :4].astype(np.float32) / white
        array = (white * (1 - ink[..., :3]) * (1 - ink[..., 3:])).round().astype(array.dtype)
    elif ycbcr and array.ndim == 3:
        import cv2

        notes.append("YCbCr is converted to RGB")
        array = cv2.cvtColor(np.ascontiguousarray(array[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    elif kind == PHOTOMETRIC.MINISWHITE and "PhotometricInterpretation" in page.tags:
        notes.append("0 is white in this file, which is for display: the values are used")
    elif kind not in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        raise ImageError(f"has TIFF colours of kind {kind!s}; allowed are grey, palette, RGB, CMYK and YCbCr")
    if alpha is not None and (alpha.any() if alpha_counts is None else alpha_counts):
        array = blacken_transparent(array, alpha)
    return array
