"""The widget that segments the shown plane of an image layer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from magicgui.widgets import ComboBox, Container, FileEdit, Label, PushButton
from napari.layers import Image, Labels
from napari.qt.threading import create_worker
from napari.utils.notifications import show_warning

from mosaicell.errors import ImageError
from mosaicell.napari_plugin.cell_features import to_features
from mosaicell.napari_plugin.layer_choice import make_layer_choice
from mosaicell.napari_plugin.notices import notify_of_errors
from mosaicell.napari_plugin.planes import Plane, shown_plane
from mosaicell.options import DEFAULT_SYSTEM, SYSTEM_NAMES, WEIGHTS_FOLDER
from mosaicell.segmenter import Result, Segmenter

if TYPE_CHECKING:
    import napari.viewer


class SegmentWidget(Container):
    """Segments the shown plane of an image layer into a layer of labels, while the viewer goes on.

    Parameters
    ----------
    viewer
        That holds the layers.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self.image_layer = make_layer_choice(viewer, Image, "image")
        self.second_layer = make_layer_choice(viewer, Image, "second channel", nullable=True)
        self.system = ComboBox(label="system", choices=SYSTEM_NAMES, value=DEFAULT_SYSTEM)
        self.weights = FileEdit(label="weights", mode="d", nullable=True, tooltip="without any, those of the program")
        self.button = PushButton(text="Segment")
        self.said = Label(value="")
        super().__init__(
            widgets=[self.image_layer, self.second_layer, self.system, self.weights, self.button, self.said]
        )
        self.button.changed.connect(self._start)

    def _start(self) -> None:
        if self.image_layer.value is None:
            self.said.value = "open an image first"
            return
        layers = [layer for layer in (self.image_layer.value, self.second_layer.value) if layer is not None]
        planes = []
        for layer in layers:
            with notify_of_errors(layer.name):
                planes.append(shown_plane(layer, self._viewer))
        if len(planes) < len(layers):
            return
        self.button.enabled = False
        self.said.value = f"segmenting {planes[0].name} ..."
        create_worker(
            segment_planes,
            planes,
            self.system.value,
            self.weights.value or WEIGHTS_FOLDER,
            _progress=True,
            _connect={"returned": lambda result: self._show(planes[0], result), "finished": self._end},
        )

    def _show(self, plane: Plane, result: Result | None) -> None:
        """Show the cells, or leave things as they are where an error was shown."""
        if result is None:
            self.said.value = ""
            return
        add_cells(self._viewer, plane, result)
        self.said.value = f"{plane.name}: {len(result)} cells"
        if result.doubtful:
            expected = f"the predicted F1 is {result.predicted_f1:.2f}"
            show_warning(f"{plane.name}: doubtful, most of it may be wrong: {expected}")

    def _end(self) -> None:
        self.button.enabled = True


def segment_planes(planes: list[Plane], system: str, weights: Path) -> Result | None:
    """Segment planes that are channels of one image; None after an error, which is shown.

    Parameters
    ----------
    planes
        Grey or colours; with a second one two grey ones of one shape.
    """
    with notify_of_errors(planes[0].name):
        if len(planes) > 1 and any(plane.is_colour for plane in planes):
            raise ImageError("a colour image has all its channels: choose no second one, or two grey layers")
        pixels = [plane.read() for plane in planes]
        if len({part.shape for part in pixels}) > 1:
            raise ImageError(f"its shape is {pixels[0].shape}, that of the second channel {pixels[1].shape}")
        if planes[0].is_colour:
            image, axes, names = pixels[0], "YXS", []
        else:
            image, axes, names = np.stack(pixels), "CYX", [plane.layer.name for plane in planes]
        result = load_segmenter(system, weights).segment(image, axes, names=names, pixel_um=planes[0].pixel_um)
        # measured here, as the viewer must not wait for it
        result.cells  # noqa: B018
        return result
    return None


@lru_cache(maxsize=1)
def load_segmenter(system: str, weights: Path) -> Segmenter:
    """Return the segmenter of a system and its weights, which keeps its models; of another one they are let go."""
    return Segmenter(system, weights=weights)


def add_cells(viewer: napari.viewer.ViewerModel, plane: Plane, result: Result) -> None:
    """Show cells as labels upon their plane: in the layer of an earlier answer where there is one."""
    name = f"{plane.name} cells"
    labels = result.labels[(None,) * len(plane.index)]
    settings = {"features": to_features(result.cells), **plane.place()}
    earlier = [layer for layer in viewer.layers if layer.name == name and isinstance(layer, Labels)]
    if earlier and earlier[0].ndim == labels.ndim:
        (layer,) = earlier
        layer.data = labels
        for setting, value in settings.items():
            setattr(layer, setting, value)
    else:
        viewer.add_labels(labels, name=name, **settings)
