"""A list of a viewer's layers of one kind, to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer


def make_layer_choice(
    viewer: napari.viewer.ViewerModel, kind: type[napari.layers.Layer], label: str, *, nullable: bool = False
) -> ComboBox:
    """Return a list of the layers of a kind, without any chosen at first where it is nullable."""

    def list_layers(_: ComboBox) -> list[napari.layers.Layer]:
        return [layer for layer in viewer.layers if isinstance(layer, kind)]

    return ComboBox(label=label, choices=list_layers, nullable=nullable)
