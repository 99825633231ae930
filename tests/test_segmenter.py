"""Arrays in, cells out: axes, threads, copies, and the same masks as the command line."""

from __future__ import annotations

import csv
import json
import pickle
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

import mosaicell
from mosaicell.errors import ImageError, OptionError
from mosaicell.options import VERSION
from mosaicell.writing.masks import read_labels
from tests.test_reliability import predict
from tests.toys import draw_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("toys") / "weights")


@pytest.fixture(scope="module")
def segmenter(weights: Path) -> mosaicell.Segmenter:
    return mosaicell.Segmenter(weights=weights, device="cpu", threads=1)


def test_names_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, mosaicell\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'tifffile'}\n"
        "assert not heavy & set(sys.modules)\n"
        "print(mosaicell.__version__, *dir(mosaicell))\n"
        "assert not heavy & set(sys.modules)\n"
        "mosaicell.Segmenter\n"
        "assert {'numpy', 'onnxruntime'} < set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [VERSION, "Picture", "Result", "Segmenter", "__version__", "read", "segment"]
    with pytest.raises(AttributeError, match="no attribute 'segmant'"):
        mosaicell.segmant  # noqa: B018, it is read


def test_the_mask_is_that_of_the_command_line(weights: Path, tmp_path: Path, segmenter: mosaicell.Segmenter) -> None:
    (tmp_path / "weights").symlink_to(weights)
    discs = np.stack([draw_discs(3), draw_discs(3) // 3, draw_discs(3) // 2], axis=-1)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", discs, photometric="rgb")
    assert predict(tmp_path, "--report", "--expand", 4, "--exclude-edges").returncode == 0
    expected = read_labels(tmp_path / "out" / "a_label.tiff")
    (record,) = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    for image, axes in (
        (discs, "YXS"),
        (discs.transpose(2, 0, 1), "cyx"),
        (mosaicell.read(tmp_path / "in" / "a.tif"), None),
    ):
        result = segmenter.segment(image, axes, expand_px=4, exclude_edges=True)
        np.testing.assert_array_equal(result.labels, expected)
        assert len(result) == record["cells"] == 3
        assert result.modality == record["modality"]
        assert result.predicted_f1 == pytest.approx(record["predicted_f1"], abs=1e-4)
        assert not result.doubtful


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float64])
def test_any_number_can_be_segmented(segmenter: mosaicell.Segmenter, dtype: type) -> None:
    result = segmenter.segment((draw_discs(3) > 0).astype(dtype), "YX")
    assert (len(result), result.labels.dtype) == (3, np.uint32)
    assert result.cells["label"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "axes", "said"),
    [
        ((20, 30, 3), None, r"shape \(20, 30, 3\) cannot have the axes None; say axes="),
        ((20, 30), "YXC", "cannot have the axes 'YXC'"),
        ((5, 20, 30), "ZYX", "one plane or projection"),
        ((20, 20, 20), "YXX", "cannot have"),
        ((4, 20, 30), "CYX", "4 channels; 3 can be seen at once"),
        ((0, 30), "YX", "no pixels"),
        ((20, 30, 0), "YXC", "no pixels"),
    ],
)
def test_what_an_array_is_must_be_said(
    segmenter: mosaicell.Segmenter, shape: tuple[int, ...], axes: str | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        segmenter.segment(np.zeros(shape, np.uint8), axes)


def test_what_cannot_be_segmented_is_one_sentence(segmenter: mosaicell.Segmenter, weights: Path) -> None:
    with pytest.raises(ImageError, match="the image has samples of type complex128"):
        segmenter.segment(np.zeros((20, 30), complex))
    with pytest.raises(ValueError, match="2 channels and 1 names"):
        segmenter.segment(np.zeros((2, 20, 30)), "CYX", names=["DAPI"])
    with pytest.raises(OptionError, match="--max-area 5 is below"):
        segmenter.segment(np.zeros((20, 30)), min_area_px=9, max_area_px=5)
    with pytest.raises(OptionError, match="does not choose by"):
        mosaicell.Segmenter(choose_by="luck", weights=weights)
    with pytest.raises(ImageError, match="--max-megapixels"):
        mosaicell.segment(np.zeros((200, 300)), max_megapixels=0.01, weights=weights, device="cpu")
    with pytest.raises(TypeError):
        mosaicell.segment(np.zeros((20, 30)), colour="red")


def test_threads_and_copies_find_the_same(segmenter: mosaicell.Segmenter) -> None:
    images = [draw_discs(count) for count in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segmenter.segment, images))
    assert [len(result) for result in found] == [1, 2, 3, 4]
    copy = pickle.loads(pickle.dumps(segmenter))
    assert copy.device == "cpu"
    np.testing.assert_array_equal(copy.segment(images[3]).labels, found[3].labels)


def test_signals_are_left_alone(segmenter: mosaicell.Segmenter) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    segmenter.segment(draw_discs(1))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_the_array_is_left_alone(segmenter: mosaicell.Segmenter) -> None:
    image = draw_discs(3)
    image.setflags(write=False)
    result = segmenter.segment(image, expand_px=3)
    assert (result.cells["max_channel_1"] == 255).all()


def test_channels_of_a_file_have_their_names_and_their_size(tmp_path: Path, segmenter: mosaicell.Segmenter) -> None:
    planes = np.stack([draw_discs(3), draw_discs(3) // 2, draw_discs(3) // 3])
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD8", ""]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata=metadata)
    picture = mosaicell.read(tmp_path / "a.ome.tif", channels=["CD8", 3])
    assert picture.names == ("CD8", "channel_3")
    assert picture.pixel_um == pytest.approx((0.5, 0.5))
    np.testing.assert_array_equal(picture.pixels, np.dstack([planes[1], planes[2], np.zeros_like(planes[0])]))
    result = segmenter.segment(picture)
    assert [name for name in result.cells if name.startswith("max")] == ["max_CD8", "max_channel_3"]
    np.testing.assert_allclose(result.cells["area_um2"], result.cells["area_px"] / 4)
    assert mosaicell.read(tmp_path / "a.ome.tif", channels="DAPI").pixels.shape == (120, 180, 1)
    # a nuclear stain is taken, and that is said
    alone = mosaicell.read(tmp_path / "a.ome.tif")
    assert alone.names == ("DAPI",)
    with pytest.raises(ImageError, match="has no channel 'x'"):
        mosaicell.read(tmp_path / "a.ome.tif", channels="x")


def test_planes_are_chosen(tmp_path: Path) -> None:
    stack = np.stack([draw_discs(2), draw_discs(2) // 2])
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "ZYX"})
    assert mosaicell.read(tmp_path / "a.tif", z=2).pixels.max() == 127
    assert mosaicell.read(tmp_path / "a.tif", z="max").pixels.max() == 255
    with pytest.raises(ValueError, match="one plane and one time"):
        mosaicell.read(tmp_path / "a.tif", z="all")
    with pytest.raises(ValueError, match="neither a number from 1 nor one of"):
        mosaicell.read(tmp_path / "a.tif", z="best")
    with pytest.raises(ImageError):
        mosaicell.read(tmp_path / "missing.tif")


def test_a_result_is_written_in_every_form(tmp_path: Path, segmenter: mosaicell.Segmenter) -> None:
    result = segmenter.segment(draw_discs(3), pixel_um=(0.25, 0.5))
    result.write_mask(tmp_path / "a.tiff")
    result.write_table(tmp_path / "a.csv")
    result.write_geojson(tmp_path / "a.geojson")
    result.write_rois(tmp_path / "a.zip")
    result.write_ome_zarr(tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "labels" / "mosaicell" / "0" / ".zarray").is_file()
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tiff"), result.labels)
    picture = mosaicell.read(tmp_path / "a.tiff")
    assert picture.pixel_um == pytest.approx((0.25, 0.5))
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [float(row["area_um2"]) for row in csv.DictReader(file)] == pytest.approx(result.cells["area_um2"])
    assert len(json.loads((tmp_path / "a.geojson").read_text(encoding="ascii"))["features"]) == 3
    assert len(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == 3
