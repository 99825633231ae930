"""Hostile files: small ones that ask for gigabytes or hours, and good ones with a few bytes changed."""

from __future__ import annotations

import io
import os
import resource
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS
from mosaicell.reading.images import open_pixels
from mosaicell.reading.pixels import read_all
from tests.files import draw_cells

GIGABYTE = 1 << 30
OME = (
    '<?xml version="1.0"?>{head}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="I:0">'
    '<Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="80" SizeY="60" SizeC="1" SizeZ="{depth}" SizeT="1">{data}'
    "</Pixels></Image></OME>"
)
#: values that tables are not prepared for
ODD_VALUES = (0, 1, 2, 3, 7, 8, 0xFF, 0x100, 0x7FFF, 0xFFFF, 65_500, 100_000, 0x7FFFFFFF, 0xFFFFFFFF)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deflate_gigabyte() -> bytes:
    """Return a gigabyte of zeros as zlib writes them, in a thousandth of the time."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    # the end, with the checksum of zeros alone
    return first + again * 1023 + b"\3\0" + struct.pack(">HH", GIGABYTE % 65_521, 1)


def write_tiff(path: Path, tags: dict[int, int | bytes], next_page: int = 0) -> None:
    """Write a TIFF of one page with the given tags; bytes are stored behind the table, and their place in the tag."""
    entries, behind, start = b"", b"", 8 + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            # long lists of numbers, or the data of the only strip
            count = 1 if tag == 273 else len(value) // 4
            entries += struct.pack("<HHII", tag, 4, count, start + len(behind))
            behind += value
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    table = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_page)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + table + behind)


def write_strip(path: Path, data: bytes, compression: int, **tags: int) -> None:
    """Write a TIFF of 64 x 64 grey pixels, or what the tags w, h and samples say, in one strip of given data."""
    width, height = tags.get("w", 64), tags.get("h", 64)
    write_tiff(
        path,
        {
            256: width,
            257: height,
            258: 8,
            259: compression,
            262: 1,
            273: data,
            277: tags.get("samples", 1),
            278: height,
            279: len(data),
        },
    )


def write_bombs(folder: Path) -> None:
    """Write files of at most a few megabytes each of which asks for gigabytes or hours, in one way each."""
    _write_png_bombs(folder)
    _write_jpeg_bombs(folder)
    _write_strip_bombs(folder)
    _write_table_bombs(folder)
    _write_bmp_bombs(folder)
    _write_description_bombs(folder)


def _write_png_bombs(folder: Path) -> None:
    png = cv2.imencode(".png", draw_cells())[1].tobytes()
    head, rest = png[:33], png[33:]
    gigabyte = deflate_gigabyte()
    (folder / "text.png").write_bytes(head + png_chunk(b"zTXt", b"k\0\0" + gigabyte) + rest)
    (folder / "profile.png").write_bytes(head + png_chunk(b"iCCP", b"k\0\0" + gigabyte) + rest)
    (folder / "international.png").write_bytes(head + png_chunk(b"iTXt", b"k\0\1\0\0\0" + gigabyte) + rest)
    (folder / "more_pixels.png").write_bytes(head + png_chunk(b"IDAT", gigabyte) + png_chunk(b"IEND", b""))
    (folder / "chunks.png").write_bytes(head + png_chunk(b"tEXt", b"k\0a") * 1_100_000 + rest)
    (folder / "size.png").write_bytes(
        png[:8] + png_chunk(b"IHDR", struct.pack(">II", 30_000, 30_000) + png[24:29]) + rest
    )


def _write_jpeg_bombs(folder: Path) -> None:
    flat = io.BytesIO()
    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(flat, "JPEG", progressive=True)
    data = flat.getvalue()
    scan = data[data.rfind(b"\xff\xda") : -2]
    stalling = data[:-2] + scan * 20_000 + data[-2:]
    (folder / "scans.jpg").write_bytes(stalling)
    write_strip(folder / "scans.tif", stalling, 7, w=4000, h=4000)
    small = bytearray(cv2.imencode(".jpg", draw_cells())[1].tobytes())
    frame = small.find(b"\xff\xc0")
    small[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    (folder / "size.jpg").write_bytes(small)


def _write_bmp_bombs(folder: Path) -> None:
    """Write 1 kB that ask for 400 megapixels, in runs or with masks for the channels."""
    for name, bits, compression in (("runs8", 8, 1), ("runs4", 4, 2), ("masks", 32, 3)):
        head = struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, bits, compression, 0, 0, 0, 0, 0)
        data = bytes((255, 1)) * 300 + b"\0\1"
        (folder / f"{name}.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + head + bytes(1024) + data)


def _write_strip_bombs(folder: Path) -> None:
    """Write strips that decode to more than their page of 64 x 64 pixels."""
    small = np.zeros((64, 64), np.uint8)
    wide = bytearray(imagecodecs.jpeg2k_encode(small, codecformat="j2k"))
    sizes = wide.find(b"\xff\x51") + 6
    for at in (sizes, sizes + 4, sizes + 16, sizes + 20):
        wide[at : at + 4] = struct.pack(">I", 30_000)
    lossless = bytearray(imagecodecs.webp_encode(np.dstack([small] * 3), lossless=True))
    lossless[21:25] = struct.pack("<I", struct.unpack_from("<I", lossless, 21)[0] | 0xFFFFFFF)
    strips: list[tuple[str, int, bytes]] = [
        ("deflate", 8, deflate_gigabyte()),
        ("zstd", 50000, bytes(imagecodecs.zstd_encode(bytes(GIGABYTE >> 2)))),
        ("lzma", 34925, bytes(imagecodecs.lzma_encode(bytes(GIGABYTE >> 4)))),
        ("packbits", 32773, b"\x81\0" * (1 << 20)),
        ("jpeg", 7, bytes(imagecodecs.jpeg8_encode(np.zeros((16_000, 16_000), np.uint8)))),
        ("jpeg2000", 34712, bytes(wide)),
        ("webp", 50001, bytes(lossless)),
        ("lerc", 34887, bytes(imagecodecs.lerc_encode(np.zeros((16_000, 16_000), np.uint8)))),
    ]
    for name, compression, data in strips:
        write_strip(folder / f"strip_{name}.tif", data, compression)


def _write_table_bombs(folder: Path) -> None:
    write_strip(folder / "size.tif", bytes(1000), 8, w=0xFFFFFFFF, h=0xFFFFFFFF)
    write_strip(folder / "wide.tif", bytes(1000), 8, w=1_000_000, h=900)
    write_strip(folder / "samples.tif", bytes(1000), 1, samples=65_535)
    count = (16_000 // 8) ** 2
    offsets = {324: np.full(count, 8, "<u4").tobytes(), 325: bytes(4 * count)}
    write_tiff(
        folder / "tiles.tif", {256: 16_000, 257: 16_000, 258: 8, 259: 8, 262: 1, 277: 1, 322: 8, 323: 8} | offsets
    )
    pages, page_bytes = 200, 2 + 12 * 4 + 4
    loop = b"II*\0" + struct.pack("<I", 8)
    for page in range(pages):
        following = 8 + (page + 1) % pages * page_bytes
        entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 8), (257, 8), (273, 4), (279, 64))]
        loop += struct.pack("<H", 4) + b"".join(entries) + struct.pack("<I", following)
    (folder / "loop.tif").write_bytes(loop)
    # a sub-page that is its own sub-page
    write_tiff(folder / "nested.tif", {256: 8, 257: 8, 259: 1, 262: 1, 273: bytes(64), 279: 64, 330: 8})


def _write_description_bombs(folder: Path) -> None:
    letters = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(8))
    entities = f'<!DOCTYPE OME [<!ENTITY a "{"x" * 1000}">{letters}]>'
    for name, text in {
        "depth": OME.format(head="", depth=10**11, data='<TiffData IFD="0"/>'),
        "planes": OME.format(head="", depth=5, data=f'<TiffData IFD="0" PlaneCount="{10**11}"/>'),
        "entities": OME.format(head=entities, depth=1, data="&i;"),
        "shape": '{"shape": [100000000000, 60, 80]}',
        "imagej": f"ImageJ=1.11a\nimages={10**9}\nslices={10**9}\n",
    }.items():
        tifffile.imwrite(folder / f"described_{name}.tif", draw_cells(), description=text, metadata=None)


def write_seeds(folder: Path) -> list[Path]:
    """Write small good files of every form, layout and compression that is read."""
    cells = draw_cells()
    colour = np.dstack([cells // 3, cells, cells // 2])
    for compression in (None, "zlib", "lzw", "packbits", "zstd", "lzma", "jpeg", "jpeg2000", "webp", "jpegxl", "lerc"):
        layouts: dict[str, dict[str, Any]] = {"strips": {"rowsperstrip": 16}, "tiles": {"tile": (32, 32)}}
        for name, layout in layouts.items():
            path = folder / f"{name}_{compression}.tif"
            tifffile.imwrite(path, colour, photometric="rgb", compression=compression, **layout)
    tifffile.imwrite(folder / "predictor.tif", cells.astype(np.uint16), compression="zlib", predictor=2)
    tifffile.imwrite(folder / "big.tif", colour, photometric="rgb", bigtiff=True, compression="lzw", tile=(16, 16))
    tifffile.imwrite(folder / "big_endian.tif", cells.astype(">u2"), byteorder=">")
    tifffile.imwrite(folder / "planar.tif", np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(folder / "stack.ome.tif", np.stack([cells] * 6), metadata={"axes": "ZYX"}, compression="zlib")
    tifffile.imwrite(folder / "stack.tif", np.stack([cells] * 6), imagej=True, metadata={"axes": "ZYX"})
    stains = np.stack([cells, cells[::-1], cells[:, ::-1] // 2])
    names = {"axes": "CYX", "Channel": {"Name": ["CD8", "Ki67", "DAPI"]}}
    tifffile.imwrite(folder / "channels.ome.tif", stains, photometric="minisblack", metadata=names)
    tifffile.imwrite(folder / "channels.tif", stains, imagej=True, photometric="minisblack", metadata={"axes": "CYX"})
    tifffile.imwrite(folder / "pages.tif", stains, photometric="minisblack", metadata=None, compression="zlib")
    frames = np.stack([cells] * 4)
    tifffile.imwrite(folder / "frames.tif", frames, photometric="rgb", planarconfig="separate", compression="lzw")
    with tifffile.TiffWriter(folder / "pyramid.tif") as writer:
        large = np.tile(cells, (4, 4))
        writer.write(large, subifds=1, tile=(64, 64), compression="jpeg")
        writer.write(large[::2, ::2], subfiletype=1, tile=(64, 64))
    grey, picture = Image.fromarray(cells), Image.fromarray(colour)
    Image.fromarray(cells > 80).save(folder / "fax.tif", compression="group4")
    pictures: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("grey.png", grey, {}),
        ("colour.png", picture, {}),
        ("palette.png", picture.quantize(16), {}),
        ("alpha.png", Image.merge("LA", [grey, grey]), {}),
        ("photo.jpg", picture, {}),
        ("progressive.jpg", picture, {"progressive": True}),
        ("cmyk.jpg", Image.merge("CMYK", [grey] * 4), {}),
        ("colour.bmp", picture, {}),
        ("palette.bmp", picture.quantize(16), {}),
        ("lossy.webp", picture, {}),
        ("lossless.webp", picture, {"lossless": True}),
        ("moving.webp", picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
    ]
    for name, image, options in pictures:
        image.save(folder / name, **options)
    height, width = cells.shape
    for name, data in (("plain", colour.tobytes()), ("zlib", zlib.compress(colour.tobytes()))):
        header = f"ObjectType = Image\nNDims = 2\nCompressedData = {name == 'zlib'}\nDimSize = {width} {height}\n"
        kind = "ElementNumberOfChannels = 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        (folder / f"{name}.mha").write_bytes((header + kind).encode() + data)
    return sorted(folder.iterdir())


def change_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, most of them in the tables at the beginning or the end, or cut the file."""
    changed = bytearray(data)

    def choose() -> int:
        near = min(len(changed), 600)
        start = int(rng.choice([0, 0, len(changed) - near])) if rng.random() < 0.6 else None
        low, high = (4, len(changed)) if start is None else (max(4, start), start + near)
        return int(rng.integers(low, high))

    for _ in range(int(rng.integers(1, 6))):
        at, kind = choose(), int(rng.integers(4))
        if kind == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[at] = int(rng.integers(256))
        elif kind == 2:
            source, length = choose(), int(rng.integers(1, 64))
            changed[at : at + length] = changed[source : source + length]
        else:
            width = int(rng.choice([2, 4]))
            value = int(rng.choice(ODD_VALUES)) & ((1 << 8 * width) - 1)
            changed[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")
    return bytes(changed[: int(rng.integers(1, len(changed) + 1))] if rng.random() < 0.1 else changed)


def read(path: Path) -> np.ndarray:
    """Read an image as the program does: TIFF part by part where its layout allows that."""
    with open_pixels(path, DEFAULT_LIMITS, workers=2) as image:
        return read_all(image.pixels)


def read_changed(folder: Path, cases: int, first: int = 0) -> dict[str, int]:
    """Read changed files of a folder of good ones; returns how many were read and refused.

    Raises
    ------
    Exception
        Whatever is raised that is no refusal, and what a warning says.
    """
    seeds = sorted(folder.iterdir())
    counts = {"read": 0, "refused": 0}
    for case in range(first, first + cases):
        rng = np.random.default_rng([77, case])
        seed = seeds[int(rng.integers(len(seeds)))]
        path = folder.parent / "changed"
        path.write_bytes(change_bytes(seed.read_bytes(), rng))
        try:
            pixels = read(path)
            counts["read"] += 1
        except ImageError:
            counts["refused"] += 1
            continue
        assert np.isfinite(pixels).all(), (case, seed)
    return counts


def read_folder(folder: Path) -> None:
    """Read every file and print its name, what became of it, CPU time in s and growth of the peak in MB."""
    read(folder / "described_entities.tif")
    for path in sorted(folder.iterdir()):
        Path("/proc/self/clear_refs").write_text("5")
        before, since_s = _peak_mb(), time.process_time()
        try:
            said = f"read {read(path).shape}"
        except ImageError as error:
            said = f"refused, {error}"
        print(path.name, f"{time.process_time() - since_s:.1f}", _peak_mb() - before, said, sep="\t", flush=True)


def _peak_mb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def main() -> None:
    """`bombs FOLDER` reads every file of a folder, `changed FOLDER CASES [FIRST]` changed ones, in at most 4 GB."""
    resource.setrlimit(resource.RLIMIT_AS, (4 * GIGABYTE, 4 * GIGABYTE))
    command, folder, *numbers = sys.argv[1:]
    if command == "bombs":
        read_folder(Path(folder))
    else:
        print(read_changed(Path(folder), *map(int, numbers)))
    os._exit(0)


if __name__ == "__main__":
    main()
