"""The notebooks of examples/, run from their first to their last cell in an empty folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mosaicell.writing.masks import read_labels
from tests.test_imports import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.consumers]

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
#: a cell that trains for a few steps too ends within so many seconds
CELL_S = 1200


def execute(notebook: Path, folder: Path, old: str = "", new: str = "") -> str:
    """Run a notebook in a folder, with other text in one of its cells; return what its last cell printed."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    content = nbformat.read(notebook, as_version=4)
    if old:
        (cell,) = [cell for cell in content.cells if old in cell.source]
        cell.source = cell.source.replace(old, new)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    client = nbclient.NotebookClient(content, timeout=CELL_S, kernel_name="python3")
    client.resources = {"metadata": {"path": str(folder)}}
    client.execute(env=environment)
    return "".join(output.get("text", "") for output in content.cells[-1].outputs)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_shows(notebook: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    assert notebook.stat().st_size < 10_000
    for cell in content.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_a_folder_of_nuclei(tmp_path: Path) -> None:
    execute(ROOT / "examples" / "nuclei.ipynb", tmp_path)
    results = tmp_path / "results"
    for number in range(6):
        assert read_labels(results / f"field_{number}_label.tiff").max() > 5
        assert (results / f"field_{number}_cells.geojson").stat().st_size > 1000
    assert (results / "worst.png").is_file()


def test_fine_tuning(tmp_path: Path) -> None:
    printed = execute(
        ROOT / "examples" / "fine_tuning.ipynb", tmp_path, 'STEPS = "awf-grey", 300', 'STEPS = "awf-grey", 2'
    )
    assert (tmp_path / "new" / "own.onnx").is_file()
    lines = printed.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["shipped", "fine-tuned"]
    assert float(lines[0].split()[-1]) > 0.5
