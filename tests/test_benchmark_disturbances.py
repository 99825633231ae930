"""The benchmark of disturbances: what is done to scenes, that the cells stay, what is run, counted and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from benchmarks import debris, disturbances, disturbed_scenes, real_scenes, scenery, surroundings
from benchmarks.disturbances import main, write_image
from benchmarks.disturbed_scenes import GROUPS, Extent, spread_cells
from benchmarks.empty_results import Field, draw_fields, tabulate
from benchmarks.trials import Trial, score_trial
from mosaicell.reading.images import read_image
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.masks import write_labels

SMALL = Extent(scenes=1, large=False)


def scene(kind: str = "fluorescence_nuclei", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return draw_scene(kind, (120, 150), np.random.default_rng(seed), diameter_px=14)


# what is done to a scene


@pytest.mark.parametrize("share", [0.1, 0.6])
@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (65535, np.uint16), (-9999, np.int16)])
def test_a_frame_holds_the_scene_and_one_value(share: float, value: int, dtype: Any) -> None:
    pixels = scene()[0].astype(dtype)
    framed, (top, left) = surroundings.add_frame(pixels, share, value, np.random.default_rng(1))
    assert framed.dtype == dtype
    assert 1 - pixels.size / framed.size == pytest.approx(share, abs=0.01)
    inside = np.zeros(framed.shape[:2], bool)
    inside[top : top + 120, left : left + 150] = True
    np.testing.assert_array_equal(framed[inside], pixels.reshape(-1, pixels.shape[2]))
    assert np.unique(framed[~inside]).tolist() == [value]


def test_what_is_cut_out_keeps_its_pixels_and_its_outline() -> None:
    pixels, _ = scene("brightfield_tissue")
    area = surroundings.draw_outline((120, 150), np.random.default_rng(0))
    assert 0.3 < area.mean() < 0.7
    assert not area[0].any()
    for value in (0, 255):
        cut = surroundings.cut_out(pixels, area, value)
        np.testing.assert_array_equal(cut[area], pixels[area])
        assert np.all(cut[~area] == value)
        clear = surroundings.cut_out(pixels, area, value, transparent=True)
        np.testing.assert_array_equal(clear[..., :3], cut)
        np.testing.assert_array_equal(clear[..., 3], area * 255)


def test_a_turned_scan_holds_all_cells_and_black_corners() -> None:
    pixels, labels = scene("brightfield_blood")
    turned, truth, area = surroundings.turn_scan(pixels, labels, 35)
    assert turned.shape[:2] == truth.shape == area.shape
    assert not turned[~cv2.dilate(area.astype(np.uint8), np.ones((3, 3))).astype(bool)].any()
    assert np.count_nonzero(area) == pytest.approx(labels.size, rel=0.02)
    before, after = (np.bincount(plane.ravel(), minlength=labels.max() + 1)[1:] for plane in (labels, truth))
    assert np.abs(after - before).max() <= 0.25 * before.max()
    assert turned[truth > 0].mean() == pytest.approx(pixels[labels > 0].mean(), abs=5)


@pytest.mark.parametrize(("times", "cover"), [(5, 0.002), (40, 0.02)])
def test_a_blob_is_as_large_and_as_bright_as_asked(times: int, cover: float) -> None:
    pixels, labels = draw_scene("fluorescence_nuclei", (288, 352), np.random.default_rng(3), diameter_px=20)
    image, area = debris.add_blob(pixels, labels, times, cover, np.random.default_rng(0))
    np.testing.assert_allclose(image[area], debris.deepen(pixels)[area], atol=0.2 * 255 * debris.STEPS)
    cells = np.median(pixels[labels > 0]) - np.median(pixels[labels == 0])
    added = (image.astype(float) - debris.deepen(pixels))[..., 0] / debris.STEPS
    core = added > times * cells / 2
    assert core.mean() == pytest.approx(cover, rel=0.35)
    assert np.median(added[core]) == pytest.approx(times * cells, rel=0.15)
    assert not area[core].any()
    assert area.mean() > 1 - 3 * cover - 0.01


def test_a_cast_changes_the_ratio_of_channels_alone() -> None:
    pixels, _ = scene("phase_rods")
    even = debris.tint(pixels[..., :1], 0, np.random.default_rng(0))
    assert np.all(even == pixels[..., :1])
    for cast in (0.04, 0.15):
        tinted = debris.tint(pixels[..., :1], cast, np.random.default_rng(0)).astype(float)
        means = np.sort(tinted.reshape(-1, 3).mean(axis=0))
        assert 1 - means[0] / means[2] == pytest.approx(cast, abs=0.005)


def test_the_dim_channel_has_a_hundredth_of_the_range_and_keeps_its_cells() -> None:
    plane, other = (scene(seed=seed)[0].max(axis=2) for seed in (0, 1))
    dim, bright = debris.join_channels(plane, other, 0.01).astype(int)
    np.testing.assert_array_equal((dim - 100) // 2, plane)
    np.testing.assert_array_equal((bright - 100) // 200, other)
    equal = debris.join_channels(plane, other, 1.0).astype(int)
    np.testing.assert_array_equal((equal[1] - 100) // 2, other)


def test_the_empty_half_of_a_channel_has_the_level_and_noise_of_its_background() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((100, 100), np.uint32)
    labels[30:60, 30:60] = 1
    plane = np.clip(40 + 5 * rng.standard_normal(labels.shape) + 150 * (labels > 0), 0, 255).astype(np.uint8)
    empty = debris.draw_level(plane, labels, rng)
    assert np.median(empty) == pytest.approx(40, abs=2)
    assert 3 < np.percentile(empty, 84) - np.median(empty) < 7
    haze = debris.draw_haze((100, 120), rng)
    assert haze.shape == (100, 120)
    assert np.ptp(haze) > 150


# the groups


def check(drawn: list[tuple[Trial, np.ndarray]]) -> None:
    """Assert that names differ, references come first, parts fit, and the truth itself scores 1."""
    names: set[str] = set()
    for trial, pixels in drawn:
        assert trial.name.lower() not in names
        names.add(trial.name.lower())
        shape = pixels.shape[1:] if pixels.shape[0] == 2 else pixels.shape[:2]
        ends = [start + side for start, side in zip(trial.corner, trial.truth.shape, strict=True)]
        assert all(end <= side for end, side in zip(ends, shape, strict=True))
        assert (trial.reference is None) == (trial.row == "")
        if trial.reference:
            assert trial.reference.name.lower() in names
        whole = np.zeros(shape, np.uint32)
        whole[trial.corner[0] : ends[0], trial.corner[1] : ends[1]] = trial.truth
        if trial.elsewhere and trial.area is not None:
            whole[~trial.area] = 0
        assert score_trial(trial, whole) == 1


@pytest.mark.parametrize("group", ["casts", "debris", "frames"])
def test_groups_of_small_images_are_sound(group: str) -> None:
    check(list(GROUPS[group](SMALL)))


def test_sizes_show_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbed_scenes, "ROD_SIDES_PX", (100, 200, 260))
    drawn = list(GROUPS["sizes"](SMALL))
    check(drawn)
    for trial, pixels in drawn:
        if trial.reference:
            middle = pixels[trial.corner[0] :, trial.corner[1] :][:100, :100]
            np.testing.assert_array_equal(middle, next(p for t, p in drawn if t is trial.reference))


def test_an_image_is_drawn_below_and_above_the_size_of_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbed_scenes, "ROD_SIDES_PX", (100, 200))
    monkeypatch.setattr(disturbed_scenes, "ROD_KINDS", ())
    assert disturbed_scenes.BELOW_PX**2 < 8_000_000 < disturbed_scenes.ABOVE_PX**2
    monkeypatch.setattr(disturbed_scenes, "BELOW_PX", 300)
    monkeypatch.setattr(disturbed_scenes, "ABOVE_PX", 320)
    monkeypatch.setattr(scenery, "SCENES", 2)
    drawn = list(GROUPS["sizes"](Extent(scenes=1)))
    check(drawn)
    assert [pixels.shape[:2] for _, pixels in drawn] == [(300, 300), (320, 320)] * 2


@pytest.mark.parametrize("slide", [False, True])
def test_cells_cover_what_is_asked(slide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbed_scenes, "SLIDE_PX", 400_000)
    monkeypatch.setattr(disturbed_scenes, "MOST_FIELD_PX", 500_000)
    pixels, labels = scene()
    drawn = list(spread_cells("a", pixels, labels, np.random.default_rng(0), "images", slide=slide))
    check(drawn)
    assert len(drawn) >= 3
    for trial, field in drawn[1:]:
        cover = np.count_nonzero(trial.truth) / (field.shape[0] * field.shape[1])
        assert slide or f"{cover:.1%}" in trial.row
        assert field.shape[0] * field.shape[1] >= (400_000 if slide else 0)
        assert trial.most_lost == (0.05 if "0.1%" in trial.row else 0.03)


# files and the command


def test_images_are_written_so_that_the_program_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape, channels in (
        ("grey", (20, 30), 1),
        ("grey.1", (20, 30, 1), 1),
        ("colour", (20, 30, 3), 3),
        ("alpha", (20, 30, 4), 3),
        ("pair", (2, 20, 30), 3),
    ):
        pixels = rng.integers(1, 20, shape).astype(np.uint16 if name == "pair" else np.uint8)
        if name == "pair":
            # channels that show nothing are left out, and those that show the same are planes
            pixels[0, 3:9, 3:9] = 400
            pixels[1, 12:18, 15:25] = 120
        write_image(tmp_path, name, pixels)
        (path,) = tmp_path.glob(f"{name.replace('.', '_')}.*")
        read = read_image(path).pixels
        assert read.shape == (20, 30, channels)
        if name == "pair":
            np.testing.assert_array_equal(read[..., :2], np.moveaxis(pixels, 0, 2))
        else:
            np.testing.assert_array_equal(read, pixels.reshape(20, 30, -1)[..., :channels])
    write_image(tmp_path, "signed", np.full((20, 30), -9999, np.int16))
    assert tifffile.imread(tmp_path / "signed.tif").min() == -9999


def test_false_cells_are_counted_by_kind_and_nuclei_scored() -> None:
    _, truth = scene()
    fields = [Field("a", "JPEG", "dark"), Field("b", "dust", "dark"), Field("c", "nuclei", "weak", truth)]
    empty = np.zeros((1000, 1000), np.uint32)
    found = empty.copy()
    found[5, 5], found[9, 9] = 1, 2
    table, short = tabulate(fields, {"a": found, "b": empty, "c": truth}.__getitem__)
    lines = table.splitlines()
    assert "| all | 2 | 1 | 2 | 10.0 |" in lines
    assert "| JPEG | 1 | 1 | 2 | 20.0 |" in lines
    assert "| dust | 1 | 0 | 0 | 0.0 |" in lines
    assert "| weak | 1 | 1.000 | 1.000 |" in lines
    assert short == ["empty: 10.0 false cells per 10 megapixels (at most 1)"]
    _, short = tabulate(fields, {"a": empty, "b": empty, "c": truth * 0}.__getitem__)
    assert short == ["empty: weak nuclei at F1 0.000 (at least 0.95)"]


def test_a_field_depends_on_its_number_alone() -> None:
    few, many = list(draw_fields(2)), list(draw_fields(14))
    for (field, pixels), (same, again) in zip(few[:2], many[:2], strict=True):
        assert field.name == same.name
        np.testing.assert_array_equal(pixels, again)
    assert len({field.kind for field, _ in many}) == 14
    assert [field.look for field, _ in few[2:]] == ["weak", "strong"]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Let a program answer that finds nothing, and keep where it was run."""
    seen: dict[str, Path] = {}

    def answer(images: Path, output: Path) -> tuple[None, dict[str, Any]]:
        assert images.parent.name not in seen
        seen[images.parent.name] = images
        records = []
        output.mkdir()
        for path in sorted(images.iterdir()):
            height, width, _ = read_image(path).pixels.shape
            write_labels(output / f"{path.stem}_label.tiff", np.zeros((height, width), np.uint32))
            records.append({"image": path.name, "height": height, "width": width, "predicted_f1": 0.5})
        return None, {"images": records}

    monkeypatch.setattr(disturbances, "run_program", answer)
    return seen


def test_the_command_prints_tables_and_what_falls_short(
    program: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbed_scenes, "GLOW_KINDS", ("fluorescence_nuclei",))
    monkeypatch.setattr(disturbances, "score_trial", lambda trial, prediction: 0.5 if trial.reference else 0.9)
    assert main(["--only", "debris", "empty", "--quick", "--count", "1", "--keep", str(tmp_path / "kept")]) == 0
    assert program == {group: tmp_path / "kept" / group / "images" for group in ("empty", "debris")}
    lines = capsys.readouterr().out.splitlines()
    assert "| 40 times as bright, 2.0% | 1 | 0.900 | 0.500 | -0.400 | -0.1 | -0.400 | 0.50 | short |" in lines
    assert "| all | 1 | 0 | 0 | 0.0 |" in lines
    assert lines[-1].startswith("Short of the tolerance: empty: weak nuclei at F1 0.000 (at least 0.95); empty: strong")
    assert lines[-1].endswith("; debris: 40 times as bright, 2.0%.")


@pytest.mark.usefixtures("program")
def test_nothing_short_is_said_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbed_scenes, "GLOW_KINDS", ("fluorescence_nuclei",))
    monkeypatch.setattr(disturbances, "score_trial", lambda trial, prediction: 0.9)
    assert main(["--only", "debris", "--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing falls short of its tolerance."


def test_a_group_is_printed_before_the_next_is_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: dict[str, Path]
) -> None:
    monkeypatch.setattr(disturbed_scenes, "GLOW_KINDS", ("fluorescence_nuclei",))
    answer = disturbances.run_program

    def fail_later(images: Path, output: Path) -> Any:
        if program:
            raise RuntimeError("predict.py ended with exit code 1")
        return answer(images, output)

    monkeypatch.setattr(disturbances, "run_program", fail_later)
    assert main(["--only", "empty", "debris", "--quick", "--count", "1"]) == 2
    said = capsys.readouterr()
    assert "| all | 1 | 0 | 0 | 0.0 |" in said.out.splitlines()
    assert said.err == "python -m benchmarks.disturbances: predict.py ended with exit code 1\n"


def test_real_images_are_disturbed_too(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "val" / folder).mkdir(parents=True)
    lines = ["split,source,modality,image,label"]
    for name, split, kind in (
        ("a", "val", "phase_round"),
        ("b", "train", "phase_round"),
        ("c", "val", "fluorescence_layer"),
    ):
        modality = "phase-contrast" if kind == "phase_round" else "fluorescence"
        pixels, labels = draw_scene(kind, (120, 150), np.random.default_rng(0), diameter_px=14)
        lines.append(f"{split},{name},{modality},{name}.png,{name}_label.tiff")
        if split == "val":
            cv2.imwrite(str(tmp_path / "val" / "images" / f"{name}.png"), pixels)
            write_labels(tmp_path / "val" / "labels" / f"{name}_label.tiff", labels)
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    drawn = list(real_scenes.GROUPS["sparse"](tmp_path, Extent(covers=(0.01, 0.001))))
    check(drawn)
    # a layer has no background
    assert {trial.name.split("-")[2] for trial, _ in drawn} == {"a"}
    assert {trial.row for trial, _ in drawn} == {"", "real images, cover 1.0%", "real images, cover 0.1%"}
    drawn = list(real_scenes.GROUPS["casts"](tmp_path, Extent()))
    check(drawn)
    assert [trial.row for trial, _ in drawn][1:] == [f"real images, colour cast of {cast}%" for cast in (4, 8, 15)]


def test_what_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--count", "0"], ["--only", "rain"], ["--data", str(tmp_path)]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
    capsys.readouterr()
    assert main(["--only", "casts", "--keep", str(tmp_path)]) == 2
    assert "File exists" in capsys.readouterr().err

    def fail(images: Path, output: Path) -> None:
        raise RuntimeError("predict.py ended with exit code 1")

    monkeypatch.setattr(disturbances, "run_program", fail)
    assert main(["--only", "empty", "--count", "1"]) == 2
    assert capsys.readouterr().err == "python -m benchmarks.disturbances: predict.py ended with exit code 1\n"
