from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mosaicell.answers import case
from mosaicell.errors import OptionError
from mosaicell.machine import limits
from mosaicell.networks import views as view_module
from mosaicell.networks.manifest import file_sha256
from mosaicell.options import Options
from mosaicell.runs import image_work, models, segmentation
from mosaicell.runs.run import run
from mosaicell.writing.masks import read_labels
from tests.toys import draw_discs, write_discs, write_judges, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


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
    real = image_work.open_pixels

    def failing(path: Path, *settings: Any):  # type: ignore[no-untyped-def]
        if path.name == "a.png":
            raise RuntimeError("surprise")
        return real(path, *settings)

    monkeypatch.setattr(image_work, "open_pixels", failing)
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
        assert run(options(inputs, weights, names="challenge")) == 2
    assert read_labels(weights.parent / "out" / "x_label.tiff").max() == 2
    messages = [r.message for r in caplog.records]
    assert messages.index(next(m for m in messages if m.startswith("x.png: its mask"))) == 0


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


def test_missing_weights_and_bad_cards_stop_the_run_before_it_starts(inputs: Path, weights: Path) -> None:
    """That of a model which no image here needs, too."""
    write_discs(inputs / "a.png")
    path = weights / "manifest.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"boxes"]', '"rays"]'), encoding="utf-8")
    with pytest.raises(OptionError, match="outputs"):
        run(options(inputs, weights))
    path.write_text(text, encoding="utf-8")
    (weights / "awf-brightfield.onnx").unlink()
    with pytest.raises(OptionError, match="missing"):
        run(options(inputs, weights))
    assert not (weights.parent / "out").exists()


def test_a_model_that_is_another_file_ends_the_run_at_the_image_that_needs_it(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png")
    (weights / "awf-grey.onnx").write_bytes(b"other")
    assert run(options(inputs, weights)) == 0
    (inputs / "a.png").unlink()
    # even grey with darker discs: no fluorescence, and no stain
    assert cv2.imwrite(str(inputs / "b.png"), 200 - draw_discs() // 2)
    with pytest.raises(OptionError, match=r"awf-grey\.onnx .* SHA-256 differs"):
        run(options(inputs, weights))
    assert [path.name for path in (weights.parent / "out").iterdir()] == ["a_label.tiff"]


@pytest.mark.parametrize(("asked", "recorded"), [("", "cells"), ("cells", "cells"), ("confidence", "confidence")])
def test_the_way_to_choose_is_recorded(inputs: Path, weights: Path, asked: str, recorded: str) -> None:
    write_discs(inputs / "a.png")
    assert run(options(inputs, weights, report=True, choose_by=asked)) == 0
    report = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))
    assert report["options"]["choose_by"] == recorded
    assert ("quality.json" in report["weights_sha256"]) is (recorded == "cells")


def test_a_way_to_choose_that_the_system_does_not_know_is_refused(inputs: Path, weights: Path) -> None:
    with pytest.raises(
        OptionError, match="cell-segmenter does not choose by 'luck'; it chooses by cells or confidence"
    ):
        run(options(inputs, weights, choose_by="luck"))


def test_auto_falls_back_to_the_cpu_and_says_so(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = models.Session

    def without_gpu(path: Path, device: str, *rest: float) -> object:
        if device != "cpu":
            raise OptionError("CUDA could not start")
        return real(path, device, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "Session", without_gpu)
    monkeypatch.setattr(models, "resolve_device", lambda device: "cuda:0")
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


def test_what_goes_away_during_the_run_is_said(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write_discs(inputs / name)
    real = image_work.open_pixels

    @contextmanager
    def opening(path: Path, *rest: Any) -> Iterator[Any]:
        with real(path, *rest) as image:
            if path.name == "a.png":
                (inputs / "b.png").unlink()
            else:
                shutil.rmtree(weights.parent / "out")
            yield image

    monkeypatch.setattr(image_work, "open_pixels", opening)
    assert run(options(inputs, weights, report=True)) == 3
    assert "b.png: cannot be read: No such file or directory" in caplog.text
    assert f"c.png: its mask cannot be written: the folder {weights.parent / 'out'} is gone" in caplog.text
    assert "run.json could not be written: No such file or directory" in caplog.text


@pytest.mark.parametrize("follow_links", [False, True])
def test_a_file_that_becomes_a_link_out_of_the_folder_during_the_run_is_not_followed(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, follow_links: bool
) -> None:
    for name in ("a.png", "b.png", "c.tif"):
        write_discs(inputs / name)
    write_discs(inputs.parent / "secret.png", 5)
    write_discs(inputs.parent / "secret.tif", 5)
    real = image_work.open_pixels

    @contextmanager
    def opening(path: Path, *rest: Any) -> Iterator[Any]:
        if path.name == "a.png":
            for name in ("b.png", "c.tif"):
                (inputs / name).unlink()
                (inputs / name).symlink_to((inputs.parent / "secret").with_suffix(Path(name).suffix))
        with real(path, *rest) as image:
            yield image

    monkeypatch.setattr(image_work, "open_pixels", opening)
    assert run(options(inputs, weights, follow_links=follow_links)) == (0 if follow_links else 2)
    masks = {path.name: int(read_labels(path).max()) for path in (weights.parent / "out").iterdir()}
    outside = {"b_label.tiff": 5, "c_label.tiff": 5} if follow_links else {}
    assert masks == {"a_label.tiff": 3} | outside
    for name in ("b.png", "c.tif"):
        assert (f"{name}: is a link that leads out of the input folder" in caplog.text) is not follow_links


def test_a_slide_gets_the_threads_that_memory_allows(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = []
    real = case.segment_bands

    def spy(*arguments: Any, **named: Any) -> object:
        workers.append(arguments[5])
        return real(*arguments, **named)

    monkeypatch.setattr(case, "segment_bands", spy)
    monkeypatch.setattr(view_module, "SLIDE_FROM_PX", 1000)
    monkeypatch.setattr(limits, "SLIDE_FROM_PX", 1000)
    write_discs(inputs / "a.png")
    # OpenCV may need four bytes for each pixel of a PNG while it decodes
    for memory in (None, limits.needed_bytes((120, 180), 120 * 180 * 4, workers=3)):
        monkeypatch.setattr(segmentation, "available_bytes", lambda memory=memory: memory)
        assert run(replace(options(inputs, weights), threads=8)) == 0
    assert workers == [8, 3]


def test_limits_are_told_what_the_networks_take(inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, bool]] = []
    real = image_work.open_pixels

    def spy(path: Path, limits: Any, *rest: Any):  # type: ignore[no-untyped-def]
        told.append((limits.batch_size, limits.networks, limits.tta))
        return real(path, limits, *rest)

    monkeypatch.setattr(image_work, "open_pixels", spy)
    write_discs(inputs / "a.png")
    write_discs(inputs / "b.png")
    assert run(options(inputs, weights, batch_size=8, tta=True)) == 0
    # the first image may need three, of which it takes two; the second may need three others
    assert told == [(8, 3, True), (8, 5, True)]


def test_failed_overlay_leaves_no_mask(inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_work, "write_overlay", full)
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
    assert report["weights_sha256"] == {
        "awf-fluorescence": file_sha256(weights / "awf-fluorescence.onnx"),
        "omnipose": file_sha256(weights / "omnipose.onnx"),
        "quality.json": file_sha256(weights / "quality.json"),
    }
    assert good["cells_by_branch"] == {"awf-fluorescence": 3, "omnipose": 0}
    assert good["predicted_f1"] == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-4)
    assert report["options"]["overlay"] is True


@pytest.mark.parametrize(
    ("slide_from_px", "plain", "augmented"), [(1_000_000, 2, 2 + 4 + 4), (1000, 2 + 2, 2 + 8)], ids=["whole", "slide"]
)
def test_all_views_are_asked_for_and_recorded(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, slide_from_px: int, plain: int, augmented: int
) -> None:
    """A model that sees one pixel at a time answers alike for all views: what changes is how often it is asked."""
    monkeypatch.setattr(view_module, "SLIDE_FROM_PX", slide_from_px)
    write_discs(inputs / "three.png")
    masks, asked, views, recorded = [], [], [], []
    for tta in (False, True):
        calls: list[int] = []
        real = models.Session.run
        with monkeypatch.context() as patch:
            patch.setattr(models.Session, "run", lambda *given, to=calls, real=real: to.append(1) or real(*given))
            assert run(options(inputs, weights, report=True, tta=tta)) == 0
        report = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))
        masks.append(read_labels(weights.parent / "out" / "three_label.tiff"))
        asked.append(len(calls))
        views.append(report["images"][0]["views"])
        recorded.append(report["options"]["tta"])
    assert asked == [plain, augmented]
    assert (views, recorded) == ([1, 4], [False, True])
    assert masks[0].max() == 3
    assert np.array_equal(masks[0], masks[1])


@pytest.mark.parametrize("slide_from_px", [1_000_000, 1000], ids=["whole", "slide"])
def test_a_low_predicted_f1_is_a_warning_counted_and_recorded(
    inputs: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    slide_from_px: int,
) -> None:
    monkeypatch.setattr(view_module, "SLIDE_FROM_PX", slide_from_px)
    write_discs(inputs / "a.png")
    (inputs / "b.png").touch()
    for odds, doubtful in ((0.19 / 0.81, True), (0.21 / 0.79, False)):
        # all cells are likely to be right, and the answer as a whole is likely or not
        write_judges(weights, image_offset=math.log(odds))
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert run(options(inputs, weights, report=True)) == 1
        warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        expected = ["a.png: doubtful, most of it may be wrong: the predicted F1 is 0.19"] if doubtful else []
        assert warned == expected
        assert caplog.messages[-1].startswith(f"1 images done ({int(doubtful)} doubtful), 0 skipped, 1 failed, ")
        report = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))
        assert report["images"][0]["doubtful"] is doubtful


@pytest.mark.parametrize("slide_from_px", [1_000_000, 1000], ids=["whole", "slide"])
@pytest.mark.parametrize(("predicted", "cells"), [(0.07, 0), (0.09, 3)])
def test_a_hopeless_answer_is_left_out_and_said(
    inputs: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    predicted: float,
    cells: int,
    slide_from_px: int,
) -> None:
    monkeypatch.setattr(view_module, "SLIDE_FROM_PX", slide_from_px)
    write_discs(inputs / "a.png")
    write_judges(weights, image_offset=math.log(predicted / (1 - predicted)))
    with caplog.at_level(logging.WARNING):
        assert run(options(inputs, weights, report=True)) == 0
    assert any("doubtful" in message for message in caplog.messages)
    (image,) = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    assert (image["cells"], sum(image["cells_by_branch"].values())) == (cells, cells)
    assert image["predicted_f1"] == pytest.approx(predicted, abs=1e-3)
    assert read_labels(weights.parent / "out" / "a_label.tiff").max() == cells


def test_without_judges_nothing_is_doubtful(inputs: Path, weights: Path) -> None:
    write_discs(inputs / "a.png")
    assert run(options(inputs, weights, report=True, choose_by="confidence")) == 0
    (image,) = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    assert (image["predicted_f1"], image["doubtful"]) == (None, False)


def test_a_large_image_is_segmented_as_a_slide(inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_discs(inputs / "three.png")
    assert run(options(inputs, weights, report=True)) == 0
    whole = read_labels(weights.parent / "out" / "three_label.tiff")
    monkeypatch.setattr(view_module, "SLIDE_FROM_PX", 1000)
    assert run(options(inputs, weights, report=True)) == 0
    report = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))
    assert "sample" in report["images"][0]["seconds"]
    assert np.array_equal(read_labels(weights.parent / "out" / "three_label.tiff"), whole)


@pytest.mark.parametrize(("slide_from_px", "is_slide"), [(120 * 180, False), (120 * 180 - 1, True)])
def test_an_image_of_one_pixel_more_than_the_limit_is_a_slide(
    inputs: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, slide_from_px: int, is_slide: bool
) -> None:
    monkeypatch.setattr(view_module, "SLIDE_FROM_PX", slide_from_px)
    write_discs(inputs / "three.png")
    assert run(options(inputs, weights, report=True)) == 0
    report = json.loads((weights.parent / "out" / "run.json").read_text(encoding="utf-8"))
    assert ("sample" in report["images"][0]["seconds"]) is is_slide
