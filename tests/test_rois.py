"""ImageJ's regions, as the library roifile reads them, and as ImageJ itself does where it is installed."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mosaicell.options import Options
from mosaicell.postprocess.outlines import trace_outlines
from mosaicell.runs.run import run
from mosaicell.writing.masks import read_labels
from mosaicell.writing.rois import MOST_PX, encode_roi, write_rois
from tests.cells import draw_cells
from tests.test_outlines import paint
from tests.toys import write_discs, write_weights

IMAGEJ = Path(os.environ.get("IMAGEJ_JAR", "/usr/share/java/ij.jar"))
#: opens the archive in ImageJ's ROI Manager's way and prints the id and the pixels of each region
COUNT_PIXELS = """
import ij.gui.Roi; import ij.io.RoiDecoder; import java.io.*; import java.util.zip.*;
public class CountPixels {
    public static void main(String[] names) throws Exception {
        ZipInputStream archive = new ZipInputStream(new FileInputStream(names[0]));
        for (ZipEntry entry = archive.getNextEntry(); entry != null; entry = archive.getNextEntry()) {
            Roi roi = new RoiDecoder(archive.readAllBytes(), entry.getName()).getRoi();
            System.out.println(entry.getName() + " " + roi.getContainedPoints().length + " " + roi.getPosition());
        }
    }
}
"""


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_run_writes_a_region_for_each_cell(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "weights")
    write_discs(tmp_path / "a.png", 3)
    assert run(Options(tmp_path / "a.png", tmp_path / "out", weights_path=weights, device="cpu", rois=True)) == 0
    labels = read_labels(tmp_path / "out" / "a_label.tiff")
    found = entries(tmp_path / "out" / "a_rois.zip")
    assert list(found) == ["1.roi", "2.roi", "3.roi"]
    assert found == {f"{cell}.roi": encode_roi(polygons) for cell, polygons in trace_outlines(labels)}


def test_names_sort_as_the_ids_do_and_say_the_page(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = draw_cells(rng)
    write_rois(tmp_path / "a.zip", iter([labels, labels]), 2)
    names = list(entries(tmp_path / "a.zip"))
    assert names == sorted(names)
    assert (names[0], names[-1]) == ("1-01.roi", f"2-{labels.max()}.roi")


def test_the_archive_is_the_same_again(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = draw_cells(rng)
    for name in "ab":
        write_rois(tmp_path / f"{name}.zip", [labels])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.consumers
def test_roifile_reads_the_pixels_of_each_cell(tmp_path: Path, rng: np.random.Generator) -> None:
    roifile = pytest.importorskip("roifile")
    labels = draw_cells(rng)
    write_rois(tmp_path / "a.zip", [labels])
    kinds = set()
    for cell, (name, content) in enumerate(entries(tmp_path / "a.zip").items(), 1):
        assert int(Path(name).stem) == cell
        roi = roifile.ImagejRoi.frombytes(content)
        kinds.add((roi.roitype.name, roi.composite))
        listed = roi.coordinates(multi=True)
        rings = [listed] if isinstance(listed, np.ndarray) else listed
        # what closes a ring stands twice
        rings = [ring[:-1] if (ring[0] == ring[-1]).all() else ring for ring in rings]
        np.testing.assert_array_equal(paint([[ring.astype(int) for ring in rings]], labels.shape), labels == cell)
        rows, columns = np.nonzero(labels == cell)
        box = (roi.top, roi.left, roi.bottom, roi.right)
        assert box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert kinds == {("TRACED", False), ("RECT", True)}


@pytest.mark.consumers
def test_places_beyond_16_bits_and_planes_are_kept() -> None:
    roifile = pytest.importorskip("roifile")
    square = np.array([(0, 0), (9, 0), (9, 9), (0, 9)])
    for shift in (MOST_PX - 9, MOST_PX - 8, 50_000):
        roi = roifile.ImagejRoi.frombytes(encode_roi([[square + shift]], 3))
        listed = roi.coordinates(multi=True)
        points = listed if isinstance(listed, np.ndarray) else listed[0]
        assert points[:4].tolist() == (square + shift).tolist()
        assert roi.position == 3


@pytest.mark.consumers
@pytest.mark.skipif(not IMAGEJ.is_file() or not shutil.which("javac"), reason="ImageJ or Java is not installed")
def test_imagej_counts_the_pixels_of_each_cell(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = draw_cells(rng)
    write_rois(tmp_path / "a.zip", [labels])
    (tmp_path / "CountPixels.java").write_text(COUNT_PIXELS, encoding="ascii")
    java = ["java", "-Djava.awt.headless=true", "-cp", str(IMAGEJ), str(tmp_path / "CountPixels.java")]
    said = subprocess.run([*java, str(tmp_path / "a.zip")], capture_output=True, text=True, check=True).stdout
    counts = [int(line.split()[1]) for line in io.StringIO(said)]
    assert counts == np.bincount(labels.ravel())[1:].tolist()
