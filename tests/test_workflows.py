"""Workflows, each run by its engine: the masks are those of the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosaicell.writing.masks import read_labels
from tests.toys import write_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
#: fills in the command of a Galaxy tool as Galaxy does; the inputs come as JSON
RENDER = """
import json, sys
from xml.etree import ElementTree
from Cheetah.Template import Template

class Dataset(str):
    ext = "png"

given = json.loads(sys.argv[2])
given["image"] = Dataset(given["image"])
command = ElementTree.parse(sys.argv[1]).find("command").text
print(str(Template(command, searchList=[given])).replace("\\n", " "))
"""

pytestmark = [pytest.mark.consumers, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make images, toy models, and the command `mosaicell`; work somewhere else than in the repository."""
    (tmp_path / "images").mkdir()
    write_discs(tmp_path / "images" / "a b.png", 2)
    write_discs(tmp_path / "images" / "c.tif", 3)
    write_weights(tmp_path / "weights")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mosaicell"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m mosaicell "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    # engines keep things in the home folder
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("HOME", home)
        monkeypatch.chdir(tmp_path)
        yield tmp_path


def engine(name: str) -> str:
    """Return the path of an engine; skips the test without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: requirements-workflows.txt")
    return path


def call(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def segment(place: Path) -> dict[str, bytes]:
    """Return the masks of the command line."""
    call("mosaicell", place / "images", "-o", place / "expected", "--weights", place / "weights")
    return {path.name: path.read_bytes() for path in (place / "expected").iterdir()}


def test_snakemake_makes_the_masks_once(place: Path) -> None:
    snakemake = engine("snakemake")
    options = f"--weights {place / 'weights'} --device cpu"
    command = (snakemake, "--snakefile", WORKFLOWS / "snakemake" / "Snakefile", "--cores", 2, "--config")
    given = ("images=images", "masks=out/masks", f"options={options}")
    call(*command, *given)
    masks = {path.name: path.read_bytes() for path in (place / "out" / "masks").glob("*.tiff")}
    assert masks.keys() == {"a b_label.tiff", "c_label.tiff"}
    assert masks == segment(place)
    assert "c.tif: fluorescence" in (place / "out" / "masks" / "logs" / "c.txt").read_text(encoding="utf-8")
    assert "Nothing to be done" in call(*command, *given)
    # an image that fails fails its job, and leaves no mask
    (place / "images" / "c.tif").write_bytes(b"no image")
    done = subprocess.run([*map(str, (*command, *given)), "--keep-going"], capture_output=True, check=False)
    assert done.returncode == 1
    assert sorted(path.name for path in (place / "out" / "masks").glob("*.tiff")) == ["a b_label.tiff"]
    write_discs(place / "images" / "c.png", 1)
    refused = subprocess.run([*map(str, (*command, *given))], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "images/c.png and images/c.tif would have one mask" in refused.stderr


def test_a_cwl_tool_collects_what_was_written(place: Path) -> None:
    cwltool = engine("cwltool")
    tool = WORKFLOWS / "cwl" / "mosaicell.cwl"
    call(cwltool, "--validate", tool)
    files = [{"class": "File", "path": str(place / "images" / name)} for name in ("a b.png", "c.tif")]
    job = {"images": files, "weights": {"class": "Directory", "path": str(place / "weights")}, "table": True}
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    call(cwltool, "--no-container", "--relax-path-checks", "--outdir", place / "out", tool, place / "job.json")
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "a b_cells.csv", "a b_label.tiff", "c_cells.csv", "c_label.tiff", "run.json",
    ]  # fmt: skip
    for name in segment(place):
        assert (read_labels(place / "out" / name) == read_labels(place / "expected" / name)).all(), name
    images = json.loads((place / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    assert [image["cells"] for image in images] == [2, 3]


def test_the_galaxy_tool_passes_its_linter_and_its_command_runs(place: Path) -> None:
    planemo = engine("planemo")
    tool = WORKFLOWS / "galaxy" / "mosaicell.xml"
    call(planemo, "lint", "--fail_level", "warn", tool)
    images = WORKFLOWS / "galaxy" / "test-data" / "nuclei.png"
    given = {"image": str(images), "system": "cell-segmenter", "channels": "1", "expand": 2, "tta": "",
             "exclude_edges": "--exclude-edges", "also": ["overlay", "table"]}  # fmt: skip
    # the Python of the engine has what fills in templates
    python = Path(planemo).resolve().parent / "python"
    command = call(python, "-c", RENDER, tool, json.dumps(given))
    (place / "job").mkdir()
    subprocess.run(["bash", "-c", command], cwd=place / "job", check=True, capture_output=True, timeout=300)
    assert sorted(path.name for path in (place / "job" / "results").iterdir()) == [
        "image_cells.csv", "image_label.tiff", "image_overlay.png",
    ]  # fmt: skip
    assert 2 <= read_labels(place / "job" / "results" / "image_label.tiff").max() <= 40
