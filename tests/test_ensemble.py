"""Ensembles: the mean of models and scales, computed tile by tile, the same in any batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.branches import predict_raw
from mosaicell.errors import OptionError
from mosaicell.networks.ensemble import average_answers
from mosaicell.networks.manifest import read_card
from mosaicell.networks.raw import Outputs, RunModel
from mosaicell.networks.session import Session
from tests.models import write_channel_model
from tests.test_stardist import make_card
from tests.toys import write_weights


class Model:
    """Answers with its input times a factor, and remembers what it saw."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.seen: list[tuple[int, ...]] = []

    def run(self, batch: np.ndarray) -> Outputs:
        """Answer one map for each channel."""
        self.seen.append(batch.shape)
        return (batch * np.float32(self.factor),)


def constant_box(batch: np.ndarray) -> Outputs:
    return batch, np.ones((len(batch), 3, 5), np.float32)


def test_one_model_at_its_own_scale_is_that_model() -> None:
    run: RunModel = Model(1).run
    assert average_answers([run], (1.0,), 32) is run


def test_answers_are_the_mean_over_models_and_scales(rng: np.random.Generator) -> None:
    """A picture without detail comes back from every scale as it was."""
    models = [Model(factor) for factor in (1.0, 4.0)]
    batch = np.broadcast_to(rng.random((2, 3, 1, 1), np.float32), (2, 3, 128, 128)).copy()
    (mean,) = average_answers([model.run for model in models], (1.0, 1.25, 1.5), 32)(batch)
    np.testing.assert_allclose(mean, 2.5 * batch, rtol=1e-5)
    for model in models:
        assert model.seen == [(2, 3, side, side) for side in (128, 160, 192)]
    # what goes in is not changed
    assert (batch == batch[:, :, :1, :1]).all()


def test_tiles_are_resized_to_sides_that_networks_take() -> None:
    model = Model(1)
    (mean,) = average_answers([model.run], (1.3, 0.1), 32)(np.zeros((1, 3, 64, 160), np.float32))
    # 83.2 and 208 px, 6.4 and 16 px
    assert model.seen == [(1, 3, 96, 192), (1, 3, 32, 32)]
    assert mean.shape == (1, 3, 64, 160)


def test_a_resized_answer_lies_where_the_tile_shows_it() -> None:
    y, x = np.mgrid[:64, :64].astype(np.float32)
    batch = np.stack([y, x, x])[None]
    (mean,) = average_answers([Model(1).run], (1.5,), 32)(batch)
    np.testing.assert_allclose(mean[..., 2:-2, 2:-2], batch[..., 2:-2, 2:-2], atol=1e-3)


def test_the_batch_does_not_change_the_answer(rng: np.random.Generator) -> None:
    run = average_answers([Model(1).run, Model(2).run], (1.0, 1.5), 32)
    batch = rng.random((3, 3, 32, 64), np.float32)
    (together,) = run(batch)
    np.testing.assert_array_equal(together, np.concatenate([run(batch[k : k + 1])[0] for k in range(3)]))


def test_other_outputs_than_maps_are_averaged_but_not_resized() -> None:
    batch = np.zeros((2, 3, 32, 32), np.float32)
    _, boxes = average_answers([constant_box, constant_box], (1.0,), 32)(batch)
    np.testing.assert_array_equal(boxes, np.ones((2, 3, 5)))
    with pytest.raises(ValueError, match=r"an output \(2, 3, 5\) is no map of 64 x 64 px"):
        average_answers([constant_box], (1.0, 2.0), 32)(batch)


@pytest.mark.parametrize("window_px", [640, 96])
def test_an_ensemble_of_sessions_is_tiled_as_one_model(
    window_px: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Two models that answer other channels: the blended maps are the mean of theirs."""
    runs = [
        Session(write_channel_model(tmp_path / f"{name}.onnx", channels), "cpu", 1, 1.0).run
        for name, channels in (("one", (0, 1, 2)), ("two", (2, 1, 0)))
    ]
    card = replace(make_card(window_px), kind="hover")
    image = rng.random((3, 150, 170), np.float32)
    raw = predict_raw(image, card, average_answers(runs, (1.0,), 32), 2, 1.0)
    np.testing.assert_allclose(raw.maps, (image + image[::-1]) / 2, atol=1e-5)


def test_a_card_names_companions_and_scales(tmp_path: Path) -> None:
    folder = write_weights(tmp_path / "weights")
    assert (read_card("awf-grey", folder).companions, read_card("awf-grey", folder).scales) == ((), (1.0,))
    cards = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))

    def read(**ensemble: object) -> tuple[tuple[str, ...], tuple[float, ...]]:
        changed = cards | {"awf-grey": cards["awf-grey"] | {"ensemble": ensemble}}
        (folder / "manifest.json").write_text(json.dumps(changed), encoding="utf-8")
        card = read_card("awf-grey", folder)
        return card.companions, card.scales

    assert read(companions=["awf-fluorescence"], scales=[1, 1.5]) == (("awf-fluorescence",), (1, 1.5))
    wrong: dict[str, dict[str, object]] = {
        r"no model 'other'": {"companions": ["other"], "scales": [1]},
        r"a awf; its companion 'omnipose-grey' is a omnipose": {"companions": ["omnipose-grey"], "scales": [1]},
        r"ensemble.scales; allowed is a list of numbers from 0.1 to 10": {"companions": [], "scales": [0]},
        r"ensemble.companions; allowed is a list of texts": {"companions": [1], "scales": [1]},
        r"no entry ensemble.scales": {"companions": []},
    }
    for message, ensemble in wrong.items():
        with pytest.raises(OptionError, match=message):
            read(**ensemble)
