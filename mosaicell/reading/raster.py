"""PNG, JPEG, BMP and WebP: decoded by OpenCV, which resolves palettes, CMYK and less than 8 bits.

It keeps 16 bits per colour and decodes a JPEG in half of Pillow's time. It is imported when first needed: start-up is
part of every run.
"""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.limits import Limits
from mosaicell.reading.headers import read_header
from mosaicell.reading.photometric import blacken_transparent

#: OpenCV decodes no more pixels, and no longer sides
OPENCV_PIXELS, OPENCV_SIDE_PX = 1 << 30, 1 << 20


def decode_raster(file: BinaryIO, form: str, limits: Limits) -> tuple[np.ndarray, str, list[str]]:
    """Decode an image.

    Parameters
    ----------
    file
        Open file, of which everything is read.
    form
        "PNG", "JPEG", "BMP" or "WebP", whose signature the file has.
    limits
        What the image may take.

    Returns
    -------
    array:
        (y, x) or (y, x, 3), uint8 or uint16, colours as RGB.
    source_dtype:
        Sample type in the file, "1-bit" or a numpy name.
    notes:
        Every decision taken for the user, in words.

    Raises
    ------
    ImageError
        If the file is damaged or larger than allowed.
    OSError
        If it cannot be read.
    """
    import cv2

    size = file.seek(0, os.SEEK_END)
    limits.check_memory(2 * size)
    file.seek(0)
    data = file.read(size)
    header = read_header(form, data)
    height, width = header.shape_px
    limits.check_image(header.shape_px, height * width * header.pixel_bytes)
    if height * width > OPENCV_PIXELS or max(height, width) > OPENCV_SIDE_PX:
        raise ImageError(
            f"has {height} x {width} pixels; allowed in a {form} are {OPENCV_PIXELS:,} in all and {OPENCV_SIDE_PX:,} "
            "a side: write it as TIFF"
        )
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded as {form}: {error.err}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if array is None:
        raise ImageError(f"is cut short or damaged: it begins as {form} but cannot be decoded")
    if array.shape[:2] != header.shape_px:
        raise ImageError(f"is damaged: its header says {height} x {width} pixels, its data {array.shape[:2]}")
    notes = list[str]()
    if array.ndim == 3 and array.shape[2] == 4:
        notes.append("the alpha channel is dropped")
        if array[..., 3].any():
            array = blacken_transparent(array, array[..., 3])
    if array.ndim == 3 and header.grey:
        # Grey with alpha comes as BGRA with three equal colours.
        array = array[..., 0]
    elif array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_BGRA2RGB if array.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return array, "1-bit" if header.bits == 1 else str(array.dtype), notes
