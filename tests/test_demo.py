"""The demonstration's images: real ones without a download, drawn ones of every scene and repeatable."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from examples import demo
from examples.demo import write_drawn_images, write_real_images
from mosaicell.reading.images import read_image
from mosaicell.training.synthesis import SCENES


def test_the_real_images_come_from_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "create_connection")
    images = [read_image(path).pixels for path in write_real_images(tmp_path)]
    assert [pixels.shape for pixels in images] == [(512, 512, 3), (660, 550, 1)]
    # haematoxylin and DAB on a white ground: the colours are not swapped
    assert images[0].mean(axis=(0, 1)).argmin() == 2


def test_every_scene_is_drawn_once_and_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SCENE_SHAPE_PX", (96, 128))
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    for folder, seed in ((first, 0), (again, 0), (other, 1)):
        folder.mkdir()
        assert {path.stem for path in write_drawn_images(folder, seed)} == {f"drawn_{kind}" for kind in SCENES}
    for path in first.iterdir():
        pixels = read_image(path).pixels
        assert pixels.shape[:2] == (96, 128)
        np.testing.assert_array_equal(pixels, read_image(again / path.name).pixels)
        assert not np.array_equal(pixels, read_image(other / path.name).pixels)
