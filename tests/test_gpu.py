"""On an NVIDIA GPU, with requirements.txt installed: `pytest -m gpu`."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.images import draw_image
from mosaicell.evaluation.metrics import score_image
from mosaicell.reading.images import read_labels

pytestmark = pytest.mark.gpu
#: the challenge's limit in MB
LIMIT_MB = 10_000


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw images of every modality; grey ones load two networks."""
    folder = tmp_path_factory.mktemp("images")
    scenes = {"phase_layer": 1.0, "brightfield_tissue": 4.0, "dic_yeast": 9.0, "fluorescence_nuclei": 25.0}
    for kind, megapixels in scenes.items():
        draw_image(folder, kind, megapixels, seed=0)
    return folder


def time_on(device: str, images: Path, output: Path) -> dict[str, dict[str, str]]:
    """Run every image in a process of its own; return the rows of timing.csv by image."""
    command = f"{sys.executable} predict.py --device {device} --gpu-mem-limit 8"
    timing = [sys.executable, "-m", "evaluation.timing", "-i", str(images), "-o", str(output), "--command", command]
    subprocess.run(timing, check=True, cwd=Path(__file__).resolve().parent.parent)
    with (output / "timing.csv").open(newline="", encoding="utf-8") as file:
        return {row["Img Name"]: row for row in csv.DictReader(file)}


def test_memory_stays_below_the_limit_and_masks_are_those_of_the_cpu(images: Path, tmp_path: Path) -> None:
    on_gpu = time_on("cuda", images, tmp_path / "gpu")
    time_on("cpu", images, tmp_path / "cpu")
    assert len(on_gpu) == 4
    for name, row in on_gpu.items():
        assert 0 < float(row["Peak GPU MB"]) <= LIMIT_MB, name
        cpu, gpu = (read_labels(tmp_path / kind / f"{Path(name).stem}_label.tiff") for kind in ("cpu", "gpu"))
        (scores,) = score_image(cpu, gpu, (0.9,))
        # the two add up in another order, so that a few pixels differ
        assert scores.f1 >= 0.99, name
