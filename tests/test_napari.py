"""What is written as napari opens it, in its viewer without a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.writing.masks import write_labels
from mosaicell.writing.ome_zarr import write_ome_zarr
from tests.cells import draw_cells
from tests.ngff_files import VERSIONS, write_image

#: napari and what it brings warn of each other
pytestmark = [pytest.mark.consumers, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def viewer() -> Any:
    components, plugins = pytest.importorskip("napari.components"), pytest.importorskip("napari.plugins")
    plugins._initialize_plugins()
    return components.ViewerModel()


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return draw_cells(rng, (700, 1100), 200, 40)


def layers(viewer: Any, path: Path, plugin: str) -> list[tuple[str, Any]]:
    """Open a file; return the kind of each layer, with its pixels at full size."""
    found = []
    for layer in viewer.open(str(path), plugin=plugin):
        data = layer.data[0] if layer.multiscale else layer.data
        found.append((type(layer).__name__, np.asarray(data)))
    return found


def test_a_mask_of_32_bits_opens_as_labels(viewer: Any, labels: np.ndarray, tmp_path: Path) -> None:
    write_labels(tmp_path / "wide.tiff", labels, wide=True)
    write_labels(tmp_path / "small.tiff", labels)
    ((kind, pixels),) = layers(viewer, tmp_path / "wide.tiff", "napari")
    assert kind == "Labels"
    np.testing.assert_array_equal(pixels, labels)
    assert [kind for kind, _ in layers(viewer, tmp_path / "small.tiff", "napari")] == ["Image"]


@pytest.mark.parametrize("version", VERSIONS)
def test_ome_zarr_opens_as_labels_over_its_image(viewer: Any, labels: np.ndarray, tmp_path: Path, version: str) -> None:
    pytest.importorskip("napari_ome_zarr")
    write_ome_zarr(tmp_path / "a.zarr", [labels], pixel_um=(0.5, 0.25), version=version)
    ((kind, pixels),) = layers(viewer, tmp_path / "a.zarr" / "labels" / "mosaicell", "napari-ome-zarr")
    assert kind == "Labels"
    np.testing.assert_array_equal(pixels, labels)
    assert list(viewer.layers[-1].scale) == [0.5, 0.25]
    image = write_image(tmp_path / "b.zarr", (labels % 200).astype(np.uint8), "yx", version)
    (tmp_path / "a.zarr" / "labels").rename(image / "labels")
    assert [kind for kind, _ in layers(viewer, image, "napari-ome-zarr")] == ["Image", "Labels"]
