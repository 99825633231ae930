"""The size model: a known relation is found again, kept in its file, and learned from what pictures look like."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_card
from mosaicell.networks.raw import Outputs
from mosaicell.networks.size_model import SizeModel, read_size_model, write_size_model
from mosaicell.training.dataset import Sample
from mosaicell.training.export import export
from mosaicell.training.recipe import Recipe, read_recipe
from mosaicell.training.size_model import fit_size_model, main, ratio_errors, see_views
from mosaicell.training.state import Training


def draw_styles(rng: np.random.Generator, count: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return styles of 16 numbers, and diameters whose logarithm is linear in them."""
    styles = rng.normal(0.5, 0.2, (count, 16))
    styles /= np.linalg.norm(styles, axis=1, keepdims=True)
    slopes = np.random.default_rng(7).normal(0, 2, 16)
    return styles, np.exp(3.2 + styles @ slopes - slopes.mean() * 4 + rng.normal(0, noise, count))


def make_discs(diameter_px: int, modality: str = "fluorescence") -> Sample:
    """Return an image of bright discs in a grid."""
    labels = np.zeros((400, 400), np.uint8)
    step = 2 * diameter_px
    for number, (y, x) in enumerate(np.ndindex(400 // step, 400 // step), start=1):
        cv2.circle(labels, (x * step + diameter_px, y * step + diameter_px), diameter_px // 2, number, -1)
    areas = np.bincount(labels.ravel())
    median = float(np.median(2 * np.sqrt(areas[1:] / np.pi)))
    image = ((labels > 0) * 255).astype(np.uint8)[..., None]
    return Sample("discs", modality, image, labels.astype(np.uint16), np.empty((0, 4), np.int32), areas, median)


def see_outlines(batch: np.ndarray) -> Outputs:
    """Answer with a style that says how much of the picture is outline, and how much bright."""
    edges = np.abs(np.diff(batch[:, 0], axis=2)).mean((1, 2))
    style = np.stack([np.log(edges + 1e-4), np.full(len(batch), 4.0)], 1)
    return batch, (style / np.linalg.norm(style, axis=1, keepdims=True)).astype(np.float32)


def test_a_known_relation_is_found(rng: np.random.Generator) -> None:
    model = fit_size_model(*draw_styles(rng, 500), ridge=1e-9)
    assert ratio_errors(model, *draw_styles(rng, 200)).max() < 1.01
    noisy = fit_size_model(*draw_styles(rng, 3000, noise=0.3), ridge=1e-3)
    assert np.median(ratio_errors(noisy, *draw_styles(rng, 200))) < 1.05


def test_ridge_draws_the_answer_to_the_mean(rng: np.random.Generator) -> None:
    styles, diameters = draw_styles(rng, 300)
    lengths = [np.linalg.norm(fit_size_model(styles, diameters, ridge).slopes) for ridge in (1e-6, 1.0, 100.0)]
    assert lengths[0] > lengths[1] > lengths[2]
    shy = fit_size_model(styles, diameters, 1e9)
    assert shy.diameter_px(styles[0]) == pytest.approx(math.exp(np.log(diameters).mean()), rel=1e-3)


def test_more_styles_than_views_can_be_fitted(rng: np.random.Generator) -> None:
    styles, diameters = draw_styles(rng, 5)
    assert ratio_errors(fit_size_model(styles, diameters, 1e-6), styles, diameters).max() < 1.01


def test_the_length_of_a_style_does_not_count_and_the_range_is_kept(rng: np.random.Generator) -> None:
    styles, diameters = draw_styles(rng, 300)
    model = fit_size_model(styles, diameters, 1e-6)
    assert model.diameter_px(0.2 * styles[3]) == pytest.approx(model.diameter_px(styles[3]))
    narrow = replace(model, diameter_range_px=(20.0, 21.0))
    said = {narrow.diameter_px(style) for style in styles}
    assert min(said) == pytest.approx(20)
    assert max(said) == pytest.approx(21)
    assert math.isfinite(model.diameter_px(np.zeros(16)))


def test_what_cannot_be_fitted_is_refused(rng: np.random.Generator) -> None:
    styles, diameters = draw_styles(rng, 5)
    for wrong in ((styles[:0], diameters[:0]), (styles * np.nan, diameters), (styles, 0 * diameters)):
        with pytest.raises(OptionError, match="fit a size model"):
            fit_size_model(*wrong)


def test_a_file_keeps_the_model(tmp_path: Path, rng: np.random.Generator) -> None:
    styles, diameters = draw_styles(rng, 300)
    model = fit_size_model(styles, diameters)
    write_size_model(model, tmp_path / "size.json")
    again = read_size_model(tmp_path / "size.json")
    for style in styles[:20]:
        assert again.diameter_px(style) == pytest.approx(model.diameter_px(style), rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"slopes": [1.0]},
        {"slopes": [1.0, None]},
        {"slopes": [1.0, float("nan")]},
        {"diameter_range_px": [30.0, 20.0]},
        {"diameter_range_px": [0.0, 20.0]},
        {"mean_log_diameter": "x"},
        {"mean_style": [[1.0, 2.0]]},
    ],
)
def test_files_that_hold_no_size_model_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "size.json"
    write_size_model(SizeModel(np.ones(2), np.ones(2), 3.0, (5.0, 50.0)), path)
    entries = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(entries | changes), "utf-8")
    with pytest.raises(OptionError, match="size model"):
        read_size_model(path)
    path.unlink()
    with pytest.raises(OptionError, match="size model"):
        read_size_model(path)


def test_styles_of_views_tell_the_diameter() -> None:
    """Discs in grids: how much of a picture is outline says their size, whatever the view."""
    rng = np.random.default_rng(2)
    train, test = ([make_discs(diameter) for diameter in sizes] for sizes in ((10, 16, 26, 40, 60), (12, 50)))
    empty = replace(train[0], labels=0 * train[0].labels, areas=np.array([160_000]))
    styles, diameters = see_views([*train, empty], see_outlines, 8, rng)
    assert styles.shape == (40, 2)
    assert diameters.max() / diameters.min() > 10
    model = fit_size_model(styles, diameters, 1e-3)
    errors = ratio_errors(model, *see_views(test, see_outlines, 5, rng))
    assert np.median(errors) < 1.25
    constant = replace(model, slopes=np.zeros(2))
    assert np.median(ratio_errors(constant, *see_views(test, see_outlines, 5, rng))) > 1.5


def train_nothing(folder: Path) -> Recipe:
    """Keep a checkpoint of a tiny network with random weights."""
    path = folder / "tiny.toml"
    path.write_text("[network]\nkind = 'cellpose'\nwidth = 0.125\n", "utf-8")
    recipe = read_recipe(str(path))
    torch.manual_seed(3)
    state = Training(recipe, folder / "runs", torch.device("cpu"))
    state.anchors = np.zeros((0, 2), np.float32)
    state.save()
    return recipe


def test_the_command_enters_the_model_into_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    for name in ("images", "labels"):
        (data / name).mkdir(parents=True)
    for diameter in (20, 40):
        sample = make_discs(diameter)
        cv2.imwrite(str(data / "images" / f"{diameter}.png"), sample.image)
        tifffile.imwrite(data / "labels" / f"{diameter}_label.tiff", sample.labels)
    weights = tmp_path / "weights"
    export(train_nothing(tmp_path), tmp_path / "runs", data, weights)
    assert read_card("tiny", weights).size_model is None
    folders = ["--data", str(data), "--val", str(data), "--weights", str(weights), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["training.size_model", "tiny", *folders, "--views", "2"])
    main()
    card = read_card("tiny", weights)
    assert card.scale_rule == "size model"
    assert card.size_model is not None
    assert card.size_model.slopes.size == 32
    assert 5 < card.size_model.diameter_px(card.size_model.mean_style) < 90
    write_size_model(replace(card.size_model, mean_log_diameter=1.0), weights / "tiny-size.json")
    with pytest.raises(OptionError, match=r"tiny-size.json is not the file that its card describes"):
        read_card("tiny", weights)
    (weights / "tiny-size.json").unlink()
    with pytest.raises(OptionError, match="cannot read the size model"):
        read_card("tiny", weights)
