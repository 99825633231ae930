"""Enter a card for the mean of what models answer: python -m training.ensemble NAME MODEL MODEL --scales 1 1.25 1.5."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_card, read_manifest
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.export import write_manifest

log = logging.getLogger("training")


def write_ensemble(name: str, members: Sequence[str], scales: Sequence[float], folder: Path) -> dict[str, Any]:
    """Enter a card into the manifest of a folder of weights, and return it.

    Parameters
    ----------
    name
        Of the ensemble. Thresholds and diameters that were chosen for an earlier version of it stay.
    members
        Models of one kind; the first one's file, tiles, scale rule and, at first, thresholds and diameters are the
        ensemble's.
    scales
        As in `average_answers`.

    Raises
    ------
    OptionError
        When the name is a member's, a member is missing, is an ensemble itself or of another kind than the first, or a
        scale is not from 0.1 to 10; the manifest stays as it was.
    """
    if name in members:
        raise OptionError(f"the ensemble {name!r} cannot be one of its members")
    kinds = []
    for member in members:
        card = read_card(member, folder)
        if card.companions:
            raise OptionError(f"{member!r} is an ensemble; its members can be named")
        kinds.append(card.kind)
    if len(set(kinds)) != 1:
        raise OptionError(f"the models of an ensemble are of one kind, got {', '.join(kinds)}")
    if not scales or not 0.1 <= min(scales) <= max(scales) <= 10:
        raise OptionError(f"scales {list(scales)}; allowed are some from 0.1 to 10")
    cards = read_manifest(folder)
    ensemble = {"companions": list(members[1:]), "scales": list(scales)}
    first = cards[members[0]]
    earlier = cards.get(name, first)
    diameters = {entry: earlier["cell_size"][entry] for entry in ("diameter_range_px", "diameter_target_px")}
    cards[name] = first | {
        "cell_size": first["cell_size"] | diameters,
        "decoder": earlier["decoder"],
        "ensemble": ensemble,
        "training": {"mean_of": list(members)},
    }
    write_manifest(folder, cards)
    return cards[name]


def list_members(folder: Path, name: str) -> tuple[str, ...]:
    """Name the models of which one in a folder of weights is the mean; itself, if it is a network or a detector."""
    card = read_manifest(folder)[name]
    return tuple(card["training"]["mean_of"]) if "ensemble" in card and "detection" not in card else (name,)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.ensemble", description=__doc__)
    parser.add_argument("name", help="of the ensemble")
    parser.add_argument("members", nargs="+", help="models in the manifest, the first one leads")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0], help="default: 1")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder whose manifest is changed")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        card = write_ensemble(arguments.name, arguments.members, arguments.scales, arguments.weights)
        log.info("%s: mean of %s at %s", arguments.name, ", ".join(arguments.members), card["ensemble"]["scales"])


if __name__ == "__main__":
    main()
