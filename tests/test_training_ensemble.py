"""Cards of ensembles: entered beside those of their members, with thresholds and diameters of their own that stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_card, read_manifest
from mosaicell.training.ensemble import main, write_ensemble
from mosaicell.training.export import write_manifest
from mosaicell.training.tune import write_decoder
from tests.toys import write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


def test_the_command_enters_a_card_that_can_be_read(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_manifest(weights)
    command = ["ensemble", "both", "awf-grey", "awf-fluorescence", "--scales", "1", "1.5", "--weights", str(weights)]
    monkeypatch.setattr("sys.argv", command)
    main()
    card, lead = read_card("both", weights), read_card("awf-grey", weights)
    assert (card.companions, card.scales) == (("awf-fluorescence",), (1.0, 1.5))
    assert (card.path, card.sha256, card.settings) == (lead.path, lead.sha256, lead.settings)
    assert {name: entry for name, entry in read_manifest(weights).items() if name != "both"} == before


def test_thresholds_that_were_chosen_for_the_ensemble_stay(weights: Path) -> None:
    write_ensemble("both", ["awf-grey", "awf-fluorescence"], [1.0], weights)
    tuned = {**read_card("both", weights).settings, "e1": 0.6}
    write_decoder("both", tuned, weights)
    write_ensemble("both", ["awf-grey", "awf-brightfield"], [1.0, 2.0], weights)
    card = read_card("both", weights)
    assert (card.settings, card.companions, card.scales) == (tuned, ("awf-brightfield",), (1.0, 2.0))
    assert read_card("awf-grey", weights).settings["e1"] != 0.6


def test_diameters_that_were_chosen_for_the_ensemble_stay_but_not_the_scale_rule(weights: Path) -> None:
    write_ensemble("both", ["awf-grey", "awf-fluorescence"], [1.0], weights)
    cards = read_manifest(weights)
    cards["both"]["cell_size"] = {"diameter_range_px": [7.0, 9.0], "diameter_target_px": 8.0, "scale_rule": "full size"}
    write_manifest(weights, cards)
    lead = read_card("awf-grey", weights)
    assert lead.scale_rule != "full size"
    write_ensemble("both", ["awf-grey", "awf-fluorescence"], [1.0], weights)
    card = read_card("both", weights)
    assert (card.diameter_range_px, card.diameter_target_px) == ((7.0, 9.0), 8.0)
    assert card.scale_rule == lead.scale_rule


@pytest.mark.parametrize(
    ("name", "members", "scales", "message"),
    [
        ("awf-grey", ["awf-grey", "omnipose"], [1.0], "cannot be one of its members"),
        ("new", ["awf-grey", "omnipose"], [1.0], "of one kind, got awf, omnipose"),
        ("new", ["awf-grey", "other"], [1.0], "no model 'other'"),
        ("new", ["both", "awf-grey"], [1.0], "'both' is an ensemble"),
        ("new", ["awf-grey"], [], "allowed are some"),
        ("new", ["awf-grey"], [1.0, 0.05], "from 0.1 to 10"),
    ],
)
def test_what_cannot_be_averaged_is_refused(
    name: str, members: list[str], scales: list[float], message: str, weights: Path
) -> None:
    write_ensemble("both", ["awf-grey", "awf-fluorescence"], [1.0], weights)
    before = read_manifest(weights)
    with pytest.raises(OptionError, match=message):
        write_ensemble(name, members, scales, weights)
    assert read_manifest(weights) == before
