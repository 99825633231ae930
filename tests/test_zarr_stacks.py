"""OME-Zarr read by region: the very pixels, whatever the chunks, and one sentence for whatever is wrong."""

from __future__ import annotations

import builtins
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

import mosaicell
from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS, Limits
from mosaicell.pictures.selection import Selection
from mosaicell.reading import zarr_stacks
from mosaicell.reading.enclosure import enclose_input, open_anywhere
from mosaicell.reading.images import open_pixels, read_image
from mosaicell.reading.zarr_stacks import ZarrPixels, _ZarrPlanes
from mosaicell.reading.zarr_store import FolderStore
from tests.hostile import deflate_gigabyte
from tests.ngff_files import VERSIONS, describe, write_group, write_image
from tests.stacks import draw_focus_series, draw_noise, draw_noisy_discs
from tests.toys import draw_discs

both = pytest.mark.parametrize("version", VERSIONS)


def draw(shape: tuple[int, ...], dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


@both
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<u2", "i2", "u4", "f2", "f4", ">f8", "?"])
def test_samples_of_any_type_are_those_of_tiff(tmp_path: Path, version: str, dtype: str) -> None:
    array = draw((70, 90), np.dtype(dtype))
    image = read_image(write_image(tmp_path / "a.zarr", array, "yx", version))
    expected = {"u1": np.uint8, "<u2": np.uint16, ">u2": np.uint16, "?": np.uint8}.get(dtype, np.float32)
    assert image.pixels.dtype == expected
    np.testing.assert_array_equal(image.pixels[..., 0], array * np.uint8(255) if dtype == "?" else array)
    assert not image.notes


@both
@pytest.mark.parametrize("compressor", ["blosc", "zlib", "gzip", "zstd", "lz4", "none"])
def test_common_compressions_are_read(tmp_path: Path, version: str, compressor: str) -> None:
    array = draw((2, 70, 90))
    of_2 = {
        "blosc": numcodecs.Blosc("lz4", shuffle=numcodecs.Blosc.BITSHUFFLE),
        "zlib": numcodecs.Zlib(),
        "gzip": numcodecs.GZip(),
        "zstd": numcodecs.Zstd(),
        "lz4": numcodecs.LZ4(),
    }
    of_3 = {"blosc": BloscCodec(), "gzip": GzipCodec(), "zstd": ZstdCodec()}
    if version == "0.5" and compressor in ("zlib", "lz4"):
        pytest.skip("Zarr 3 has no such codec")
    chosen = (of_2 if version == "0.4" else of_3).get(compressor)
    folder = write_image(tmp_path / "a.zarr", array, "zyx", version, compressors=chosen, side_px=40)
    np.testing.assert_array_equal(read_image(folder, selection=Selection(z=2)).pixels[..., 0], array[1])


@pytest.mark.parametrize("layout", [{}, {"shards": (1, 1, 1, 80, 80)}, {"chunks": (2, 2, 3, 80, 40)}], ids=str)
def test_parts_are_those_of_the_whole(tmp_path: Path, layout: dict[str, Any]) -> None:
    array = draw((2, 2, 3, 300, 170))
    folder = write_image(tmp_path / "a.zarr", array, "tczyx", "0.5", side_px=40, **layout)
    rng = np.random.default_rng(5)
    selection = Selection(channels=("2",), time=2, z=3)
    with open_pixels(folder, DEFAULT_LIMITS, 2, selection=selection) as image:
        plane = array[1, 1, 2]
        assert isinstance(image.pixels, ZarrPixels)
        for step in (1, 3, 7):
            np.testing.assert_array_equal(image.pixels.sample(step)[..., 0], plane[::step, ::step])
        for _ in range(40):
            y0, x0 = int(rng.integers(0, 299)), int(rng.integers(0, 169))
            y1, x1 = int(rng.integers(y0 + 1, 301)), int(rng.integers(x0 + 1, 171))
            read = image.pixels.read((y0, x0, y1, x1))
            assert read.flags.c_contiguous
            np.testing.assert_array_equal(read[..., 0], plane[y0:y1, x0:x1])


def test_what_is_decoded_of_rows_that_overlap_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = draw((400, 100))
    folder = write_image(tmp_path / "a.zarr", array, "yx", side_px=50)
    decoded: list[tuple[int, int]] = []
    decode = ZarrPixels._decode

    def count(self: ZarrPixels, rows: slice, columns: slice) -> np.ndarray:
        decoded.append((rows.start, rows.stop))
        return decode(self, rows, columns)

    monkeypatch.setattr(ZarrPixels, "_decode", count)
    with open_pixels(folder, DEFAULT_LIMITS, 1) as image:
        for y0 in range(0, 300, 60):
            part = image.pixels.read((y0, 0, y0 + 100, 100))
            np.testing.assert_array_equal(part[..., 0], array[y0 : y0 + 100])
    assert decoded == [(0, 100), (100, 200), (200, 250), (250, 300), (300, 350)]


@both
def test_channels_planes_and_times_are_those_of_a_tiff(tmp_path: Path, version: str) -> None:
    channels = np.stack([draw_noise(1), draw_noisy_discs(3), draw_noise(2)])
    folder = write_image(tmp_path / "a.zarr", channels, "cyx", version, names=("CD8", "DAPI", "CD3"))
    picture = mosaicell.read(folder, channels="DAPI")
    assert (picture.names, picture.pixel_um) == (("DAPI",), (0.5, 0.5))
    np.testing.assert_array_equal(picture.pixels[..., 0], channels[1])
    np.testing.assert_array_equal(read_image(folder).pixels[..., 0], channels[1])
    series = draw_focus_series()
    stack = write_image(tmp_path / "b.zarr", series, "zyx", version)
    np.testing.assert_array_equal(read_image(stack).pixels[..., 0], series.max(axis=0))
    np.testing.assert_array_equal(read_image(stack, selection=Selection(z=2)).pixels[..., 0], series[1])
    with pytest.raises(ImageError, match="has no plane 10: it has 1 time, 9 planes, 1 channel"):
        read_image(stack, selection=Selection(z=10))


def test_three_channels_without_names_are_colours_where_they_look_so(tmp_path: Path) -> None:
    discs = draw_noisy_discs(3).astype(np.float32) / 255
    tissue = np.stack([235 - 90 * discs, 215 - 160 * discs, 230 - 60 * discs]).astype(np.uint8)
    colours = read_image(write_image(tmp_path / "a.zarr", tissue, "cyx", names=("Channel 0", "Channel 1", "")))
    np.testing.assert_array_equal(colours.pixels, tissue.transpose(1, 2, 0))
    for number, (names, stains) in enumerate(
        [(("", "", ""), [draw_noisy_discs(3), draw_noise(1), draw_noise(2)]), (("DAPI", "A", "B"), list(tissue))]
    ):
        folder = write_image(tmp_path / f"{number}.zarr", np.stack(stains), "cyx", names=names)
        with open_pixels(folder, DEFAULT_LIMITS, 1) as image:
            assert not image.pictures.stack.has_colours


def test_scenes_are_chosen_as_those_of_tiff(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    write_image(folder / "0", draw((40, 50)), "yx")
    write_image(folder / "1", draw((80, 90)), "yx", said=describe("yx", scale=0.25))
    write_group(folder, {"bioformats2raw.layout": 3}, "0.4")
    with open_pixels(folder, DEFAULT_LIMITS, 1) as image:
        assert image.pictures.stack.shape_px == (80, 90)
        assert image.resolution is not None
        assert image.resolution.pixel_um == pytest.approx((0.25, 0.25))
    assert read_image(folder, selection=Selection(scene=1)).pixels.shape == (40, 50, 1)


@both
def test_chunks_that_are_not_stored_are_what_fills_them(tmp_path: Path, version: str) -> None:
    folder = write_image(tmp_path / "a.zarr", np.zeros((100, 100), np.float32), "yx", version, fill_value=np.nan)
    kept = {"zarr.json", ".zarray", ".zattrs"}
    for path in (folder / "0").rglob("*"):
        if path.is_file() and path.name not in kept:
            path.unlink()
    image = read_image(folder)
    assert not image.pixels.any()
    assert image.notes == ("values that are NaN, infinite or beyond float32 are set to 0",)


def chunk(folder: Path) -> Path:
    """Return the only chunk of an image."""
    found = [path for path in (folder / "0").rglob("*") if path.is_file() and path.suffix != ".json"]
    (only,) = [path for path in found if not path.name.startswith(".")]
    return only


@both
@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 40, bytes(1000), b"\x02\x01\x21\x02" + struct.pack("<III", 1 << 31, 1 << 18, 40) + bytes(24)],
    ids=["empty", "short", "zeros", "2 GB of blosc"],
)
def test_a_damaged_chunk_is_one_sentence(tmp_path: Path, version: str, content: bytes) -> None:
    compressor = numcodecs.Blosc() if version == "0.4" else BloscCodec()
    folder = write_image(tmp_path / "a.zarr", draw((64, 64)), "yx", version, compressors=compressor)
    chunk(folder).write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        read_image(folder)


@pytest.mark.slow
def test_a_chunk_that_inflates_to_gigabytes_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = deflate_gigabyte()
    small = write_image(tmp_path / "a.zarr", draw((64, 64)), "yx", "0.4", compressors=numcodecs.Zlib())
    chunk(small).write_bytes(bomb)
    with pytest.raises(ImageError, match="more than its pixels"):
        read_image(small)
    monkeypatch.setattr(zarr_stacks, "TABLES_CPU_S", 2.0)
    # of a chunk whose pixels might take as much as is stored
    large = write_image(tmp_path / "b.zarr", draw((800, 800)), "yx", "0.4", side_px=800, compressors=numcodecs.Zlib())
    chunk(large).write_bytes(bomb)
    with pytest.raises(ImageError, match="damaged"):
        read_image(large)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_no_code_runs_that_a_chunk_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_image(tmp_path / "a.zarr", draw((64, 64)), "yx", "0.4", compressors=None)
    chunk(folder).write_bytes(pickle.dumps(_Bomb()))
    array = folder / "0" / ".zarray"
    array.write_text(array.read_text().replace('"filters": null', '"filters": [{"id": "pickle"}]'))
    assert "pickle" in array.read_text()
    with pytest.raises(ImageError, match="compressed by 'pickle'"):
        read_image(folder)
    assert not Path("ran").exists()


def test_chunks_out_of_the_input_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    folder = write_image(tmp_path / "in" / "a.zarr", draw((64, 64)), "yx")
    link = chunk(folder)
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    with enclose_input(tmp_path / "in", follow_links=False) as opener, pytest.raises(ImageError, match="leads out"):
        read_image(folder, opener=opener)
    with enclose_input(tmp_path / "in", follow_links=True) as opener:
        assert read_image(folder, opener=opener).pixels.any()
    # what is no file is never waited for
    link.unlink()
    link.mkdir()
    with pytest.raises(ImageError, match="is a folder"):
        read_image(folder)


def test_a_large_image_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "a.zarr", draw((64, 64)), "yx")
    with pytest.raises(ImageError, match="--max-megapixels"):
        read_image(folder, Limits(1000))
    chunk(folder).write_bytes(b"")
    with pytest.raises(ImageError, match="GB of memory"):
        read_image(folder, Limits(memory_bytes=1 << 20))


def test_chunks_decoded_at_once_take_bounded_memory(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "a.zarr", draw((64, 64)), "yx")
    (image,) = zarr_stacks.read_ngff(folder, open_anywhere)
    head = zarr_stacks.read_array_head(folder, "0", open_anywhere)
    assert _ZarrPlanes(None, head, image, 16).stack().held_bytes == 2 * 64 * 64 * 2 + 2 * 16 * 64 * 64 * 2


def test_metadata_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_stacks, "TABLES_CPU_S", 1.0)
    folder = tmp_path / "a.zarr"
    scene = describe("yx") | {"bulk": [0.5] * 800_000}
    write_group(folder / "0", scene, "0.4")
    write_group(folder, {"well": {"images": [{"path": "0"}] * 1000}}, "0.4")
    array = write_image(tmp_path / "b.zarr", draw((4, 4)), "yx") / "0"
    (folder / "0" / "0").symlink_to(array)
    with pytest.raises(ImageError, match="made to stall"):
        read_image(folder)


def test_what_takes_too_long_leaves_no_thread_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_image(tmp_path / "a.zarr", draw((200, 200)), "yx", side_px=10)
    read: list[str] = []
    read_file = FolderStore._read

    def read_slowly(self: FolderStore, key: str, byte_range: Any) -> bytes | None:
        found = read_file(self, key, byte_range)
        read.append(key)
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            pass
        return found

    monkeypatch.setattr(FolderStore, "_read", read_slowly)
    monkeypatch.setattr(zarr_stacks, "TABLES_CPU_S", 0.5)
    with open_pixels(folder, DEFAULT_LIMITS, 2) as image, pytest.raises(ImageError, match="takes more than 1 s"):
        image.pixels.read((0, 0, 200, 200))
    count = len(read)
    assert 0 < count < 400
    time.sleep(0.5)
    assert len(read) == count


def test_without_the_library_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_image(tmp_path / "a.zarr", draw_discs(), "yx")
    load = builtins.__import__

    def refuse(name: str, *arguments: Any, **settings: Any) -> Any:
        if name == "zarr":
            raise ImportError(name)
        return load(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImageError, match=r"the package zarr is missing: pip install"):
        read_image(folder)
