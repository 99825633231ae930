"""The plane of a layer that a viewer shows: its pixels, read when they are needed, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mosaicell.errors import ImageError

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer

#: axes of a plane
PLANE_AXES = 2


@dataclass(frozen=True)
class Plane:
    """A plane of an image or labels layer.

    Attributes
    ----------
    layer
        The layer; of several scales the largest counts.
    index
        Where it lies on the axes before y and x.
    """

    layer: napari.layers.Layer
    index: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Of the layer, and of a stack the index too."""
        places = [str(place) for place, length in zip(self.index, self._data.shape, strict=False) if length > 1]
        return " at ".join([self.layer.name, *([", ".join(places)] if places else [])])

    @property
    def is_colour(self) -> bool:
        """Its pixels have colours."""
        return getattr(self.layer, "rgb", False)

    @property
    def pixel_um(self) -> tuple[float, float] | None:
        """Height and width of a pixel; None where the layer's unit is no length."""
        sizes = [abs(scale) * unit for scale, unit in zip(self.layer.scale, self.layer.units, strict=True)]
        y, x = sizes[-PLANE_AXES:]
        if not (y.is_compatible_with("micrometer") and x.is_compatible_with("micrometer")):
            return None
        return float(y.to("micrometer").magnitude), float(x.to("micrometer").magnitude)

    def read(self) -> np.ndarray:
        """Read its pixels, and no others: (y, x), or (y, x, 3) without transparency."""
        pixels = np.asarray(self._data[self.index])
        return pixels[..., :3] if self.is_colour else pixels

    def place(self) -> dict[str, Any]:
        """Return the settings by which labels (1, ..., y, x) lie upon it."""
        layer = self.layer
        corner = layer.data_to_world((*self.index, *[0] * PLANE_AXES))
        return {
            "scale": layer.scale,
            "translate": layer.affine.inverse(corner),
            "rotate": layer.rotate,
            "shear": layer.shear,
            "affine": layer.affine.affine_matrix,
            "units": layer.units,
            "axis_labels": layer.axis_labels,
        }

    @property
    def _data(self) -> Any:
        return self.layer.data[0] if self.layer.multiscale else self.layer.data


def shown_plane(layer: napari.layers.Layer, viewer: napari.viewer.ViewerModel) -> Plane:
    """Return the plane of a layer that a viewer shows.

    Raises
    ------
    ImageError
        When it shows a volume, a plane of other axes than the last two, or none of this layer.
    """
    leading = layer.ndim - PLANE_AXES
    shown = {axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed}
    if leading and {axis for axis in shown if axis >= 0} != {leading, leading + 1}:
        raise ImageError("shows no single plane of its last two axes: switch to two dimensions, in their usual order")
    plane = Plane(layer, tuple(int(place) for place in np.round(layer.world_to_data(viewer.dims.point)[:leading])))
    if not all(0 <= place < length for place, length in zip(plane.index, plane._data.shape, strict=False)):
        raise ImageError("has no plane where the sliders stand")
    return plane
