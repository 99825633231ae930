"""What the descriptions in a TIFF say of its channels, and of how many pages it should have."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaicell.errors import ImageError

if TYPE_CHECKING:
    import tifffile

#: pages whose own names are looked up, at most
MAX_NAMED_PAGES = 200
#: what ImageJ writes before the name of a channel, "c:1/4 z:3/9 - DAPI"
IMAGEJ_POSITION = re.compile(r"^(?:[cztCZT]:\d+/\d+ ?)+(?: ?- ?)?")
#: where PerkinElmer's scanners name the channel of a page
PAGE_NAME = re.compile(r"<(?:Biomarker|Name)>([^<]{1,100})</")
#: tag of a page's name
PAGE_NAME_TAG = 285


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME description.

    Attributes
    ----------
    name
        Of the image, "" for none.
    channels
        Their names, "" for one without.
    planes
        How many planes of one sample a pixel it has.
    """

    name: str
    channels: tuple[str, ...]
    planes: int


def read_ome(text: str) -> list[OmeImage]:
    """Read the images of an OME description whose pages are all in the same file; none of any other description."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return []
    own = root.attrib.get("UUID")
    files = {uuid.text for uuid in root.iter() if uuid.tag.endswith("}UUID") or uuid.tag == "UUID"} - {own}
    if len(files) > (own is None):
        return []
    images = []
    for element in root:
        if not element.tag.endswith("Image"):
            continue
        for pixels in element:
            if not pixels.tag.endswith("Pixels"):
                continue
            described = [child.attrib for child in pixels if child.tag.endswith("Channel")]
            names = tuple((one.get("Name") or one.get("Fluor") or "").strip() for one in described)
            try:
                planes = int(pixels.attrib["SizeC"]) * int(pixels.attrib["SizeZ"]) * int(pixels.attrib["SizeT"])
            except (KeyError, ValueError):
                return []
            images.append(OmeImage(element.attrib.get("Name", ""), names, planes))
    return images


def imagej_channels(metadata: dict[str, object], count: int) -> tuple[str, ...]:
    """Return the names of so many channels that ImageJ's labels give, or none where those do not tell them apart."""
    labels = metadata.get("Labels")
    if not isinstance(labels, list) or len(labels) < count:
        return ()
    names = tuple(IMAGEJ_POSITION.sub("", str(label).split("\n")[0].strip()).strip() for label in labels[:count])
    return names if len(set(names)) == count else ()


def page_names(pages: list[tifffile.TiffPage | tifffile.TiffFrame | None]) -> tuple[str, ...]:
    """Return the names that pages have themselves, or none where those do not tell them apart."""
    if len(pages) > MAX_NAMED_PAGES:
        return ()
    names = []
    for page in pages:
        whole = None if page is None else page.aspage()
        if whole is None:
            return ()
        tag = whole.tags.get(PAGE_NAME_TAG)
        found = PAGE_NAME.search(whole.description)
        name = tag.value if tag is not None and isinstance(tag.value, str) else found[1] if found else ""
        names.append(name.strip())
    return tuple(names) if all(names) and len(set(names)) == len(names) else ()


def check_promises(tif: tifffile.TiffFile) -> None:
    """Refuse a file of which a description says that it has more pages than there are, and all in this file.

    Raises
    ------
    ImageError
        With both numbers.
    """
    page, pages = tif.pages.first, len(tif.pages)
    if tif.is_ome and tif.ome_metadata:
        promised = sum(image.planes for image in read_ome(tif.ome_metadata))
        samples = pages * max(1, page.samplesperpixel)
        if promised > samples:
            raise ImageError(f"is cut short: its OME description says {promised:,} planes, the file holds {samples:,}")
        return
    # a large stack may have one table for all of its pages
    held = pages * max(1, page.samplesperpixel)
    if page.is_contiguous:
        held = max(held, (tif.filehandle.size - page.dataoffsets[0]) // max(1, page.nbytes))
    if tif.is_imagej and tif.imagej_metadata:
        metadata = tif.imagej_metadata
        sizes = [metadata.get(name, 1) for name in ("channels", "slices", "frames")]
        program, promised = "ImageJ", max(_product(sizes), _product([metadata.get("images", 1)]))
    elif page.shaped_description:
        program, promised = "tifffile", _product(_read_shape(page.shaped_description)) // max(1, page.size)
    else:
        return
    if promised > held:
        raise ImageError(f"is cut short: its {program} description says {promised:,} pages, the file holds {pages:,}")


def _read_shape(text: str) -> list[object]:
    """Return the shape that tifffile has written, nothing of what is no such shape."""
    try:
        shape = json.loads(text)["shape"]
    except (ValueError, LookupError, TypeError):
        return []
    return shape if isinstance(shape, list) else []


def _product(sizes: list[object]) -> int:
    product = 1
    for size in sizes:
        product *= size if isinstance(size, int) and size > 0 else 1
    return product
