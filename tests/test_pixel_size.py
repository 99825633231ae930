"""The size of pixels is read from OME, ImageJ and the tags of a TIFF, and nonsense about it is no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mosaicell.reading.pixel_size import CENTIMETRE, INCH, NO_UNIT, Resolution, read_resolution
from mosaicell.writing.masks import write_labels

SHAPE = (6, 8)
PIXELS = np.zeros(SHAPE, np.uint8)


def read(path: Path, shape_px: tuple[int, int] = SHAPE) -> Resolution | None:
    with path.open("rb") as file:
        return read_resolution(file, shape_px)


def um(resolution: Resolution | None) -> tuple[float, float]:
    """Return the size of a pixel in um, x and y."""
    assert resolution is not None
    per_unit = [value[0] / value[1] if isinstance(value, tuple) else value for value in (resolution.x, resolution.y)]
    unit_um = {INCH: 25400, CENTIMETRE: 10000}[resolution.unit]
    return unit_um / per_unit[0], unit_um / per_unit[1]


@pytest.mark.parametrize(
    ("resolution", "pixel_um"),
    [
        (Resolution(20000.0, 10000.0, CENTIMETRE), (1.0, 0.5)),
        (Resolution((254000, 1), (508000, 10), INCH), (0.5, 0.1)),
        # how large an image is printed
        (Resolution(300.0, 300.0, INCH), None),
        (Resolution((72, 1), (72, 1), INCH), None),
        (Resolution(4.0, 4.0, NO_UNIT), None),
    ],
)
def test_pixels_have_a_size_where_it_is_that_of_a_microscope(
    resolution: Resolution, pixel_um: tuple[float, float] | None
) -> None:
    assert resolution.pixel_um == (None if pixel_um is None else pytest.approx(pixel_um))


@pytest.mark.parametrize(
    ("settings", "size_um"),
    [
        ({"resolution": (20000, 10000), "resolutionunit": "CENTIMETER"}, (0.5, 1.0)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, (25400 / 300,) * 2),
        ({"imagej": True, "resolution": (1 / 0.325, 1 / 0.65), "metadata": {"unit": "um"}}, (0.325, 0.65)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "micron"}}, (0.25, 0.25)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "\\u00B5m"}}, (0.25, 0.25)),
        ({"imagej": True, "resolution": (1 / 65, 1 / 65), "metadata": {"unit": "nm"}}, (0.065, 0.065)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.29, "PhysicalSizeY": 0.3}}, (0.29, 0.3)),
        ({"ome": True, "metadata": {"PhysicalSizeX": 290, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.0003,
                                    "PhysicalSizeYUnit": "mm"}}, (0.29, 0.3)),
    ],
    ids=str,
)  # fmt: skip
def test_a_mask_has_the_pixel_size_of_its_image(
    tmp_path: Path, settings: dict[str, Any], size_um: tuple[float, float]
) -> None:
    tifffile.imwrite(tmp_path / "image.tif", PIXELS, **settings)
    found = read(tmp_path / "image.tif")
    assert um(found) == pytest.approx(size_um, rel=1e-6)
    write_labels(tmp_path / "mask.tif", PIXELS, resolution=found, description="anything")
    assert um(read(tmp_path / "mask.tif")) == pytest.approx(size_um, rel=1e-6)


def test_tags_are_kept_as_they_stand(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", PIXELS, resolution=((10, 3), (10, 7)), resolutionunit="NONE")
    assert read(tmp_path / "image.tif") == Resolution((10, 3), (10, 7), NO_UNIT)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"resolution": (1, 1), "resolutionunit": "NONE"},
        {"resolution": (0, 0), "resolutionunit": "INCH"},
        {"imagej": True},
        {"ome": True},
        {"ome": True, "metadata": {"PhysicalSizeX": 0, "PhysicalSizeY": 0}},
        {"description": '<OME><Pixels SizeX="8" SizeY="6" PhysicalSizeX="much" PhysicalSizeY="nan"/></OME>'},
        {"description": '<OME><Pixels SizeX="8" SizeY="6" PhysicalSizeX="1e-300" PhysicalSizeY="1e300"/></OME>'},
        {"description": '<OME><Pixels SizeX="8" SizeY="6" PhysicalSizeX="1" PhysicalSizeXUnit="pixel"/></OME>'},
    ],
    ids=str,
)
def test_what_says_nothing_or_nonsense_is_left_out(tmp_path: Path, settings: dict[str, Any]) -> None:
    tifffile.imwrite(
        tmp_path / "image.tif", PIXELS, **{"metadata": None, **settings} if "ome" not in settings else settings
    )
    assert read(tmp_path / "image.tif") is None


def test_of_several_images_that_of_the_same_size_counts(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "image.tif") as tif:
        for factor in (2, 1):
            size = (SHAPE[0] // factor, SHAPE[1] // factor)
            tif.write(np.zeros(size, np.uint8), resolution=(20000 / factor,) * 2, resolutionunit="CENTIMETER")
    assert um(read(tmp_path / "image.tif")) == (0.5, 0.5)
    assert um(read(tmp_path / "image.tif", (3, 4))) == (1.0, 1.0)
    assert read(tmp_path / "image.tif", (99, 99)) is None


def test_a_damaged_file_says_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", PIXELS)
    data = (tmp_path / "image.tif").read_bytes()
    (tmp_path / "image.tif").write_bytes(data[:60])
    assert read(tmp_path / "image.tif") is None
