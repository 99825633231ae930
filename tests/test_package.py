"""The wheel: what it holds and needs, and a segmentation with it alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

from mosaicell.options import VERSION
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.masks import read_labels
from tests.test_imports import LINKED, ROOT, normalised, pinned

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    done = subprocess.run([*map(str, pip), str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Return a folder into which the wheel is installed."""
    folder = wheel.parent / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(list(map(str, pip)), check=True, capture_output=True)
    return folder


def test_a_wheel_holds_the_package_with_its_weights_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {"mosaicell", f"mosaicell-{VERSION}.dist-info"}
    for folder in (*LINKED, "weights"):
        theirs = {name.removeprefix("mosaicell/") for name in names if name.startswith(f"mosaicell/{folder}/")}
        kept = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert theirs == set(kept.split()) - {"weights/awf-baseline.onnx"}


def test_a_wheel_tells_napari_of_the_plugin(wheel: Path, installed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.read(f"mosaicell-{VERSION}.dist-info/entry_points.txt").decode()
        assert archive.read("mosaicell/napari_plugin/napari.yaml")
    assert "[napari.manifest]\nmosaicell = mosaicell.napari_plugin:napari.yaml\n" in entries
    pytest.importorskip("npe2")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "npe2", "validate", "mosaicell"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Manifest for 'Mosaicell' valid!" in done.stdout


def test_what_a_wheel_needs_is_what_is_tested(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_string(archive.read(f"mosaicell-{VERSION}.dist-info/METADATA").decode())
    needed = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    pins = pinned(ROOT / "requirements-consumers.txt") | pinned(ROOT / "requirements-dev.txt")
    assert len(needed) > 8
    for one in needed:
        if one.name != "mosaicell":
            assert pins[normalised(one.name)] in one.specifier, one
    assert metadata["Version"] == VERSION
    assert "research" in metadata["License-Expression"]


@pytest.mark.parametrize("command", ["script", "module"])
def test_an_image_is_segmented_without_the_checkout(installed: Path, tmp_path: Path, command: str) -> None:
    pixels, truth = draw_scene("fluorescence_nuclei", (200, 240), np.random.default_rng(1), diameter_px=30)
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    program = [str(installed / "bin" / "mosaicell")] if command == "script" else ["-m", "mosaicell"]
    options = ["a.png", "-o", "out", "--device", "cpu", "--threads", "1", "--table", "--geojson", "--rois"]
    done = subprocess.run(
        [sys.executable, *program, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_cells.csv", "a_cells.geojson", "a_label.tiff", "a_rois.zip"]
    assert read_labels(tmp_path / "out" / "a_label.tiff").max() == pytest.approx(truth.max(), abs=4)
    asked = subprocess.run(
        [sys.executable, *program, "--max-area", "1", "--min-area", "2", "a.png", "-o", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr.partition(":")[0]) == (2, "mosaicell")


def test_a_script_segments_with_the_package(installed: Path, tmp_path: Path) -> None:
    code = (
        "import mosaicell, numpy as np\n"
        f"assert mosaicell.__file__.startswith({str(installed)!r})\n"
        "image = np.zeros((120, 160), np.uint8); image[40:70, 50:80] = 200\n"
        "print(len(mosaicell.segment(image, device='cpu', threads=1)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()
