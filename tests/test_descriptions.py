"""What descriptions say: names of channels as OME, ImageJ and scanners have them, and how many planes there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS
from mosaicell.pictures.selection import Selection
from mosaicell.reading.descriptions import imagej_channels, read_ome
from mosaicell.reading.images import open_pixels, read_image
from tests.files import draw_cells
from tests.stacks import write_pages

CELLS = draw_cells()
PLANES = np.stack([CELLS // 3, CELLS // 2, CELLS])
OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:own"><Image Name="first"><Pixels '
    'SizeC="2" SizeZ="3" SizeT="4"><Channel Name="DAPI"/><Channel Fluor="GFP"/>{data}</Pixels></Image></OME>'
)


def channels_of(path: Path) -> tuple[str, ...]:
    with open_pixels(path, DEFAULT_LIMITS, 1, selection=Selection(("1",))) as opened:
        return opened.pictures.stack.choices


def test_ome_names_channels_and_counts_planes() -> None:
    (image,) = read_ome(OME.format(data=""))
    assert (image.name, image.channels, image.planes) == ("first", ("DAPI", "GFP"), 24)


@pytest.mark.parametrize("text", ["", "<OME", "no xml", OME.format(data="").replace('SizeZ="3"', 'SizeZ="three"')])
def test_of_a_broken_description_nothing_is_believed(text: str) -> None:
    assert read_ome(text) == []


def test_a_description_of_several_files_promises_nothing() -> None:
    elsewhere = '<TiffData><UUID FileName="other.tif">urn:uuid:other</UUID></TiffData>'
    assert read_ome(OME.format(data=elsewhere)) == []


def test_imagej_labels_are_names_where_they_tell_channels_apart() -> None:
    labels = ["c:1/2 z:1/3 - DAPI", "c:2/2 z:1/3 - GFP", "c:1/2 z:2/3 - DAPI"]
    assert imagej_channels({"Labels": labels}, 2) == ("DAPI", "GFP")
    assert imagej_channels({"Labels": ["DAPI", "a-b c"]}, 2) == ("DAPI", "a-b c")
    assert imagej_channels({"Labels": ["image.tif", "image.tif"]}, 2) == ()
    assert imagej_channels({"Labels": ["DAPI"]}, 2) == ()
    assert imagej_channels({}, 2) == ()


def test_names_are_read_from_imagej_files(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    metadata = {"axes": "CYX", "Labels": ["CD8", "Ki67", "DAPI"]}
    tifffile.imwrite(path, PLANES, imagej=True, photometric="minisblack", metadata=metadata)
    assert channels_of(path) == ("CD8", "Ki67", "DAPI")
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], CELLS)


@pytest.mark.parametrize("scanner", [False, True], ids=["page names", "scanner"])
def test_pages_with_names_are_channels(tmp_path: Path, scanner: bool) -> None:
    """Though they show the same, which would make them planes of a stack."""
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as writer:
        for name, plane in zip(("CD8", "DAPI", "Ki67"), PLANES, strict=True):
            described = f"<Image><Biomarker>{name}</Biomarker></Image>" if scanner else None
            tags = [] if scanner else [(285, "s", 0, name, True)]
            writer.write(plane, photometric="minisblack", metadata=None, description=described, extratags=tags)
    assert channels_of(path) == ("CD8", "DAPI", "Ki67")
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], PLANES[1])


def test_pages_without_names_have_none(tmp_path: Path) -> None:
    write_pages(tmp_path / "image.tif", PLANES)
    assert channels_of(tmp_path / "image.tif") == ("", "", "")


def test_a_shape_that_the_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    text = '{"shape": [5, 60, 80]}'
    tifffile.imwrite(path, PLANES, photometric="minisblack", compression="zlib", description=text, metadata=None)
    with pytest.raises(ImageError, match="is cut short: its tifffile description says 5 pages, the file holds 3"):
        read_image(path)
