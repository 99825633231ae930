from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import inference.run as module
from inference.errors import OptionError
from inference.images import read_labels
from inference.manifest import file_sha256
from inference.options import Options
from inference.run import find_images, run, split_collisions
from tests.models import write_channel_model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Models that take the image's brightness for foreground and energy: a bright disc is a cell."""
    folder = tmp_path / "weights"
    folder.mkdir()
    cards = {}
    for name in ("awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"):
        kind = "omnipose" if name == "omnipose" else "awf"
        channels = (0, 1, 2, 2) if kind == "omnipose" else (0, 1)
        path = write_channel_model(folder / f"{name}.onnx", channels)
        cards[name] = {
            "file": path.name,
            "sha256": file_sha256(path),
            "kind": kind,
            "tiling": {"window_px": 640, "overlap_fraction": 0.125, "stride_px": 32},
            "normalization": {"percentiles": [1.0, 99.0]},
            "cell_size": {"diameter_range_px": [1.0, 1000.0], "diameter_target_px": 40.0},
            "decoder": {
                "foreground_threshold": 0.5,
                "boundary_threshold": 2.0,
                "flow_threshold": 10.0,
                "score_threshold": 0.2,
                "box_iou_threshold": 0.3,
                "contained_fraction": 0.8,
                "e1": 0.5,
                "e2": 0.8,
                "min_marker_px": 5,
                "min_unmarked_px": 30,
                "min_cell_px": 10,
                "min_size_fraction": 0.0,
                "max_hole_fraction": 0.1,
                "max_energy_error": 100.0,
            },
        }
    (folder / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def write_discs(path: Path, count: int = 3) -> None:
    """Write bright discs on black: fluorescence."""
    image = np.zeros((120, 60 * max(count, 1)), np.uint8)
    for index in range(count):
        cv2.circle(image, (30 + 60 * index, 60), 15, 255, -1)
    assert cv2.imwrite(str(path), image)


def options(inputs: Path, weights: Path, **changes: object) -> Options:
    return Options(inputs, weights.parent / "out", weights_path=weights, device="cpu", threads=1, **changes)  # type: ignore[arg-type]


def test_every_disc_is_a_cell(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "three.png")
    assert run(options(inputs, weights)) == 0
    labels = read_labels(weights.parent / "out" / "three_label.tiff")
    assert labels.shape == (120, 180)
    assert labels.max() == 3
    assert labels[60, 30] != labels[60, 90] != labels[60, 150]


def test_one_bad_image_does_not_stop_the_others(inputs: Path, weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_discs(inputs / "a.png")
    (inputs / "b.png").write_text("no image", encoding="utf-8")
    write_discs(inputs / "c.png", count=0)
    with caplog.at_level(logging.INFO):
        assert run(options(inputs, weights)) == 1
    out = weights.parent / "out"
    assert sorted(p.name for p in out.iterdir()) == ["a_label.tiff", "c_label.tiff"]
    assert not read_labels(out / "c_label.tiff").any()
    assert sum(r.levelno == logging.ERROR and r.message.startswith("b.png: ") for r in caplog.records) == 1


def test_an_unexpected_failure_is_reported_and_the_rest_is_done(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_discs(inputs / "a.png")
    write_discs(inputs / "b.png")
    real = module.read_image

    def failing(path: Path):  # type: ignore[no-untyped-def]
        if path.name == "a.png":
            raise RuntimeError("surprise")
        return real(path)

    monkeypatch.setattr(module, "read_image", failing)
    assert run(options(inputs, weights)) == 1
    assert [p.name for p in (weights.parent / "out").iterdir()] == ["b_label.tiff"]
    assert "surprise" in caplog.text


def test_colliding_names_are_an_error_for_the_second(
    inputs: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_discs(inputs / "x.png", 1)
    write_discs(inputs / "x.bmp", 2)
    write_discs(inputs / "x.y.png", 3)
    with caplog.at_level(logging.INFO):
        assert run(options(inputs, weights)) == 2
    assert read_labels(weights.parent / "out" / "x_label.tiff").max() == 2
    messages = [r.message for r in caplog.records]
    assert messages.index(next(m for m in messages if m.startswith("x.png: its mask"))) == 0


def test_split_collisions_keeps_the_first() -> None:
    first, second, other = Path("a.b.tif"), Path("a.c.tif"), Path("b.tif")
    kept, refused = split_collisions([first, second, other])
    assert kept == [first, other]
    assert refused == {second: first}


def test_find_images_leaves_folders_hidden_and_other_files_out(inputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b.TIF", "a.png", ".hidden.png", "notes.txt"):
        (inputs / name).touch()
    (inputs / "folder").mkdir()
    assert [p.name for p in find_images(inputs)] == ["a.png", "b.TIF"]
    assert "folder: a folder" in caplog.text
    assert "notes.txt: no image suffix" in caplog.text


def test_a_single_file_is_an_input_too(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png", 2)
    write_discs(inputs / "b.png", 2)
    assert run(options(inputs / "a.png", weights)) == 0
    assert [p.name for p in (weights.parent / "out").iterdir()] == ["a_label.tiff"]


def test_an_empty_folder_is_no_failure(inputs: Path, weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(options(inputs, weights)) == 0
    assert "holds no image" in caplog.text


def test_what_cannot_start_says_why(inputs: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        run(options(tmp_path / "missing", weights))
    for name in ("notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
        with pytest.raises(OptionError, match="is no image"):
            run(options(tmp_path / name, weights))
    (tmp_path / "out").touch()
    with pytest.raises(OptionError, match="cannot be made"):
        run(options(inputs, weights))


def test_missing_or_other_weights_stop_the_run_before_it_starts(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png")
    (weights / "omnipose.onnx").write_bytes(b"other")
    with pytest.raises(OptionError, match="SHA-256 differs"):
        run(options(inputs, weights))
    (weights / "omnipose.onnx").unlink()
    with pytest.raises(OptionError, match="missing"):
        run(options(inputs, weights))
    assert not list((weights.parent / "out").iterdir())


def test_auto_falls_back_to_the_cpu_and_says_so(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = module.Session

    def without_gpu(path: Path, device: str, *rest: float) -> object:
        if device != "cpu":
            raise OptionError("CUDA could not start")
        return real(path, device, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "Session", without_gpu)
    monkeypatch.setattr(module, "resolve_device", lambda device: "cuda:0")
    write_discs(inputs / "a.png")
    assert run(replace(options(inputs, weights), device="auto")) == 0
    assert "CUDA could not start; going on with the CPU" in caplog.text
    with pytest.raises(OptionError, match="could not start"):
        run(replace(options(inputs, weights), device="cuda:0"))


def test_output_into_the_input_folder_is_refused(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png")
    for source in (inputs, inputs / "a.png"):
        with pytest.raises(OptionError, match="folder of the input"):
            run(replace(options(source, weights), output_path=inputs / ".." / inputs.name))
    assert [path.name for path in inputs.iterdir()] == ["a.png"]


def test_unwritable_report_is_said_and_counts(inputs: Path, weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_discs(inputs / "a.png")
    (weights.parent / "out" / "run.json").mkdir(parents=True)
    assert run(options(inputs, weights, report=True)) == 1
    assert "run.json could not be written" in caplog.text
    assert (weights.parent / "out" / "a_label.tiff").exists()


def test_failed_overlay_leaves_no_mask(inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_overlay", full)
    write_discs(inputs / "a.png")
    assert run(options(inputs, weights, overlay=True)) == 1
    assert not list((weights.parent / "out").iterdir())


def test_skip_existing_leaves_masks_alone(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png")
    write_discs(inputs / "empty.png", 0)
    out = weights.parent / "out"
    run(options(inputs, weights))
    for path in out.iterdir():
        os.utime(path, (0, 0))
    write_discs(inputs / "new.png")
    write_discs(inputs / "cut.png")
    (out / "cut_label.tiff").touch()
    assert run(options(inputs, weights, skip_existing=True)) == 0
    assert read_labels(out / "cut_label.tiff").max() == 3
    assert (out / "a_label.tiff").stat().st_mtime == 0
    assert (out / "empty_label.tiff").stat().st_mtime == 0
    assert (out / "new_label.tiff").stat().st_mtime > 0


def test_report_and_overlay(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png")
    (inputs / "b.png").touch()
    run(options(inputs, weights, report=True, overlay=True))
    out = weights.parent / "out"
    overlay = cv2.imread(str(out / "a_overlay.png"))
    assert overlay is not None
    assert overlay.shape == (120, 180, 3)
    report = json.loads((out / "run.json").read_text(encoding="utf-8"))
    good, bad = report["images"]
    assert (good["image"], good["cells"], good["modality"], good["branch"]) == (
        "a.png",
        3,
        "fluorescence",
        "awf-fluorescence",
    )
    assert (good["height"], good["width"], good["dtype"]) == (120, 180, "uint8")
    assert set(good["seconds"]) == {"read", "network", "decode", "write", "total"}
    assert bad["image"] == "b.png"
    assert "error" in bad
    assert report["weights_sha256"] == {"awf-fluorescence": file_sha256(weights / "awf-fluorescence.onnx")}
    assert report["options"]["overlay"] is True


def test_a_large_image_is_segmented_as_a_slide(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_discs(inputs / "three.png")
    assert run(options(inputs, weights, report=True)) == 0
    whole = read_labels(weights.parent / "out" / "three_label.tiff")
    monkeypatch.setattr(module, "SLIDE_FROM_PX", 1000)
    assert run(options(inputs, weights, report=True)) == 0
    report = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))
    assert "sample" in report["images"][0]["seconds"]
    assert np.array_equal(read_labels(weights.parent / "out" / "three_label.tiff"), whole)
