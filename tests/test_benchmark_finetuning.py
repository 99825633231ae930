"""The benchmark of fine-tuning: which images are trained on and tested, and what counts as a miss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import finetuning as module
from benchmarks.finetuning import Gain, find_misses, list_images, main, score, spread
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.writing.masks import write_labels
from tests.toys import draw_discs, write_weights

GAIN = Gain("one", 5, 20, 24, (0.5, 0.3), (0.7, 0.4), (0.8, 0.6), (0.79, 0.6))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight images of two sources over two splits, rows of discs with exact labels."""
    rows = ["split,source,modality,image"]
    for number in range(8):
        split, source = ("train", "val")[number % 4 == 3], ("one", "two")[number >= 6]
        for name in ("images", "labels"):
            (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
        pixels = draw_discs(3)
        _, labels = cv2.connectedComponents((pixels > 100).astype(np.uint8))
        cv2.imwrite(str(tmp_path / split / "images" / f"{number}.png"), pixels)
        write_labels(tmp_path / split / "labels" / f"{number}_label.tiff", labels.astype(np.uint32))
        rows.append(f"{split},{source},fluorescence,{number}.png")
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "train,one,x,gone.png"]) + "\n", encoding="utf-8")
    return tmp_path


def test_images_of_all_splits_are_listed_by_source(data: Path) -> None:
    names = {source: [path.name for path in paths] for source, paths in list_images(data).items()}
    assert {source: sorted(found) for source, found in names.items()} == {
        "one": [f"{number}.png" for number in range(6)],
        "two": ["6.png", "7.png"],
    }


def test_images_are_spread_over_their_order() -> None:
    paths = [Path(str(number)) for number in range(9)]
    assert [path.name for path in spread(paths, 3)] == ["0", "4", "8"]
    assert spread(paths, 20) == paths
    assert spread([], 3) == []


def test_the_default_system_is_scored_with_the_weights(data: Path, tmp_path: Path) -> None:
    paths = list_images(data)["two"]
    assert score(paths, write_weights(tmp_path / "weights")) == (1.0, 1.0)
    write_labels(data / "train" / "labels" / "6_label.tiff", np.tile(np.arange(1, 181, dtype=np.uint32), (120, 1)))
    assert score(paths, tmp_path / "weights") == (0.5, 0.5)


def test_the_command_tests_on_what_it_did_not_train_on(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[list[str]] = []
    tested: list[list[str]] = []

    def train(paths: Sequence[Path], folder: Path, minutes: float, weights: Path) -> Path:
        trained.append([path.name for path in paths])
        assert (minutes, weights) == (3, Path("/mosaicell/old"))
        return folder / "weights"

    def rate(paths: Sequence[Path], weights: Path) -> tuple[float, ...]:
        tested.append(sorted(path.name for path in paths))
        return (0.9, 0.8) if weights.name == "weights" and "mosaicell" not in weights.parts else (0.5, 0.4)

    monkeypatch.setattr(module, "fine_tune", train)
    monkeypatch.setattr(module, "score", rate)
    arguments = ["--data", str(data), "--sources", "one", "--images", "3", "--minutes", "3"]
    arguments += ["--weights", "/mosaicell/old"]
    assert main([*arguments, "--json", str(data / "found.json")]) == 0
    assert len(trained[0]) == 3
    assert tested[0] == tested[1]
    assert sorted([*trained[0], *tested[0]]) == [f"{number}.png" for number in range(6)]
    assert tested[2] == tested[3] == ["6.png", "7.png"]
    (found,) = json.loads((data / "found.json").read_text(encoding="utf-8"))["sources"]
    assert (found["before"], found["after"]) == ([0.5, 0.4], [0.9, 0.8])
    assert capsys.readouterr().out.splitlines()[-1] == (
        "| one | 3 | 3 | 0.500 | 0.900 | 0.400 | 0.800 | 2 | 0.500 | 0.900 |"
    )
    assert main(["--data", str(data), "--sources", "three"]) == 2
    assert "names no image of three" in capsys.readouterr().err
    assert main([*arguments[:4], "--images", "6"]) == 2
    assert "one has 6 images; none is left" in capsys.readouterr().err


def test_what_gains_nothing_and_what_others_lose_is_named() -> None:
    assert find_misses([GAIN]) == []
    assert find_misses([replace(GAIN, after=(0.5, 0.9))]) == ["one: fine-tuning gains nothing, +0.000."]
    assert find_misses([replace(GAIN, others_after=(0.77, 0.6))]) == [
        "one: other sources lose 0.030; allowed are 0.02."
    ]


def test_a_fine_tuning_that_fails_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 2"):
        module.fine_tune(list_images(data)["two"], tmp_path / "work", 1, WEIGHTS_FOLDER)
