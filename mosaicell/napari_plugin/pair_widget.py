"""The widget that saves an image layer and its corrected labels for a fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, Container, FileEdit, Label, LineEdit, PushButton
from napari.layers import Image, Labels

from mosaicell.napari_plugin.layer_choice import make_layer_choice
from mosaicell.napari_plugin.notices import notify_of_errors
from mosaicell.napari_plugin.pairs import PAIRS_NEEDED, count_pairs, finetune_command, save_pair
from mosaicell.napari_plugin.planes import shown_plane

if TYPE_CHECKING:
    import napari.viewer


class PairWidget(Container):
    """Saves the shown plane of an image layer with its labels, and says how to fine-tune to what is saved.

    Parameters
    ----------
    viewer
        That holds the layers.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self.image_layer = make_layer_choice(viewer, Image, "image")
        self.label_layer = make_layer_choice(viewer, Labels, "labels")
        self.folder = FileEdit(label="folder", mode="d", nullable=True)
        self.replace = CheckBox(label="replace a pair of this name", value=False)
        self.button = PushButton(text="Save")
        self.said = Label(value="")
        # a line, from which it can be copied
        self.command = LineEdit(label="fine-tune with", value="", visible=False)
        super().__init__(
            widgets=[
                self.image_layer,
                self.label_layer,
                self.folder,
                self.replace,
                self.button,
                self.said,
                self.command,
            ]
        )
        self.folder.changed.connect(self._count)
        self.button.changed.connect(self._save)

    def _save(self) -> None:
        image, labels, folder = self.image_layer.value, self.label_layer.value, self.folder.value
        if image is None or labels is None or folder is None:
            self.said.value = "choose an image, its labels and a folder"
            return
        with notify_of_errors(labels.name):
            found = shown_plane(labels, self._viewer).read()
            with notify_of_errors(image.name):
                plane = shown_plane(image, self._viewer)
                path = save_pair(folder, plane.name, plane.read(), found, replace=self.replace.value)
                self._count()
                self.said.value = f"saved {path.name}; {self.said.value}"

    def _count(self) -> None:
        """Say how many pairs there are, and, once they are enough, the command."""
        folder = self.folder.value
        count = 0 if folder is None else count_pairs(folder)
        are_enough = count >= PAIRS_NEEDED
        self.said.value = f"{count} pairs" if are_enough else f"{count} of {PAIRS_NEEDED} pairs"
        self.command.value = finetune_command(folder.resolve()) if are_enough else ""
        self.command.visible = are_enough
