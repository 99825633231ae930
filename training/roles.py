"""Let models stand for those that a system names: python -m training.roles awf-grey=fold-a omnipose=fold-a-omnipose.

The folder that is written is one for `--weights` of the program. A model may have several roles; its file is there
once.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_manifest
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.export import write_manifest
from mosaicell.writing.parts import write_whole

log = logging.getLogger("training")


def write_roles(folder: Path, weights: Path, models: Mapping[str, str], terms: str = "") -> None:
    """Write a folder of weights in which models have the names by which a system looks for them.

    Parameters
    ----------
    folder
        Is made where it is missing; models there with other names stay.
    weights
        Folder with the models.
    models
        Their names by those that they are to have.
    terms
        What the cards say of the images that the models were trained on; empty for what they say already.

    Raises
    ------
    OptionError
        When there is no such model, or one that is more than a file and its card.
    """
    known = read_manifest(weights)
    for model in models.values():
        if model not in known or "file" not in known[model]:
            raise OptionError(f"{weights} has no model {model} of one file")
        if not (weights / known[model]["file"]).is_file():
            raise OptionError(f"{weights / known[model]['file']}, the model {model}, is missing")
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted({known[model]["file"] for model in models.values()}):
        with write_whole(folder / name) as part:
            shutil.copyfile(weights / name, part)
    cards = read_manifest(folder) if (folder / "manifest.json").exists() else {}
    for role, model in models.items():
        cards[role] = known[model] | ({"data": terms} if terms else {})
    write_manifest(folder, cards)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.roles", description=__doc__)
    parser.add_argument("roles", nargs="+", metavar="ROLE=MODEL", help="the name that a model is to have")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the models")
    parser.add_argument("--terms", default="", help="what the cards say of the images that were trained on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of weights that gets them")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        pairs = [text.partition("=") for text in arguments.roles]
        for role, equals, model in pairs:
            if not (role and equals and model):
                raise OptionError(f"{role}{equals}{model} is not ROLE=MODEL")
        write_roles(arguments.output, arguments.weights, {role: model for role, _, model in pairs}, arguments.terms)
        log.info("%s", arguments.output)


if __name__ == "__main__":
    main()
