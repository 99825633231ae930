"""Packages for the BioImage Model Zoo: whole, answering as they say, and accepted by its own test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import file_sha256, read_manifest, read_models
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.systems.mde_cellmask import ENSEMBLES
from mosaicell.training.zoo import list_packable, main, pack
from mosaicell.training.zoo_page import write_page
from tests.labelled import write_labelled_folder

MODELS = ("awf-grey", "omnipose", "stardist", "image-classifier")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pack models of each form of answer; folder by name."""
    folder = tmp_path_factory.mktemp("zoo")
    found = {}
    for name in MODELS:
        with zipfile.ZipFile(pack(name, WEIGHTS_FOLDER, folder)) as archive:
            archive.extractall(folder / name)
        found[name] = folder / name
    return found


def read(folder: Path) -> dict[str, Any]:
    # JSON is YAML
    content: dict[str, Any] = json.loads((folder / "rdf.yaml").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("name", MODELS)
def test_every_file_that_is_named_is_there(name: str, packages: dict[str, Path]) -> None:
    folder, described = packages[name], read(packages[name])
    named = {described[key]["source"] for key in ("license", "documentation")} | {described["covers"][0]["source"]}
    named |= {tensor["test_tensor"]["source"] for tensor in (*described["inputs"], *described["outputs"])}
    weights = described["weights"]["onnx"]
    assert {path.name for path in folder.iterdir()} == named | {weights["source"], "rdf.yaml"}
    assert file_sha256(folder / weights["source"]) == weights["sha256"] == read_manifest(WEIGHTS_FOLDER)[name]["sha256"]
    assert (folder / "TERMS.md").read_bytes() == (WEIGHTS_FOLDER / "README.md").read_bytes()


def test_all_networks_that_answer_to_images_are_packed_by_default() -> None:
    left_out = {
        "maunet",
        "maunet-pair",
        *ENSEMBLES,
        "cellmask-cascade-heads",
        "cellmask-crops",
        "cellmask-faster-heads",
    }
    assert set(list_packable(WEIGHTS_FOLDER)) == set(read_manifest(WEIGHTS_FOLDER)) - left_out


@pytest.mark.parametrize("name", MODELS)
def test_the_network_answers_to_the_test_image_as_the_package_says(name: str, packages: dict[str, Path]) -> None:
    folder, described = packages[name], read(packages[name])
    image = np.load(folder / "test_image.npy")
    scale, clip = described["inputs"][0]["preprocessing"]
    assert (scale["id"], clip) == ("scale_range", {"id": "clip", "kwargs": {"min": 0, "max": 1}})
    seen = np.empty_like(image)
    for channel in range(3):
        plane = image[0, channel].astype(float)
        low, high = np.percentile(plane, (scale["kwargs"]["min_percentile"], scale["kwargs"]["max_percentile"]))
        seen[0, channel] = ((plane - low) / (high - low + scale["kwargs"]["eps"])).clip(0, 1)
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    answers = session.run(None, {"image": seen})
    assert [output["id"] for output in described["outputs"]] == [output.name for output in session.get_outputs()]
    for output, answer in zip(described["outputs"], answers, strict=True):
        expected = np.load(folder / output["test_tensor"]["source"])
        np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-3)
        axes = output["axes"]
        assert len(axes) == expected.ndim
        for axis, length in zip(axes, expected.shape, strict=True):
            if axis["type"] == "channel":
                assert len(set(axis["channel_names"])) == length
            if axis["type"] == "space":
                assert length * axis["scale"] == image.shape["byx".index(axis["id"]) + 1]


def test_answers_have_the_names_of_the_program(packages: dict[str, Path]) -> None:
    names = {
        name: [axis["channel_names"] for output in read(folder)["outputs"] for axis in output["axes"] if len(axis) == 2
               and axis["type"] == "channel"]
        for name, folder in packages.items()
    }  # fmt: skip
    assert names["awf-grey"] == [["foreground", "energy"], ["y0", "x0", "y1", "x1", "score"]]
    assert names["omnipose"] == [["foreground", "boundary", "flow_y", "flow_x"]]
    assert names["stardist"][0] == ["foreground", "object_probability"]
    assert names["stardist"][1][::31] == ["rays_0", "rays_31"]
    assert names["image-classifier"] == [["one_channel", "grey", "colour_large_cells", "colour_small_cells"]]


def test_the_cover_shows_an_image_and_what_is_found(packages: dict[str, Path]) -> None:
    cover = cv2.imread(str(packages["stardist"] / "cover.png"))
    assert cover is not None
    assert cover.shape == (256, 512, 3)
    assert (packages["stardist"] / "cover.png").stat().st_size < 500_000
    left, right = cover[:, :256], cover[:, 256:]
    # outlines, and nothing else, differ
    assert 0.01 < (left != right).any(2).mean() < 0.3


def test_the_page_has_settings_scores_limits_and_terms(tmp_path: Path, packages: dict[str, Path]) -> None:
    card, _ = write_labelled_folder(tmp_path)
    (tmp_path / "README.md").write_text("terms", encoding="utf-8")
    cards = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    cards["m"]["sha256"] = file_sha256(card.path)
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    page = write_page(read_models(("m",), tmp_path)["m"], cards["m"], {"all": ((0.5, 0.25), 2)})
    assert "| all | 2 | 0.500 | 0.250 |" in page
    assert "| e1 | 0.5 |" in page
    plain = (packages["awf-grey"] / "README.md").read_text(encoding="utf-8")
    assert "made without labelled images" in plain
    assert "3,155,281 parameters" in plain
    assert all("**for research use only**" in text and "## Limits" in text for text in (page, plain))
    opened = write_page(card, cards["m"] | {"data": "sources and terms: weights/open/README.md; open terms"}, {})
    assert "for any purpose" in opened
    assert "research" not in opened


def test_a_model_is_scored_where_there_are_labelled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    write_labelled_folder(tmp_path / "data")
    arguments = ["awf-fluorescence", "-o", str(tmp_path / "zoo"), "--data", str(tmp_path / "data")]
    monkeypatch.setattr(sys, "argv", ["zoo", *arguments])
    main()
    with zipfile.ZipFile(tmp_path / "zoo" / "awf-fluorescence.zip") as archive:
        page = archive.read("README.md").decode()
    assert "\n| all | 2 | " in page


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds no model 'nothing'"):
        pack("nothing", WEIGHTS_FOLDER, tmp_path / "zoo")
    cards = read_manifest(WEIGHTS_FOLDER)
    shutil.copyfile(WEIGHTS_FOLDER / "awf-grey.onnx", tmp_path / "awf-grey.onnx")
    card = cards["awf-grey"]
    (tmp_path / "manifest.json").write_text(json.dumps({"awf-grey": {**card, "sha256": "0"}}), encoding="utf-8")
    with pytest.raises(OptionError, match="SHA-256 differs"):
        pack("awf-grey", tmp_path, tmp_path / "zoo")
    several = {**card, "ensemble": {"companions": [], "scales": [1.0, 1.5]}}
    (tmp_path / "manifest.json").write_text(json.dumps({"awf-grey": several}), encoding="utf-8")
    with pytest.raises(OptionError, match="'cellmask-crops' is part of another model"):
        pack("cellmask-crops", WEIGHTS_FOLDER, tmp_path)
    with pytest.raises(OptionError, match="is a mean of several models"):
        pack("awf-grey", tmp_path, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.slow
@pytest.mark.consumers
@pytest.mark.skipif(not shutil.which("bioimageio"), reason="bioimageio is not installed: requirements-zoo.txt")
@pytest.mark.parametrize("name", MODELS)
def test_the_zoos_own_test_passes(name: str, packages: dict[str, Path]) -> None:
    command = ["bioimageio", "test", f"{packages[name]}.zip"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Reproduce test outputs from test inputs" in done.stdout
