"""The command line on files that hold more than one picture: what is taken, what is said, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.postprocess.cells import CELL_FEATURES
from mosaicell.reading.images import read_labels
from predict import build_parser
from tests.stacks import (
    FOCUS,
    draw_focus_series,
    draw_noise,
    draw_noisy_discs,
    write_bilevel_palette,
    write_composite,
    write_imagej,
    write_inverting,
    write_ome,
    write_pages,
)
from tests.toys import draw_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent
NOISE = np.stack([draw_noise(seed) for seed in range(20)])
DISCS = draw_noisy_discs(3)
NAMES = ["CD8", "PanCK", "Ki67", "DAPI"]
OVERVIEW_FIRST, CHANNELS = "overview_first.tif", "channels.ome.tif"


def predict(place: Path, *options: object) -> tuple[int, str, dict[str, dict[str, Any]]]:
    """Segment `in` into `out`; returns the exit code, the log, and run.json's images by name."""
    command = [sys.executable, ROOT / "predict.py", "-i", place / "in", "-o", place / "out", "--report", "-v"]
    command += ["--weights", place / "weights", "--device", "cpu", "--threads", "1", *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr
    out = options[options.index("-o") + 1] if "-o" in options else place / "out"
    report = json.loads((Path(str(out)) / "run.json").read_text(encoding="utf-8"))
    return done.returncode, done.stderr, {image["image"]: image for image in report["images"]}


def cells(place: Path, name: str) -> int:
    return int(tifffile.imread(place / "out" / f"{Path(name).stem}_label.tiff").max())


def warnings(log: str, name: str) -> str:
    return "\n".join(line for line in log.splitlines() if line.startswith(f"WARNING: {name}: "))


def distrust_borders(weights: Path) -> None:
    """Make the judges find cells at the border unlikely."""
    path = weights / "quality.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    for kind in ("awf", "omnipose"):
        table[kind]["slopes"][CELL_FEATURES.index("at_border")] = -3.5
    path.write_text(json.dumps(table), encoding="utf-8")


def write_same_channels(folder: Path) -> list[str]:
    """Write the same three channels, of which the last shows cells, in every way there is; returns the names."""
    planes = np.stack([NOISE[0], NOISE[1], DISCS])
    write_pages(folder / "same_pages.tif", planes)
    write_imagej(folder / "same_imagej.tif", planes, "CYX")
    write_ome(folder / "same_ome.ome.tif", planes, ["A", "B", "C"])
    tifffile.imwrite(folder / "same_shaped.tif", planes, photometric="minisblack")
    tifffile.imwrite(folder / "same_apart.tif", planes, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(
        folder / "same_together.tif", planes.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig"
    )
    return sorted(path.name for path in folder.glob("same_*"))


def write_files(folder: Path) -> None:
    write_ome(folder / CHANNELS, np.stack([draw_noisy_discs(3, 1), NOISE[0], NOISE[1], draw_noisy_discs(3, 2)]), NAMES)
    write_imagej(folder / "stack.tif", draw_focus_series(), "ZYX")
    write_imagej(folder / "transmitted.tif", draw_focus_series(bright=False), "ZYX")
    write_imagej(folder / "mistagged.tif", draw_focus_series(), "CYX")
    write_pages(folder / "unnamed_stack.tif", draw_focus_series())
    times = np.zeros((2, 120, 180), np.uint8)
    times[0, :, :60], times[1] = draw_discs(1), draw_discs(3)
    write_imagej(folder / "times.tif", times, "TYX")
    with tifffile.TiffWriter(folder / OVERVIEW_FIRST) as writer:
        writer.write(np.dstack([DISCS[::4, ::4]] * 3), photometric="rgb", metadata=None)
        writer.write(DISCS, photometric="minisblack", metadata=None)
    write_same_channels(folder)
    frames = np.stack([draw_noisy_discs(3, seed) for seed in range(4)])
    tifffile.imwrite(folder / "frames.tif", frames, photometric="rgb", planarconfig="separate")
    write_pages(folder / "twenty.tif", np.concatenate([NOISE[:13], DISCS[None], NOISE[14:]]))
    write_composite(folder / "composite2.tif", np.stack([DISCS, NOISE[0]]))
    write_composite(folder / "composite4.tif", np.stack([DISCS, *NOISE[:3]]))
    write_bilevel_palette(folder / "bilevel.tif", DISCS > 80)
    write_inverting(folder / "inverting.tif", DISCS)
    tifffile.imwrite(folder / "inverting16.tif", DISCS.astype(np.uint16) * 100, photometric="miniswhite", metadata=None)
    wide = np.full((120, 180), 20, np.uint8)
    wide[:, :70] = 200
    write_imagej(folder / "judged.tif", np.stack([cv2.GaussianBlur(wide, (0, 0), 5), DISCS]), "CYX")
    spots = np.zeros((120, 180), np.uint8)
    for x in range(30, 180, 60):
        cv2.circle(spots, (x, 60), 4, 255, -1)
    write_imagej(folder / "spots.tif", np.stack([spots, DISCS]), "CYX")
    with tifffile.TiffFile(folder / CHANNELS) as tif:
        ome = tif.pages.first.description
    tifffile.imwrite(folder / "cut_ome.ome.tif", NOISE[:3], description=ome, metadata=None, photometric="minisblack")
    text = "ImageJ=1.53t\nimages=3\nchannels=3\n"
    tifffile.imwrite(folder / "cut_imagej.tif", NOISE[:2], description=text, metadata=None, photometric="minisblack")
    write_pages(folder / "cut_pages.tif", NOISE[:3])
    data = (folder / "cut_pages.tif").read_bytes()
    (folder / "cut_pages.tif").write_bytes(data[: len(data) * 3 // 5])
    assert cv2.imwrite(str(folder / "plain.png"), draw_discs(3))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with files in `in` and toy models in `weights`."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "in").mkdir()
    write_files(folder / "in")
    distrust_borders(write_weights(folder / "weights"))
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> tuple[int, str, dict[str, dict[str, Any]]]:
    """Segment every file by the defaults, once."""
    return predict(place)


Done = tuple[int, str, dict[str, dict[str, Any]]]


def test_of_many_channels_the_nuclear_one_is_taken(place: Path, done: Done) -> None:
    _, log, images = done
    assert images[CHANNELS]["taken"]["channels"] == [4]
    assert images[CHANNELS]["contents"]["channels"] == NAMES
    assert "nuclear" in images[CHANNELS]["why"]["channels"]
    assert "4 channels (1 CD8, 2 PanCK, 3 Ki67, 4 DAPI): DAPI is segmented" in warnings(log, CHANNELS)
    assert cells(place, CHANNELS) == 3


def test_channels_without_a_signal_are_never_taken(place: Path, done: Done) -> None:
    image = done[2]["twenty.tif"]
    assert image["taken"]["channels"] == [14]
    assert cells(place, "twenty.tif") == 3


def test_of_several_channels_the_one_with_the_higher_predicted_f1_is_taken(place: Path, done: Done) -> None:
    _, log, images = done
    assert images["judged.tif"]["taken"]["channels"] == [2]
    assert "with a predicted F1 of 0.9" in warnings(log, "judged.tif")
    assert cells(place, "judged.tif") == 3
    assert "channels" in images["judged.tif"]["seconds"]


def test_spots_in_the_cells_of_another_channel_are_no_cells(place: Path, done: Done) -> None:
    assert done[2]["spots.tif"]["taken"]["channels"] == [2]
    assert "(spots)" in warnings(done[1], "spots.tif")
    labels = read_labels(place / "out" / "spots_label.tiff")
    assert np.count_nonzero(labels) / labels.max() > 500


def test_a_fluorescence_stack_is_projected_and_the_sharpest_plane_of_transmitted_light_taken(
    place: Path, done: Done
) -> None:
    _, log, images = done
    assert images["stack.tif"]["taken"]["z"] == ["max"]
    assert images["stack.tif"]["contents"]["z"] == 9
    assert images["transmitted.tif"]["taken"]["z"] == [FOCUS]
    assert "9 planes: their maximum is segmented" in warnings(log, "stack.tif")
    assert f"9 planes: plane {FOCUS}, the sharpest, is segmented" in warnings(log, "transmitted.tif")
    assert cells(place, "stack.tif") == 3


@pytest.mark.parametrize("name", ["mistagged.tif", "unnamed_stack.tif"])
def test_alike_channels_and_pages_are_planes(place: Path, done: Done, name: str) -> None:
    assert done[2][name]["contents"]["z"] == 9
    assert done[2][name]["taken"]["z"] == ["max"]
    assert "taken for planes of a stack" in warnings(done[1], name)
    assert cells(place, name) == 3


def test_the_first_time_is_taken(place: Path, done: Done) -> None:
    assert (done[2]["times.tif"]["contents"]["t"], done[2]["times.tif"]["taken"]["t"]) == (2, [1])
    assert "2 times: the first is segmented" in warnings(done[1], "times.tif")
    assert cells(place, "times.tif") == 1


def test_grey_frames_are_no_colours(place: Path, done: Done) -> None:
    """As `tifffile.imwrite` stores four of them: as red, green, blue and alpha."""
    assert (done[2]["frames.tif"]["contents"]["t"], done[2]["frames.tif"]["taken"]["t"]) == (4, [1])
    assert cells(place, "frames.tif") == 3


def test_the_largest_scene_is_taken(place: Path, done: Done) -> None:
    image = done[2][OVERVIEW_FIRST]
    assert (image["height"], image["width"], image["taken"]["scene"]) == (120, 180, 2)
    assert [scene["width"] for scene in image["contents"]["scenes"]] == [45, 180]
    assert "2 scenes of 30 x 45 px, 120 x 180 px: number 2, the largest" in warnings(done[1], OVERVIEW_FIRST)
    assert cells(place, OVERVIEW_FIRST) == 3


def test_equal_pages_are_read_alike_whoever_wrote_them(place: Path, done: Done, tmp_path: Path) -> None:
    names = write_same_channels(tmp_path)
    masks = [read_labels(place / "out" / f"{Path(name).stem}_label.tiff") for name in names]
    assert masks[0].max() == 3
    for name, mask in zip(names, masks, strict=True):
        np.testing.assert_array_equal(mask, masks[0], err_msg=name)
        assert done[2][name]["taken"]["channels"] == [3]


@pytest.mark.parametrize(
    "name", ["composite2.tif", "composite4.tif", "bilevel.tif", "inverting.tif", "inverting16.tif"]
)
def test_tables_for_display_change_nothing(place: Path, done: Done, name: str) -> None:
    assert "error" not in done[2][name]
    assert done[2][name]["modality"] == "fluorescence"
    assert cells(place, name) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cut_ome.ome.tif", "is cut short: its OME description says 4 planes, the file holds 3"),
        ("cut_imagej.tif", "is cut short: its ImageJ description says 3 pages, the file holds 2"),
        ("cut_pages.tif", "is cut short: the TIFF has"),
    ],
)
def test_a_description_that_promises_more_than_there_is_is_refused(
    place: Path, done: Done, name: str, said: str
) -> None:
    status, log, images = done
    assert status == 1
    assert said in images[name]["error"]
    assert f"ERROR: {name}: {images[name]['error']}" in log
    assert not (place / "out" / f"{Path(name).stem}_label.tiff").exists()


def test_one_picture_needs_no_choice(done: Done) -> None:
    assert not warnings(done[1], "plain.png")
    assert (done[2]["plain.png"]["why"], done[2]["plain.png"]["taken"]["z"]) == ({}, [1])


def test_strict_refuses_every_choice(place: Path, done: Done) -> None:
    _, _, images = predict(place, "--strict", "-o", place / "strict")
    assert set(images) == set(done[2])
    for name, image in images.items():
        chosen = "error" not in done[2][name] and bool(done[2][name]["why"])
        assert ("--strict" in image.get("error", "")) == chosen, name
    assert "has 4 channels (1 CD8, 2 PanCK, 3 Ki67, 4 DAPI): say which with --channels" in images[CHANNELS]["error"]


def choose(place: Path, tmp_path: Path, names: list[str], *options: object) -> dict[str, dict[str, Any]]:
    """Segment some of the files into `out` of a folder of their own with options; returns run.json's images."""
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).symlink_to(place / "in" / name)
    (tmp_path / "weights").symlink_to(place / "weights")
    return predict(tmp_path, "--follow-links", *options)[2]


@pytest.mark.parametrize(
    ("asked", "taken"), [(["4"], [4]), (["dapi,CD8"], [4, 1]), (["1", "2", "4"], [1, 2, 4])], ids=str
)
def test_channels_by_number_and_by_name(place: Path, tmp_path: Path, asked: list[str], taken: list[int]) -> None:
    image = choose(place, tmp_path, [CHANNELS], "--channels", *asked, "--strict")[CHANNELS]
    assert image["taken"]["channels"] == taken
    assert image["why"] == {"channels": "asked for"}


def test_what_is_not_there_is_refused_with_what_is(place: Path, tmp_path: Path) -> None:
    images = choose(place, tmp_path, [CHANNELS, "stack.tif", "plain.png"], "--channels", "GFP")
    assert {name: image["error"] for name, image in images.items()} == {
        CHANNELS: "has no channel 'GFP': it has 4 channels (1 CD8, 2 PanCK, 3 Ki67, 4 DAPI) (--channels)",
        "stack.tif": "has no channel 'GFP': it has 1 channel (--channels)",
        "plain.png": "has no channel 'GFP': it has 1 channel (--channels)",
    }


@pytest.mark.parametrize(
    ("options", "errors"),
    [
        (
            ("--z", "10"),
            {
                "stack.tif": "has no plane 10: it has 1 time, 9 planes, 1 channel (--z)",
                "times.tif": "has no plane 10: it has 2 times, 1 plane, 1 channel (--z)",
            },
        ),
        (("--t", "3"), dict.fromkeys(["stack.tif", "times.tif"], "has no time 3: it has ")),
        (("--scene", "2"), dict.fromkeys(["stack.tif", "times.tif"], "has no scene 2: it has 1 scene of 120 x 180 px")),
    ],
    ids=str,
)
def test_planes_times_and_scenes_that_are_not_there_are_refused(
    place: Path, tmp_path: Path, options: tuple[str, ...], errors: dict[str, str]
) -> None:
    images = choose(place, tmp_path, ["stack.tif", "times.tif"], *options)
    for name, error in errors.items():
        assert images[name]["error"].startswith(error)


@pytest.mark.parametrize(
    ("option", "taken"), [("3", [3]), ("first", [1]), ("focus", [FOCUS]), ("max", ["max"]), ("mean", ["mean"])]
)
def test_a_plane_or_projection_is_asked_for(place: Path, tmp_path: Path, option: str, taken: list[Any]) -> None:
    images = choose(place, tmp_path, ["stack.tif", "unnamed_stack.tif"], "--z", option, "--strict")
    for image in images.values():
        assert (image["taken"]["z"], image["why"]) == (taken, {"z": "asked for"})


def test_all_planes_and_times_are_pages_of_one_mask(place: Path, tmp_path: Path) -> None:
    images = choose(place, tmp_path, ["stack.tif", "times.tif"], "--z", "all", "--t", "all", "--strict", "--overlay")
    masks = {name: tifffile.imread(tmp_path / "out" / f"{name}_label.tiff") for name in ("stack", "times")}
    assert (masks["stack"].shape, masks["times"].shape) == ((9, 120, 180), (2, 120, 180))
    assert [int(page.max()) for page in masks["times"]] == [1, 3]
    assert masks["stack"][FOCUS - 1].max() == 3
    pages = images["times.tif"]["pages"]
    assert [(page["t"], page["z"], page["cells"]) for page in pages] == [(1, 1, 1), (2, 1, 3)]
    assert [page["z"] for page in images["stack.tif"]["pages"]] == list(range(1, 10))
    assert images["times.tif"]["cells"] == sum(images["times.tif"]["cells_by_branch"].values()) == 4
    assert (tmp_path / "out" / "stack_overlay.png").exists()


def test_a_time_and_a_scene_are_asked_for(place: Path, tmp_path: Path) -> None:
    images = choose(place, tmp_path, ["times.tif", OVERVIEW_FIRST], "--t", "1", "--scene", "1", "--strict")
    assert (images[OVERVIEW_FIRST]["height"], images[OVERVIEW_FIRST]["width"]) == (30, 45)
    assert images["times.tif"]["taken"]["t"] == [1]


@pytest.mark.parametrize("wrong", [("--z", "0"), ("--z", "sharp"), ("--t", "first"), ("--scene", "all")], ids=str)
def test_wrong_choices_are_refused_before_the_work(wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args(["-i", "in", "-o", "out", *wrong])
    assert stop.value.code == 2
