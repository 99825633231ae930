"""Workflows: the masks are those of the command line. Each is run by its engine, but Nextflow's read by Groovy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mosaicell.options import VERSION
from mosaicell.writing.masks import read_labels
from tests.toys import write_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
MODULE = WORKFLOWS / "nextflow" / "modules" / "local" / "mosaicell" / "main.nf"
#: in which a task of Nextflow finds the image, renames it, and writes
TASK_FOLDERS = ("image", "named", "cells")
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


def read_nextflow(file: Path, **values: object) -> dict[str, Any]:
    """Read a file of Nextflow with Groovy: tests/nextflow.groovy says how."""
    if shutil.which("groovy") is None:
        pytest.skip("Groovy is not installed: apt-get install groovy")
    said: dict[str, Any] = json.loads(call("groovy", ROOT / "tests" / "nextflow.groovy", file, json.dumps(values)))
    return said


def read_process(block: str, name: str, args: str, image: str = "a.png") -> dict[str, Any]:
    """Read the process with its script or its stub, as for an image that Nextflow has laid into a task's folder."""
    text = MODULE.read_text(encoding="utf-8")
    head, _, stub = text.partition("    stub:")
    kept = head + "}" if block == "script" else head.partition("    script:")[0] + stub
    task = {"cpus": 2, "process": "CELLS:MOSAICELL", "ext": {"args": args}}
    return read_nextflow(MODULE, text=kept, task=task, meta={"id": name}, image=f"image/{image}", moduleDir="/module")


def run_task(folder: Path, script: str, image: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder with the image linked into it, as Nextflow does."""
    (folder / "image").mkdir(parents=True)
    (folder / "image" / image.name).symlink_to(image)
    return subprocess.run(["bash", "-ue", "-c", script], cwd=folder, capture_output=True, text=True, check=False)


def test_the_nextflow_module_makes_what_it_declares(place: Path) -> None:
    args = f"--weights {place / 'weights'} --device cpu --table --overlay --geojson --rois --ome-zarr"
    process = read_process("script", "plate 1", args, "a b.png")
    assert process["process"] == "MOSAICELL"
    done = run_task(place / "task", process["script"], place / "images" / "a b.png")
    assert done.returncode == 0, done.stderr
    found = {}
    for name, output in process["outputs"].items():
        if output["topic"]:
            expression = output["elements"][2]
            said = subprocess.run(["bash", "-ue", "-c", expression], capture_output=True, text=True, check=True).stdout
            assert (name, output["topic"], said) == ("versions_mosaicell", "versions", f"{VERSION}\n")
        else:
            (found[name],) = (place / "task").glob(output["elements"][1])
    assert all(path.name.startswith("plate 1") for path in found.values())
    # nothing else is written, and what was given is as it was
    assert set((place / "task").iterdir()) - set(found.values()) == {place / "task" / name for name in TASK_FOLDERS}
    assert list((place / "images").glob("*_label.tiff")) == []
    segment(place)
    assert (read_labels(found["mask"]) == read_labels(place / "expected" / "a b_label.tiff")).all()
    (record,) = json.loads(found["report"].read_text(encoding="utf-8"))["images"]
    assert (record["image"], record["cells"]) == ("plate 1.png", 2)


def test_what_the_nextflow_module_must_make_is_there_without_options_and_in_a_stub(place: Path) -> None:
    for block in ("script", "stub"):
        process = read_process(block, "c", f"--weights {place / 'weights'}", "c.tif")
        assert run_task(place / block, process["script"], place / "images" / "c.tif").returncode == 0
        for output in process["outputs"].values():
            if not output["topic"]:
                there = list((place / block).glob(output["elements"][1]))
                assert len(there) == (0 if output["optional"] else 1), output
    (place / "images" / "c.tif").write_bytes(b"no image")
    failed = run_task(place / "failed", read_process("script", "c", "", "c.tif")["script"], place / "images" / "c.tif")
    assert failed.returncode == 1
    assert "named/c.tif" not in failed.stderr
    assert "c.tif: is no image" in failed.stderr


def test_the_description_of_the_nextflow_module_names_its_channels() -> None:
    process = read_process("script", "a", "")
    described = yaml.safe_load((MODULE.parent / "meta.yml").read_text(encoding="utf-8"))
    assert described["name"].upper() == process["process"]

    def names(channel: list[dict[str, object]]) -> list[str]:
        return [name.replace("${task.process}", "CELLS:MOSAICELL") for element in channel for name in element]

    assert [names(channel) for channel in described["input"]] == process["inputs"]
    outputs = {name: names(channel) for name, (channel,) in described["output"].items()}
    assert outputs == {name: output["elements"] for name, output in process["outputs"].items()}
    assert described["topics"] == {"versions": described["output"]["versions_mosaicell"]}
    # the package that conda has pip install
    environment = yaml.safe_load((MODULE.parent / "environment.yml").read_text(encoding="utf-8"))
    (package,) = environment["dependencies"][-1]["pip"]
    assert (MODULE.parent / package).resolve() == ROOT
    # the files for nf-test are Groovy, too
    read_nextflow(MODULE.parent / "tests" / "main.nf.test")


def test_the_nextflow_pipeline_has_a_task_for_each_image(place: Path) -> None:
    settings = read_nextflow(WORKFLOWS / "nextflow" / "nextflow.config")
    assert settings["params"] == {"images": "images", "outdir": "masks", "options": "", "container": "mosaicell:cpu"}
    assert settings["process"]["ext"] == {"args": settings["params"]["options"]}
    assert settings["process"]["publishDir"]["path"] == settings["params"]["outdir"]
    # what was killed is tried twice more; an image that fails leaves the others alone, but not the exit code
    assert (settings["strategies"], settings["failOnIgnore"]) == (["ignore", "retry", "retry", "ignore"], True)
    (place / "images" / "notes.txt").touch()
    (place / "images" / "D.TIFF").touch()
    (place / "images" / "e.ome.zarr").mkdir()
    pipeline = WORKFLOWS / "nextflow" / "main.nf"
    passed = read_nextflow(pipeline, params={"images": str(place / "images")})["passed"]
    assert [(meta["id"], image["name"]) for meta, image in passed] == [
        ("D", "D.TIFF"), ("a b", "a b.png"), ("c", "c.tif"), ("e.ome", "e.ome.zarr"),
    ]  # fmt: skip
    (place / "images" / "c.png").touch()
    with pytest.raises(AssertionError, match=r"c\.png and .*c\.tif would have one mask"):
        read_nextflow(pipeline, params={"images": str(place / "images")})


def test_the_command_of_the_mcmicro_module_leaves_a_mask_in_its_folder(place: Path) -> None:
    given = yaml.safe_load((WORKFLOWS / "mcmicro" / "params.yml").read_text(encoding="utf-8"))
    (module,) = given["modules"]["segmentation"]
    assert module["name"] == given["workflow"]["segmentation"]
    # MCMICRO counts channels from 1, and so does the program
    assert module["idxbase"] == 1
    options = f"{given['options'][module['name']]} --weights {place / 'weights'}"
    channels = f"{module['channel']} {given['workflow']['segmentation-channel']}"
    (place / "task").mkdir()
    (place / "task" / "exemplar.ome.tif").symlink_to(place / "images" / "c.tif")
    command = f"{module['cmd']} {module['input']} exemplar.ome.tif {channels} {options}"
    done = subprocess.run(
        ["bash", "-ue", "-c", command], cwd=place / "task", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (place / "task").glob("*.tif") if not path.is_symlink()] == ["cell.tif"]
    assert read_labels(place / "task" / "cell.tif").max() == 3
