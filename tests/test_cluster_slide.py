"""One slide split over workers: the labels, to the last id, that one process gives, whatever befalls a worker."""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr

from mosaicell.answers import slide
from mosaicell.cluster import main
from mosaicell.reading.ngff import holds_labels_alone
from mosaicell.runs import slide_division
from mosaicell.runs.origin import read_origin
from mosaicell.segmenter import Result, Segmenter
from tests.ngff_files import write_image
from tests.toys import write_judges, write_weights

pytestmark = pytest.mark.consumers
cluster_slide = pytest.importorskip("mosaicell.runs.cluster_slide", reason="no Dask")

ROOT = Path(__file__).resolve().parent.parent
SHAPE_PX = (2800, 3000)
#: a cluster of two workers. One that finds the file of its argument removes it, and dies in the middle of the work
CLUSTER = """
import os, signal, sys
from pathlib import Path
from distributed import Client, LocalCluster, WorkerPlugin

class Deadly(WorkerPlugin):
    def setup(self, worker):
        from mosaicell.runs.slide_blocks import BlockFiles
        do = BlockFiles.write
        def write(files, number, *arguments):
            done = do(files, number, *arguments)
            if number % 3 == 2:
                try:
                    Path(sys.argv[1]).unlink()
                    # what it was writing when it died
                    (files.folder / "0123").write_bytes(b"half")
                    os.kill(os.getpid(), signal.SIGKILL)
                except FileNotFoundError:
                    pass
            return done
        BlockFiles.write = write
        sys.argv[1:] = [os.environ["DEADLY"]]

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster:
        with Client(cluster) as client:
            client.register_plugin(Deadly())
            print(cluster.scheduler_address, flush=True)
            input()
"""


def draw_slide() -> np.ndarray:
    """Draw discs on black, with a wide empty part."""
    rng = np.random.default_rng(3)
    image = np.zeros(SHAPE_PX, np.uint8)
    for _ in range(2000):
        y, x = rng.integers(0, SHAPE_PX[0]), rng.integers(0, SHAPE_PX[1])
        radius, brightness = int(rng.integers(6, 18)), int(rng.integers(120, 255))
        if not (900 < y < 2000 and x < 1500):
            cv2.circle(image, (int(x), int(y)), radius, brightness, -1)
    return image


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide a slide of 8 megapixels as one of gigapixels is; workers are told how."""
    monkeypatch.setattr(slide, "CORE_PX", (700, 500))
    monkeypatch.setattr(slide, "STRIP_PX", 1600)
    monkeypatch.setattr(slide_division, "ROWS_PX", 2_500_000)
    monkeypatch.setattr(cluster_slide, "SIDE_PX", 1024)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a slide in `in`, whose empty chunks are absent, and toy models in `weights`."""
    folder = tmp_path_factory.mktemp("giant")
    write_weights(folder / "weights")
    (folder / "in").mkdir()
    write_image(folder / "in" / "slide.ome.zarr", draw_slide(), "yx", side_px=256, fill_value=0)
    chunks = [path for path in (folder / "in" / "slide.ome.zarr" / "0").rglob("*") if path.is_file()]
    assert len(chunks) < 0.9 * 11 * 12
    return folder


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[str]:
    """Start a cluster; gives the address of its scheduler."""
    environment = {**os.environ, "DEADLY": str(place / "deadly"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("\n", timeout=60)


@pytest.fixture(scope="module")
def whole(place: Path) -> Result:
    """Segment the slide in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slide, "CORE_PX", (700, 500))
        patch.setattr(slide, "STRIP_PX", 1600)
        return Segmenter(weights=place / "weights", device="cpu", threads=1).segment(draw_slide(), pixel_um=(0.5, 0.5))


def perform(place: Path, cluster: str, out: str, *options: object) -> int:
    given = ["-i", place / "in", "-o", place / out, "--weights", place / "weights", "--device", "cpu", "--threads", 1]
    return main([*map(str, [*given, "--scheduler", cluster, "--split-above", 8, "--report", *options])])


def read_level(place: Path, out: str, level: int = 0) -> np.ndarray:
    path = place / out / "slide.ome.zarr" / "labels" / "mosaicell" / str(level)
    return np.asarray(zarr.open_array(path, mode="r"))


def read_record(place: Path, out: str) -> dict[str, object]:
    (record,) = json.loads((place / out / "run.json").read_text(encoding="utf-8"))["images"]
    assert isinstance(record, dict)
    return record


@pytest.mark.slow
def test_workers_give_the_labels_of_one_process(place: Path, cluster: str, whole: Result) -> None:
    assert perform(place, cluster, "out", "--table") == 0
    assert np.array_equal(read_level(place, "out"), whole.labels)
    assert 500 < whole.labels.max() == len(np.unique(whole.labels)) - 1
    for level in (1, 2, 3):
        assert np.array_equal(read_level(place, "out", level), whole.labels[:: 2**level, :: 2**level])
    folder = place / "out" / "slide.ome.zarr"
    assert holds_labels_alone(folder)
    assert sorted(path.name for path in folder.iterdir()) == [".zattrs", ".zgroup", "labels"]
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "run.json",
        "slide.ome.zarr",
        "slide.ome_cells.csv",
    ]
    origin = read_origin(folder)
    assert origin is not None
    record = read_record(place, "out")
    assert (record["cells"], record["mask"]) == (len(whole), "slide.ome.zarr")
    assert record["cells_by_branch"] == whole.cells_by_model
    assert (record["digest"], record["settings"]) == (origin.digest, origin.settings)
    assert whole.predicted_f1 is not None
    assert record["predicted_f1"] == round(whole.predicted_f1, 4)
    whole.write_table(place / "whole.csv")
    tables = [
        list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        for path in (place / "whole.csv", place / "out" / "slide.ome_cells.csv")
    ]
    assert len(tables[0]) == len(tables[1]) == len(whole)
    for one, two in zip(*tables, strict=True):
        assert list(one) == list(two)
        for name in one:
            if name == "branch":
                assert one[name] == two[name]
            else:
                assert float(one[name]) == pytest.approx(float(two[name]), rel=1e-6), name


@pytest.mark.slow
def test_a_worker_that_dies_loses_and_doubles_nothing(place: Path, cluster: str, whole: Result) -> None:
    (place / "deadly").touch()
    assert perform(place, cluster, "killed", "--ome-zarr-version", "0.5") == 0
    assert not (place / "deadly").exists()
    assert np.array_equal(read_level(place, "killed"), whole.labels)
    assert sorted(path.name for path in (place / "killed").iterdir()) == ["run.json", "slide.ome.zarr"]
    assert sorted(path.name for path in (place / "killed" / "slide.ome.zarr").iterdir()) == ["labels", "zarr.json"]


@pytest.mark.slow
def test_cells_are_left_out_as_in_one_process(place: Path, cluster: str) -> None:
    assert perform(place, cluster, "some", "--min-area", 300, "--max-area", 900, "--exclude-edges", "--table") == 0
    segmenter = Segmenter(weights=place / "weights", device="cpu", threads=1)
    some = segmenter.segment(draw_slide(), min_area_px=300, max_area_px=900, exclude_edges=True)
    assert np.array_equal(read_level(place, "some"), some.labels)
    assert read_record(place, "some")["cells"] == some.labels.max() == len(some)
    # those that nobody wants have no row
    assert len((place / "some" / "slide.ome_cells.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(some)


@pytest.mark.slow
def test_what_is_done_is_skipped_and_what_fails_has_no_mask(
    place: Path, cluster: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert perform(place, cluster, "again") == 0
    made = (place / "again" / "slide.ome.zarr").stat()
    assert perform(place, cluster, "again", "--skip-existing") == 0
    assert "slide.ome.zarr: skipped, slide.ome.zarr exists" in caplog.messages
    assert (place / "again" / "slide.ome.zarr").stat() == made
    assert read_record(place, "again")["skipped"]
    # with another option it is outdated; what fails then removes it
    assert perform(place, cluster, "again", "--skip-existing", "--min-area", 5, "--max-megapixels", 8.2) == 1
    assert "slide.ome.zarr: again: its mask is of other content, options or weights" in caplog.text
    assert "allowed are 8,200,000 in all (--max-megapixels)" in caplog.text
    assert [path.name for path in (place / "again").iterdir()] == ["run.json"]


@pytest.mark.slow
def test_a_hopeless_answer_is_empty(place: Path, cluster: str) -> None:
    write_judges(place / "weights", image_offset=-9.0)
    try:
        assert perform(place, cluster, "empty", "--table") == 0
    finally:
        write_judges(place / "weights")
    assert not read_level(place, "empty").any()
    record = read_record(place, "empty")
    assert (record["cells"], record["doubtful"]) == (0, True)
    (header,) = (place / "empty" / "slide.ome_cells.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("label,area_px,")
    assert header.endswith("mean_channel_1,min_channel_1,max_channel_1,std_channel_1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--overlay", "--rois"], "no --overlay and no --rois"),
        (["--expand", 3], "no --expand"),
        (["--blood", "white"], "no --blood white"),
        (["--mask-format", "ome-tiff"], "no --mask-format ome-tiff"),
    ],
)
def test_what_a_split_slide_cannot_have_is_said_before_the_work(
    options: list[object], said: str, place: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perform(place, cluster, "refused", *options) == 2
    error = capsys.readouterr().err
    assert f"slide.ome.zarr is split over the workers, for which there is {said}: leave that out" in error


def test_only_a_slide_can_be_split(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        perform(place, "", "refused", "--split-above", 7)
    assert "'7' is not a number of 8 or more" in capsys.readouterr().err
