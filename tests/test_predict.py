"""The real command line with the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.evaluation.metrics import score_image
from mosaicell.options import VERSION
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.masks import mask_name, read_labels
from tests.files import write_hostile_files

ROOT = Path(__file__).resolve().parent.parent


def predict(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys, predict\n"
        "try: predict.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'scipy', 'skimage', 'tifffile', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for option in (
        "--input_path",
        "--output-path",
        "--system",
        "--gpu-mem-limit",
        "--skip-existing",
        "--overlay",
        "--tta",
        "--recursive",
        "--include",
        "--names",
        "--part",
        "--mask-dtype",
        "--mask-format",
        "--table",
        "--geojson",
        "--rois",
        "--ome-zarr",
        "--min-area",
        "--max-area",
        "--exclude-edges",
        "--expand",
        "examples:",
    ):
        assert option in done.stdout
    assert predict("--version").stdout.strip() == f"mosaicell {VERSION}"


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("-i", "in"),
        ("-i", "in", "-o", "out", "--system", "other"),
        ("-i", "in", "-o", "out", "--threads", "0"),
        ("-i", "in", "-o", "out", "--threads", "1025"),
        ("-i", "in", "-o", "out", "--threads", "99999999999"),
        ("--check", "--threads", "99999999999"),
        ("-i", "in", "-o", "out", "--gpu-mem-limit", "nan"),
        ("-i", "in", "-o", "out", "--batch-size", "x"),
        ("-i", "in", "-o", ""),
        ("in", "-o", "out", "--names", "short"),
        ("-o", "out"),
    ],
)
def test_wrong_options_are_refused(wrong: tuple[str, ...]) -> None:
    done = predict(*wrong)
    assert done.returncode == 2
    assert "error" in done.stderr
    assert "invalid _" not in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_input_and_unknown_device_say_so(tmp_path: Path) -> None:
    done = predict("-i", tmp_path / "nothing", "-o", tmp_path / "out")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "does not exist" in done.stderr
    done = predict("-i", tmp_path, "-o", tmp_path / "out", "--device", "tpu")
    assert done.returncode == 2
    assert "'tpu' is unknown" in done.stderr


@pytest.mark.slow
def test_one_image_of_every_modality(tmp_path: Path) -> None:
    """Drawn images, named with spaces and dots, through the real program: good masks for the plain scenes."""
    folder = tmp_path / "in put"
    folder.mkdir()
    truths = {}
    for kind, diameter in (
        ("fluorescence_nuclei", 30),
        ("brightfield_blood", 40),
        ("phase_rods", 25),
        ("dic_yeast", 30),
    ):
        pixels, labels = draw_scene(kind, (256, 320), np.random.default_rng(11), diameter_px=diameter)
        assert cv2.imwrite(str(folder / f"{kind} 1.x.png"), pixels[..., ::-1])
        truths[kind] = labels
    done = predict("-i", folder, "-o", tmp_path / "out", "--device", "cpu", "--overlay")
    assert done.returncode == 0, done.stderr
    scores = {}
    for kind, truth in truths.items():
        path = tmp_path / "out" / f"{kind} 1.x_label.tiff"
        with tifffile.TiffFile(path) as tiff:
            assert len(tiff.pages) == 1
            page = tiff.pages.first
            assert page.dtype == np.uint16
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        labels = read_labels(path)
        assert labels.shape == truth.shape
        assert set(np.unique(labels)) == set(range(labels.max() + 1))
        assert (tmp_path / "out" / f"{kind} 1.x_overlay.png").exists()
        scores[kind] = score_image(truth, labels, [0.5])[0].f1
    assert scores["fluorescence_nuclei"] > 0.6, scores
    assert scores["brightfield_blood"] > 0.6, scores
    assert np.mean(list(scores.values())) > 0.5, scores


@pytest.mark.slow
def test_same_masks_for_any_batch_and_threads(tmp_path: Path) -> None:
    pixels, _ = draw_scene("fluorescence_nuclei", (700, 900), np.random.default_rng(3), diameter_px=25)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    masks = []
    for name, batch, threads in (("one", 1, 1), ("two", 4, 2)):
        done = predict("-i", tmp_path / "a.png", "-o", tmp_path / name, "--batch-size", batch, "--threads", threads)
        assert done.returncode == 0, done.stderr
        masks.append(read_labels(tmp_path / name / "a_label.tiff"))
    assert masks[0].max() > 100
    assert np.array_equal(masks[0], masks[1])


@pytest.mark.slow
def test_augmented_masks_are_the_same_for_any_batch_and_threads(tmp_path: Path) -> None:
    pixels, truth = draw_scene("fluorescence_nuclei", (700, 900), np.random.default_rng(3), diameter_px=25)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    masks = []
    for name, extra in (("plain", ()), ("one", ("--tta", "--batch-size", 1)), ("two", ("--tta", "--batch-size", 4))):
        done = predict("-i", tmp_path / "a.png", "-o", tmp_path / name, "--device", "cpu", *extra)
        assert done.returncode == 0, done.stderr
        masks.append(read_labels(tmp_path / name / "a_label.tiff"))
    assert score_image(truth, masks[1], [0.5])[0].f1 > 0.6
    assert not np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[1], masks[2])


@pytest.mark.slow
def test_hostile_folder(tmp_path: Path) -> None:
    """Give every odd file a mask or one sentence; finish the rest; leave nothing half-written; exit with 1."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    expected = write_hostile_files(folder)
    done = predict("-i", folder, "-o", out, "--device", "cpu")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    masks = set()
    for name, expectation in expected.items():
        lines = [line for line in done.stderr.splitlines() if f"{name}: " in line]
        if expectation.shape is None:
            assert len(lines) == 1, (name, lines)
            assert expectation.error in lines[0]
        else:
            masks.add(mask_name(name, "full"))
            assert read_labels(out / mask_name(name, "full")).shape == expectation.shape, name
    assert {path.name for path in out.iterdir()} == masks
