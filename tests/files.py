"""Image files of every form, good and hostile, drawn in place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

SHAPE = (60, 80)


@dataclass(frozen=True)
class Expectation:
    """What must become of a file.

    Attributes
    ----------
    shape:
        (height, width) of the mask; None where no mask may be written.
    error:
        Part of the sentence that says why not.
    """

    shape: tuple[int, int] | None
    error: str = ""


def draw_cells(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Draw bright discs on a dark, noisy background: uint8 (y, x)."""
    rng = np.random.default_rng(3)
    image = rng.normal(12, 2, shape)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for y, x in ((15, 20), (40, 30), (25, 60)):
        image[(rows - y) ** 2 + (columns - x) ** 2 < 81] += 150
    return image.clip(0, 255).astype(np.uint8)


def write_hostile_files(folder: Path) -> dict[str, Expectation]:
    """Write every kind of difficult input into a folder; return file name -> what must become of it.

    Notes
    -----
    The file without read permission is left out where permissions do not bind, as for root.
    """
    broken = _write_broken_files(folder)
    shapes = {**_write_plain_files(folder), **_write_tiff_files(folder)}
    return {**broken, **{name: Expectation(shape) for name, shape in shapes.items()}}


def _write_broken_files(folder: Path) -> dict[str, Expectation]:
    cells = draw_cells()
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("these are not the pixels you are looking for", encoding="ascii")
    (folder / "gone.png").symlink_to(folder / "never_written.png")
    (folder / "nested.png").mkdir()
    tifffile.imwrite(folder / "cut_tiff.tif", np.tile(cells, (8, 8)), compression="zlib", rowsperstrip=8)
    tifffile.imwrite(folder / "cut_table.tif", cells)
    cv2.imwrite(str(folder / "cut_png.png"), cells)
    cv2.imwrite(str(folder / "cut_jpeg.jpg"), cells)
    cv2.imwrite(str(folder / "cut_bmp.bmp"), cells)
    for name, kept in {
        "cut_tiff.tif": 0.5,
        "cut_png.png": 0.5,
        "cut_jpeg.jpg": 0.5,
        "cut_bmp.bmp": 0.5,
    }.items():
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * kept)])
    (folder / "cut_table.tif").write_bytes((folder / "cut_table.tif").read_bytes()[:60])
    tifffile.imwrite(folder / "complex.tif", cells.astype(np.complex64))
    tifffile.imwrite(folder / "line.tif", cells[0])
    expected = {
        "empty.png": Expectation(None, "empty"),
        "text.png": Expectation(None, "no image"),
        "gone.png": Expectation(None, "cannot be read"),
        "nested.png": Expectation(None, "a folder"),
        "cut_tiff.tif": Expectation(None, "cut short"),
        "cut_table.tif": Expectation(None, "cut short"),
        "cut_png.png": Expectation(None, "cut short"),
        "cut_jpeg.jpg": Expectation(None, "cut short"),
        "cut_bmp.bmp": Expectation(None, "cut short"),
        "complex.tif": Expectation(None, "complex64"),
        "line.tif": Expectation(None, "axes"),
    }
    locked = folder / "locked.png"
    cv2.imwrite(str(locked), cells)
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        locked.unlink()
    else:
        expected[locked.name] = Expectation(None, "cannot be read")
    return expected


def _write_plain_files(folder: Path) -> dict[str, tuple[int, int]]:
    cells, zeros = draw_cells(), np.zeros(SHAPE, np.uint8)
    noise = np.random.default_rng(5).normal(120, 4, SHAPE).astype(np.uint8)
    colour = np.dstack([cells // 3, cells, cells // 2])
    arrays = {
        "black.png": zeros,
        "no_cells.png": noise,
        "one_pixel.png": cells[:1, :1],
        "one_row.png": np.tile(cells[:1], (1, 63))[:, :5000],
        "colour.bmp": colour,
        "photo.JPG": colour,
        "UPPER.PNG": cells,
        "alpha.png": np.dstack([colour, cells]),
        "grey16.png": cells.astype(np.uint16) * 257,
        "colour16.png": colour.astype(np.uint16) * 257,
        "two words.png": cells,
        "name.with.dots.png": cells,
    }
    for name, array in arrays.items():
        if not cv2.imwrite(str(folder / name), array):
            raise OSError(f"{name} was not written")
    grey = Image.fromarray(cells)
    Image.fromarray(cells > 80).save(folder / "one_bit.png")
    Image.fromarray(colour).quantize(16).save(folder / "palette.png")
    Image.merge("LA", [grey, grey]).save(folder / "grey_alpha.png")
    Image.merge("CMYK", [grey] * 4).save(folder / "cmyk.jpg")
    pillow = ("one_bit.png", "palette.png", "grey_alpha.png", "cmyk.jpg")
    return dict.fromkeys(pillow, SHAPE) | {name: array.shape[:2] for name, array in arrays.items()}


def _write_tiff_files(folder: Path) -> dict[str, tuple[int, int]]:
    cells = draw_cells()
    floats = cells.astype(np.float32)
    floats[::7, ::5], floats[1::9, ::4] = np.nan, np.inf
    stack = np.stack([cells] * 7)
    tifffile.imwrite(folder / "constant.tif", np.full(SHAPE, 900, np.uint16))
    tifffile.imwrite(folder / "not_finite.tif", floats)
    tifffile.imwrite(folder / "only_nan.tif", np.full(SHAPE, np.nan, np.float32))
    tifffile.imwrite(folder / "half.tif", cells.astype(np.float16))
    tifffile.imwrite(folder / "double.tif", cells / 255)
    tifffile.imwrite(folder / "int32.tif", cells.astype(np.int32) - 100)
    tifffile.imwrite(folder / "bilevel.v2.tif", cells > 80)
    tifffile.imwrite(folder / "two_channels.tif", np.dstack([cells, cells // 2]), photometric="minisblack")
    tifffile.imwrite(folder / "five_channels.tif", np.dstack([cells] * 5), photometric="minisblack")
    planes = np.stack([cells, cells // 2, cells // 3])
    tifffile.imwrite(folder / "channel_first.tif", planes, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(folder / "channel_pages.tif", planes, photometric="minisblack", metadata={"axes": "CYX"})
    tifffile.imwrite(folder / "pages.tif", stack, photometric="minisblack", compression="zlib")
    tifffile.imwrite(folder / "planes.ome.tif", stack[:3], metadata={"axes": "ZYX"}, photometric="minisblack")
    tifffile.imwrite(folder / "tiles.tif", cells, tile=(16, 16), compression="lzw")
    (folder / "wrong_ending.png").write_bytes((folder / "tiles.tif").read_bytes())
    names = "constant not_finite only_nan half double int32 bilevel.v2 two_channels five_channels channel_first"
    names += " channel_pages pages planes.ome tiles"
    return {f"{name}.tif": SHAPE for name in names.split()} | {"wrong_ending.png": SHAPE}
