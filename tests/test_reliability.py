"""The command line under what befalls it: kills, full disks, hostile files and names, odd environments."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.reading.images import read_image
from mosaicell.writing.masks import mask_name, read_labels
from tests.hostile import write_bombs, write_seeds
from tests.ngff_files import write_image
from tests.test_parts import start_writer
from tests.toys import draw_discs, write_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = str(ROOT / "predict.py")
MB = 1 << 20


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a folder with images in `in`, toy models in `weights`, and room for `out`."""
    write_weights(tmp_path / "weights")
    (tmp_path / "in").mkdir()
    write_discs(tmp_path / "in" / "a.png", 2)
    write_discs(tmp_path / "in" / "b.png", 3)
    return tmp_path


def command(place: Path, *options: object, source: Path | None = None) -> list[str]:
    """Return the command that segments `in`, or another folder or file, into `out` with the toy models."""
    fixed = ["-i", source or place / "in", "-o", place / "out", "--weights", place / "weights", "--device", "cpu"]
    return [sys.executable, PROGRAM, *map(str, fixed), "--threads", "1", *map(str, options)]


def predict(
    place: Path, *options: object, source: Path | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(place, *options, source=source),
        capture_output=True,
        text=True,
        timeout=300,
        errors="replace",
        check=False,
        **settings,
    )
    assert "Traceback" not in done.stderr
    return done


def results(place: Path) -> dict[str, int]:
    """Read every mask of `out`: name -> cells; nothing else may be there."""
    return {path.name: int(read_labels(path).max()) for path in sorted((place / "out").iterdir())}


def limited(limit: int, most: int) -> Callable[[], None]:
    """Return what sets a limit of a process before it starts."""
    return lambda: resource.setrlimit(limit, (most, most))


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory; skips the test without the right to."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


# kills


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_whole_files_and_the_next_run_the_rest(place: Path) -> None:
    for index in range(20):
        write_discs(place / "in" / f"n{index}.png", 2)
    images = sorted(path.name for path in (place / "in").iterdir())
    (place / "out").mkdir()
    for delay_s in (0.3, 0.5, 0.55, 0.6, 0.65, 0.7):
        process = subprocess.Popen(command(place, "--skip-existing", "--overlay"), stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        process.kill()
        process.wait()
        for path in (place / "out").glob("[!.]*"):
            assert read_image(path).pixels.max() > 0
    assert predict(place, "--skip-existing").returncode == 0
    assert {path.name for path in (place / "out").glob("*_label.tiff")} == {mask_name(name) for name in images}
    assert not list((place / "out").glob(".*"))


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(place: Path) -> None:
    (place / "out").mkdir()
    dead, living = (start_writer(place / "out") for _ in range(2))
    dead.kill()
    dead.communicate()
    assert len(list((place / "out").iterdir())) == 2
    done = predict(place)
    assert done.returncode == 0
    assert "left behind by a run that was killed" in done.stderr
    (part,) = (place / "out").glob(".*")
    living.kill()
    living.communicate()
    assert predict(place, "--skip-existing").returncode == 0
    assert not part.exists()
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_stop_during_an_image_leaves_nothing(place: Path, number: signal.Signals, code: int) -> None:
    """Ends the run while it segments a large image."""
    for path in (place / "in").iterdir():
        path.unlink()
    assert cv2.imwrite(str(place / "in" / "large.png"), draw_discs(100, 60))
    process = subprocess.Popen(command(place), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "INFO: 1 images, cpu, 1 threads\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.startswith("predict.py: ")
    assert not list((place / "out").iterdir())


# disks


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(place: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    assert cv2.imwrite(str(place / "in" / "a_large.png"), noise)
    with mounted(place / "out", "size=96k"):
        done = predict(place, "--overlay", "--report")
        assert done.returncode == 1
        assert "ERROR: a_large.png: its mask cannot be written: No space left on device" in done.stderr
        names = {path.name for path in (place / "out").iterdir()}
        assert names == {"a_label.tiff", "a_overlay.png", "b_label.tiff", "b_overlay.png", "run.json"}


def test_a_disk_that_is_full_from_the_start(place: Path) -> None:
    with mounted(place / "out", "size=64k"):
        assert predict(place).returncode == 0
        with contextlib.suppress(OSError):
            (place / "out" / "filler").write_bytes(bytes(64 << 10))
        done = predict(place, "--skip-existing", "--report")
        assert done.returncode == 1
        assert "run.json could not be written: No space left on device" in done.stderr
        assert {path.name for path in (place / "out").iterdir()} == {"a_label.tiff", "b_label.tiff", "filler"}
        # an earlier mask is no answer for an image that failed now, and makes room for the next one
        done = predict(place)
        assert done.returncode == 1
        assert "ERROR: a.png: its mask cannot be written: No space left on device" in done.stderr
        assert {path.name for path in (place / "out").iterdir()} == {"b_label.tiff", "filler"}


def test_a_limit_of_file_sizes_is_a_sentence(place: Path) -> None:
    done = predict(place, preexec_fn=limited(resource.RLIMIT_FSIZE, 300))
    assert done.returncode == 1
    assert "a.png: its mask cannot be written: File too large" in done.stderr
    assert not list((place / "out").iterdir())


def test_a_read_only_output_stops_the_run_before_the_work(place: Path) -> None:
    with mounted(place / "out", "ro"):
        done = predict(place)
    assert done.returncode == 2
    assert "cannot be written: Read-only file system" in done.stderr


def test_output_folders(place: Path) -> None:
    assert predict(place, "-o", place / "new" / "nested").returncode == 0
    assert len(list((place / "new" / "nested").iterdir())) == 2
    done = predict(place, "-o", place / "in" / "a.png")
    assert (done.returncode, "cannot be made: File exists" in done.stderr) == (2, True)


def test_an_empty_input_is_no_failure_and_a_missing_one_is(place: Path) -> None:
    (place / "empty").mkdir()
    done = predict(place, source=place / "empty")
    assert (done.returncode, "holds no image" in done.stderr) == (0, True)
    done = predict(place, source=place / "missing")
    assert (done.returncode, "does not exist" in done.stderr) == (2, True)


def test_a_card_without_an_entry_stops_the_run_before_the_work(place: Path) -> None:
    manifest = place / "weights" / "manifest.json"
    cards = json.loads(manifest.read_text())
    del cards["omnipose-grey"]["decoder"]["min_cell_px"]
    manifest.write_text(json.dumps(cards))
    for options in ((), ("--check",), ("--version", "-v")):
        done = predict(place, *options)
        assert done.returncode == 2
        assert "the card of the model 'omnipose-grey' has no entry decoder.min_cell_px" in done.stderr


def test_a_failed_image_loses_the_mask_of_an_earlier_run(place: Path) -> None:
    assert predict(place, "--overlay").returncode == 0
    (place / "in" / "a.png").write_text("no longer an image")
    done = predict(place)
    assert done.returncode == 1
    assert "WARNING: a.png: a_label.tiff of an earlier run is removed" in done.stderr
    assert {path.name for path in (place / "out").iterdir()} == {"b_label.tiff", "b_overlay.png"}


def test_a_link_in_the_output_is_replaced(place: Path) -> None:
    (place / "out").mkdir()
    (place / "precious").write_text("precious")
    (place / "out" / "a_label.tiff").symlink_to(place / "precious")
    assert predict(place).returncode == 0
    assert (place / "precious").read_text() == "precious"
    assert not (place / "out" / "a_label.tiff").is_symlink()
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


# names


def write_plate(place: Path) -> None:
    """Replace the images by two of one plate and a damaged one, whose names differ after their first dot."""
    shutil.rmtree(place / "in")
    (place / "in").mkdir()
    for number in (1, 2):
        write_discs(place / "in" / f"plate1.wellA{number}.png", number)
    data = (place / "in" / "plate1.wellA1.png").read_bytes()
    (place / "in" / "plate1.wellA3.png").write_bytes(data[: len(data) // 2])


def test_names_that_differ_after_the_first_dot_have_masks_of_their_own(place: Path) -> None:
    write_plate(place)
    done = predict(place)
    assert done.returncode == 1
    assert "ERROR: plate1.wellA3.png: is cut short" in done.stderr
    assert results(place) == {"plate1.wellA1_label.tiff": 1, "plate1.wellA2_label.tiff": 2}
    for number, code in ((3, 1), (2, 0), (1, 0)):
        done = predict(place, "--skip-existing", source=place / "in" / f"plate1.wellA{number}.png")
        assert (done.returncode, " 1 skipped" in done.stderr) == (code, code == 0)
    assert results(place) == {"plate1.wellA1_label.tiff": 1, "plate1.wellA2_label.tiff": 2}


@pytest.mark.parametrize("skip", [(), ("--skip-existing",)], ids=["again", "skip"])
def test_no_run_replaces_skips_for_or_removes_the_mask_of_another_image(place: Path, skip: tuple[str, ...]) -> None:
    """One image a run, with the challenge's names: the second is refused, and the damaged third removes nothing."""
    write_plate(place)
    images = [place / "in" / f"plate1.wellA{number}.png" for number in (1, 2, 3)]
    assert predict(place, "--names", "challenge", source=images[0]).returncode == 0
    mask = (place / "out" / "plate1_label.tiff").read_bytes()
    for image in images[1:]:
        done = predict(place, "--names", "challenge", *skip, source=image)
        assert done.returncode == 1
        said = f"{image.name}: not segmented: plate1_label.tiff is the mask of plate1.wellA1.png; take --names full"
        assert said in done.stderr
    assert (place / "out" / "plate1_label.tiff").read_bytes() == mask
    done = predict(place, "--names", "challenge", *skip)
    assert done.returncode == 1
    assert "plate1.wellA2.png: its mask would have the name of plate1.wellA1.png's" in done.stderr
    assert results(place) == {"plate1_label.tiff": 1}


def test_a_file_of_the_same_name_in_another_folder_is_another(place: Path) -> None:
    (place / "more").mkdir()
    write_discs(place / "more" / "a.png", 5)
    assert predict(place).returncode == 0
    for options in ((), ("--skip-existing",)):
        done = predict(place, *options, source=place / "more")
        assert done.returncode == 1
        assert "a.png: not segmented: a_label.tiff is the mask of another file of this name" in done.stderr
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}
    # a file that has changed where it is, is the same file
    write_discs(place / "in" / "a.png", 4)
    assert predict(place, "--skip-existing").returncode == 0
    assert results(place) == {"a_label.tiff": 4, "b_label.tiff": 3}


def test_own_results_beside_images_are_left_out(place: Path) -> None:
    assert predict(place, "--overlay").returncode == 0
    for path in (place / "out").iterdir():
        shutil.move(path, place / "in")
    done = predict(place, "-o", place / "out2")
    assert done.returncode == 0
    assert "a_overlay.png: a mask or overlay beside its image, left out" in done.stderr
    assert {path.name for path in (place / "out2").iterdir()} == {"a_label.tiff", "b_label.tiff"}


# inputs and masks


def masks(place: Path) -> dict[str, int]:
    """Read every mask of `out` and its sub-folders: path -> cells."""
    paths = sorted((place / "out").rglob("*_label.tiff"))
    return {str(path.relative_to(place / "out")): int(read_labels(path).max()) for path in paths}


def test_several_inputs_sub_folders_and_patterns(place: Path) -> None:
    for name, cells in (("in/x/a.png", 1), ("in/x/y/c.png", 4), ("in/.hidden/d.png", 5), ("more/e.png", 5)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        write_discs(place / name, cells)
    shared = ["--weights", place / "weights", "--device", "cpu", "--threads", "1", "--report"]
    program = [sys.executable, PROGRAM]
    # the output lies in the input
    out = place / "in" / "x" / "out"
    named = [place / "in", "--recursive", "--output", out, *shared, place / "more" / "e.png", "--include", "[abc].*"]
    for _ in range(2):
        done = subprocess.run([*program, *map(str, named)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert " 5 images done " in done.stderr
    out.rename(place / "out")
    expected = {"a_label.tiff": 2, "b_label.tiff": 3, "e_label.tiff": 5, "x/a_label.tiff": 1, "x/y/c_label.tiff": 4}
    assert masks(place) == expected
    report = json.loads((place / "out" / "run.json").read_text())
    assert {image["image"]: image["mask"] for image in report["images"]} == {
        name.replace("_label.tiff", ".png"): name for name in expected
    }
    shutil.rmtree(place / "out")
    named = ["--input", place / "more", place / "in" / "a.png", "--output", place / "out", *shared]
    assert subprocess.run([*program, *map(str, named)], capture_output=True, check=False).returncode == 0
    assert masks(place) == {"a_label.tiff": 2, "e_label.tiff": 5}


def test_files_of_one_name_in_two_inputs_are_not_mixed_up(place: Path) -> None:
    (place / "more").mkdir()
    write_discs(place / "more" / "a.png", 5)
    done = predict(place, "-i", place / "more")
    assert done.returncode == 1
    assert f"a.png: its mask would have the name of {place / 'in' / 'a.png'}'s, a_label.tiff" in done.stderr
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


@pytest.mark.parametrize("what", ["text", "folder", "pattern"])
def test_files_of_which_none_is_segmented_are_a_failure(place: Path, what: str) -> None:
    options: list[str] = []
    if what == "pattern":
        options = ["--include", "*.tif"]
    else:
        for path in (place / "in").iterdir():
            path.unlink()
        (place / "in" / "notes.txt").touch() if what == "text" else (place / "in" / "sub").mkdir()
    done = predict(place, *options)
    assert done.returncode == 1
    assert "ERROR: nothing is segmented: " in done.stderr
    assert masks(place) == {}


def test_a_sub_folder_that_becomes_a_link_during_the_run_is_not_followed(place: Path) -> None:
    for path in (place / "in").iterdir():
        path.unlink()
    assert cv2.imwrite(str(place / "in" / "a.png"), draw_discs(30, 5))
    for name in ("in/sub", "elsewhere"):
        (place / name).mkdir()
        write_discs(place / name / "b.png", 5)
    process = subprocess.Popen(command(place, "--recursive"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "INFO: 2 images, cpu, 1 threads\n"
    (place / "in" / "sub").rename(place / "moved")
    (place / "in" / "sub").symlink_to(place / "elsewhere")
    _, errors = process.communicate(timeout=300)
    assert "ERROR: sub/b.png: is a link that leads out of the input folder" in errors
    assert process.returncode == 1
    assert masks(place) == {"a_label.tiff": 150}


def test_tiff_of_any_suffix_gets_a_mask_with_its_pixel_size(place: Path) -> None:
    """0.5 um in each of the ways to say so; a slide of tiles, which is read by region, is among them."""
    for path in (place / "in").iterdir():
        path.unlink()
    pixels = draw_discs(2)
    tags: dict[str, Any] = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(place / "in" / "tags.svs", pixels, tile=(64, 64), **tags)
    tifffile.imwrite(place / "in" / "imagej.stk", pixels, imagej=True, resolution=(2, 2), metadata={"unit": "um"})
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 500.0, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(place / "in" / "ome.ndpi", pixels, ome=True, metadata=sizes)
    tifffile.imwrite(place / "in" / "none", pixels)
    for options, dtype in (((), "uint16"), (("--mask-dtype", "uint32"), "uint32")):
        assert predict(place, *options).returncode == 0
        assert results(place) == {f"{name}_label.tiff": 2 for name in ("imagej", "none", "ome", "tags")}
        for path in (place / "out").iterdir():
            with tifffile.TiffFile(path) as tif:
                (page,) = tif.pages
                assert page.dtype == dtype
                expected = (1, 1) if path.name.startswith("none") else (20000, 20000)
                assert page.resolution == expected
                assert page.resolutionunit == (1 if path.name.startswith("none") else 3)


# many files, many runs


@pytest.mark.slow
def test_ten_thousand_files_need_no_more_than_a_few(place: Path) -> None:
    """Most are done or no images; open files are limited, and memory is compared with that of two images."""
    few = _peak_bytes(predict_in_limits(place))
    (place / "in" / "broken.png").write_text("no image")
    for index in range(5000):
        (place / "in" / f"done{index}.png").touch()
        (place / "out" / f"done{index}_label.tiff").write_text("done")
        (place / "in" / f"note{index}.txt").touch()
    process = predict_in_limits(place)
    many = _peak_bytes(process)
    report = json.loads((place / "out" / "run.json").read_text())
    assert sum("skipped" in image for image in report["images"]) == 5002
    assert many - few < 40 * MB


def predict_in_limits(place: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(place, "--skip-existing", "--report"),
        stderr=subprocess.DEVNULL,
        preexec_fn=limited(resource.RLIMIT_NOFILE, 40),
    )


def _peak_bytes(process: subprocess.Popen[bytes]) -> int:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1)
    return usage.ru_maxrss << 10


@pytest.mark.parametrize("skip", [False, True])
def test_two_runs_into_one_folder(place: Path, skip: bool) -> None:
    for index in range(10):
        write_discs(place / "in" / f"n{index}.png", 1)
    options = ["--report", *(["--skip-existing"] if skip else [])]
    runs = [subprocess.Popen(command(place, *options), stderr=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        _, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
    report = json.loads((place / "out" / "run.json").read_text())
    assert len(report["images"]) == 12
    (place / "out" / "run.json").unlink()
    expected = {f"n{index}_label.tiff": 1 for index in range(10)} | {"a_label.tiff": 2, "b_label.tiff": 3}
    assert results(place) == expected


# hostile files


@pytest.mark.slow
def test_small_files_that_ask_for_gigabytes_or_hours_are_bounded(tmp_path: Path) -> None:
    """Each is read or refused; within 4 GB of addresses, and none grows the process by more than 600 MB."""
    write_bombs(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile", "bombs", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {name: rest for name, *rest in (line.split("\t") for line in done.stdout.splitlines())}
    assert set(rows) == {path.name for path in tmp_path.iterdir()}
    assert {name for name, (_, grown, _) in rows.items() if int(grown) > 600} == set()
    read = {name for name, (_, _, said) in rows.items() if said.startswith("read")}
    # what decodes to more than is needed, but to no more than is harmless
    assert read == {
        "text.png",
        "profile.png",
        "international.png",
        "described_entities.tif",
        "nested.tif",
        "strip_jpeg.tif",
        "strip_lerc.tif",
        "strip_lzma.tif",
    }


@pytest.mark.slow
def test_changed_bytes_never_end_the_program(tmp_path: Path) -> None:
    """Files with a few bytes changed are read or refused: no crash, no other error, no warning, no endless loop."""
    (tmp_path / "seeds").mkdir()
    write_seeds(tmp_path / "seeds")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.hostile", "changed", str(tmp_path / "seeds"), "500"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'read': 1" in done.stdout
    assert "'refused': 3" in done.stdout


def test_an_ome_zarr_that_is_not_what_it_says_is_a_sentence(place: Path) -> None:
    folder = place / "in"
    for name in ("good", "pickled", "elsewhere", "huge", "split"):
        write_image(folder / f"{name}.zarr", draw_discs(2), "yx", "0.4", side_px=120, compressors=None)
    for name, change in (
        ("pickled", {"filters": [{"id": "pickle"}]}),
        ("huge", {"shape": [400_000, 400_000]}),
        ("split", {"chunks": [1, 10**11]}),
    ):
        said = folder / f"{name}.zarr" / "0" / ".zarray"
        said.write_text(json.dumps({**json.loads(said.read_text()), **change}))
    chunk = folder / "elsewhere.zarr" / "0" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to("/etc/hostname")
    (folder / "none.zarr").mkdir()
    done = predict(place)
    assert done.returncode == 1
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3, "good_label.tiff": 2}
    for sentence in (
        "pickled.zarr: is compressed by 'pickle'",
        "elsewhere.zarr: is a link that leads out of the input folder",
        "huge.zarr: is divided into 11,115,556 chunks",
        "split.zarr: has chunks of 100.0 GB",
        "none.zarr: is no image",
    ):
        assert f"ERROR: {sentence}" in done.stderr


def test_an_image_beyond_the_limit_of_pixels(place: Path) -> None:
    done = predict(place, "--max-megapixels", "0.02")
    assert done.returncode == 1
    assert "b.png: has 120 x 180 pixels; allowed are 20,000 in all" in done.stderr
    assert results(place) == {"a_label.tiff": 2}


def test_an_image_beyond_the_memory_is_refused_and_the_rest_is_done(place: Path) -> None:
    assert cv2.imwrite(str(place / "in" / "c.png"), draw_discs(60, 32))
    done = predict(place, preexec_fn=limited(resource.RLIMIT_DATA, 900 * MB))
    assert done.returncode == 1
    assert "ERROR: c.png: needs about 1.2 GB of memory, 0." in done.stderr
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


def test_what_is_no_file_is_refused(place: Path) -> None:
    os.mkfifo(place / "in" / "pipe.png")
    (place / "in" / "zero.png").symlink_to("/dev/zero")
    (place / "in" / "status.png").symlink_to("/proc/self/status")
    done = predict(place, "--follow-links")
    assert done.returncode == 1
    assert "pipe.png: is not a regular file" in done.stderr
    assert "zero.png: is not a regular file" in done.stderr
    assert "status.png: is no image" in done.stderr
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


def test_links_out_of_the_folder_need_permission(place: Path) -> None:
    write_discs(place / "outside.png", 4)
    (place / "in" / "link.png").symlink_to(place / "outside.png")
    (place / "in" / "own.png").symlink_to("a.png")
    done = predict(place)
    assert done.returncode == 1
    assert "ERROR: link.png: is a link that leads out of the input folder; --follow-links" in done.stderr
    assert "link_label.tiff" not in results(place)
    assert predict(place, "--follow-links").returncode == 0
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3, "link_label.tiff": 4, "own_label.tiff": 2}


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_out_of_the_folder_that_come_during_the_run_need_permission_too(place: Path, what: str) -> None:
    """They come after the folder was listed, while a large image that is read first is segmented."""
    assert cv2.imwrite(str(place / "in" / "a.png"), draw_discs(30, 5))
    (place / "elsewhere").mkdir()
    write_discs(place / "elsewhere" / "b.png", 5)
    process = subprocess.Popen(command(place), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "INFO: 2 images, cpu, 1 threads\n"
    if what == "file":
        (place / "in" / "b.png").unlink()
        (place / "in" / "b.png").symlink_to(place / "elsewhere" / "b.png")
    else:
        (place / "in").rename(place / "moved")
        (place / "in").symlink_to(place / "elsewhere")
    _, errors = process.communicate(timeout=300)
    assert ("b.png: is a link that leads out of the input folder" in errors) is (what == "file")
    assert process.returncode == (1 if what == "file" else 0)
    assert results(place) == {"a_label.tiff": 150} | ({} if what == "file" else {"b_label.tiff": 3})


# names and environments

NAMES = [
    b"line\nERROR: fake.png: failed.png",
    b"-o.png",
    b"--help.png",
    b"\x1b[31mred\x07.png",
    b"\xff\xfe not utf-8.png",
    "µ細胞.png".encode(),
    b"y" * 243 + b".png",
    b"y" * 251 + b".png",
]
#: no locale, and one of ASCII without Python's own remedies
LOCALES = [{}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]


@pytest.mark.parametrize("environment", LOCALES, ids=lambda settings: settings.get("LC_ALL", "none"))
def test_names_of_any_bytes(place: Path, environment: dict[str, str]) -> None:
    source = (place / "in" / "a.png").read_bytes()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(place / "in") + b"/" + name)).write_bytes(source)
    done = predict(place, "--overlay", "--report", env=environment)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith(("INFO: ", "WARNING: ", "ERROR: "))] == []
    assert [line for line in lines if line.startswith("ERROR: ")] == [
        f"ERROR: {'y' * 251}.png: the name of a result would have 263 bytes; allowed are 255: rename it"
    ]
    assert "\x1b" not in done.stderr
    assert r"INFO: line\nERROR: fake.png: failed.png: fluorescence" in done.stderr
    masks = {name.removesuffix(b".png") + b"_label.tiff" for name in [*NAMES[:-1], b"a", b"b"]}
    assert {os.fsencode(path.name) for path in (place / "out").glob("*_label.tiff")} == masks
    report = json.loads((place / "out" / "run.json").read_text(encoding="ascii"))
    assert len(report["images"]) == len(NAMES) + 2


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"},
        {"OMP_NUM_THREADS": "0"},
        {"OMP_NUM_THREADS": "abc", "OPENBLAS_NUM_THREADS": "abc", "MKL_NUM_THREADS": "-1"},
        {"LANG": "xx_XX.nothing", "TZ": "Nowhere/Else", "PYTHONDONTWRITEBYTECODE": "1"},
        {"PATH": ""},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_odd_environments(place: Path, environment: dict[str, str]) -> None:
    assert predict(place, "--report", env=environment).returncode == 0
    (place / "out" / "run.json").unlink()
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


def test_nothing_is_written_but_the_output(place: Path) -> None:
    """Neither in the home folder, which libraries like for caches, nor where it is started."""
    (place / "home").mkdir()
    environment = {"HOME": str(place / "home"), "TMPDIR": str(place / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = predict(place, "--overlay", "--report", cwd=place / "home", env=environment)
    assert done.returncode == 0
    assert not list((place / "home").iterdir())
    assert {path.name for path in place.iterdir()} == {"home", "in", "out", "weights"}


def test_a_user_without_a_name_in_a_folder_that_cannot_be_written(place: Path) -> None:
    (place / "elsewhere").mkdir(mode=0o555)
    alone = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    done = subprocess.run(
        [*alone, *command(place)], capture_output=True, text=True, cwd=place / "elsewhere", env={}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


@pytest.mark.parametrize("shell", ["2>&1 | head -n 1", "2>&1 | true", "<&- >&- 2>&-", "2>/dev/full"])
def test_nobody_has_to_listen(place: Path, shell: str) -> None:
    script = f'set -o pipefail; "$@" -v {shell}'
    done = subprocess.run(["bash", "-c", script, "bash", *command(place)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}
