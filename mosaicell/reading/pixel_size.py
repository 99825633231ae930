"""The size of an image's pixels, as its TIFF states it, and as its mask keeps it: in tags that all programs read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from mosaicell.errors import ImageError
from mosaicell.reading.tiff import tables_quota, tiff_errors

if TYPE_CHECKING:
    import tifffile

#: TIFF's numbers for the unit of a resolution: none, inch, centimetre
NO_UNIT, INCH, CENTIMETRE = 1, 2, 3
X_TAG, Y_TAG, UNIT_TAG = 282, 283, 296
#: units as OME, ImageJ and NGFF write them, in um
UNITS_UM = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "Å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25400.0,
    "in": 25400.0,
    "m": 1e6,
    "meter": 1e6,
}
UM_PER_CM, UM_PER_INCH = 1e4, 25400.0
#: larger pixels are no microscope's: 72 to 1200 for an inch is how large an image is printed
MAX_PIXEL_UM = 20.0
OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^>]*)>")
OME_ATTRIBUTE = re.compile(r"\b(\w+)\s*=\s*[\"']([^\"']*)[\"']")
IMAGEJ_UNIT = re.compile(r"^unit=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Resolution:
    """Pixels for a unit of length.

    Attributes
    ----------
    x, y
        Pixels for a unit, in both directions, as a number or as numerator and denominator.
    unit
        TIFF's number of the unit.
    """

    x: float | tuple[int, int]
    y: float | tuple[int, int]
    unit: int

    @property
    def pixel_um(self) -> tuple[float, float] | None:
        """Height and width of a pixel; None where the unit is none, or the pixels are too large to show a cell."""
        unit_um = {INCH: UM_PER_INCH, CENTIMETRE: UM_PER_CM}.get(self.unit)
        if unit_um is None:
            return None
        y_um, x_um = (
            unit_um / (value[0] / value[1] if isinstance(value, tuple) else value) for value in (self.y, self.x)
        )
        return (y_um, x_um) if max(y_um, x_um) <= MAX_PIXEL_UM else None


def read_resolution(file: BinaryIO, shape_px: tuple[int, int]) -> Resolution | None:
    """Read what a TIFF file says of the size of the pixels of an image.

    Parameters
    ----------
    file
        Open TIFF file.
    shape_px
        Height and width of the image: a file may hold others, of other pixels.

    Returns
    -------
    Resolution or None
        From OME's PhysicalSize, from ImageJ's unit, or as the tags say it; None where nothing, or nonsense, is said.
    """
    import tifffile

    try:
        with tiff_errors(), tables_quota(file):
            tif = tifffile.TiffFile(file, _multifile=False)
            page = _find_page(tif, shape_px)
            return _from_ome(tif.pages.first.description, shape_px) or (page and _from_tags(page))
    except ImageError:
        # its pixels have been read; what is said about them is not worth a failure
        return None


def _find_page(tif: tifffile.TiffFile, shape_px: tuple[int, int]) -> tifffile.TiffPage | None:
    first = tif.pages.first
    if (first.imagelength, first.imagewidth) == shape_px:
        return first
    pages = (series.keyframe for series in tif.series)
    return next((page for page in pages if (page.imagelength, page.imagewidth) == shape_px), None)


def _from_ome(description: str, shape_px: tuple[int, int]) -> Resolution | None:
    if "OME" not in description:
        return None
    for pixels in OME_PIXELS.findall(description):
        entries = dict(OME_ATTRIBUTE.findall(pixels))
        if (entries.get("SizeY"), entries.get("SizeX")) != tuple(map(str, shape_px)):
            continue
        sizes_um = [
            _number(entries.get(f"PhysicalSize{axis}")) * UNITS_UM.get(entries.get(f"PhysicalSize{axis}Unit", "µm"), 0)
            for axis in "XY"
        ]
        return from_um(*sizes_um)
    return None


def _from_tags(page: tifffile.TiffPage) -> Resolution | None:
    x, y, unit = (page.tags.valueof(tag) for tag in (X_TAG, Y_TAG, UNIT_TAG))
    if not all(isinstance(value, tuple) and len(value) == 2 and min(value) > 0 for value in (x, y)):
        return None
    pixels = x[0] / x[1], y[0] / y[1]
    named = IMAGEJ_UNIT.search(page.description) if page.description.startswith("ImageJ=") else None
    if named is not None:
        # ImageJ writes what is no ASCII as \\uXXXX
        name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), named[1].strip())
        if name in UNITS_UM:
            return from_um(*(UNITS_UM[name] / value for value in pixels))
    unit = INCH if unit is None else int(unit)
    # one pixel for a unit that is none is what programs write that know nothing
    if unit not in (INCH, CENTIMETRE) and pixels == (1, 1):
        return None
    return Resolution(x, y, unit if unit in (INCH, CENTIMETRE) else NO_UNIT)


def from_um(x_um: float, y_um: float) -> Resolution | None:
    """Return the resolution of pixels so many um wide and high; None where that is nonsense."""
    pixels = [UM_PER_CM / size if 0 < size < math.inf else 0.0 for size in (x_um, y_um)]
    return Resolution(pixels[0], pixels[1], CENTIMETRE) if all(1e-6 < value < 1e9 for value in pixels) else None


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan
