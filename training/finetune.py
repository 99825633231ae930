"""Fine-tune a model to one's own labelled images: python -m training.finetune --images DIR -o MYWEIGHTS."""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_card, read_manifest
from mosaicell.options import SYSTEM_NAMES, WEIGHTS_FOLDER, find_weights
from mosaicell.segmenter import Segmenter
from mosaicell.systems import load_system
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.ensemble import list_members
from mosaicell.training.export import export
from mosaicell.training.own_images import (
    MIN_GAIN,
    Answer,
    OwnImage,
    Scores,
    answer_all,
    choose_share,
    hold_out,
    lay_out,
    mean_fit,
)
from mosaicell.training.pairs import Pair, find_pairs
from mosaicell.training.recipe import Recipe, read_recipe, with_hours
from mosaicell.training.train import read_device, train
from mosaicell.training.weights_folder import copy_weights, write_mixed

#: fewer leave nothing to train on once one is kept to compare on
LEAST_IMAGES = 3
#: what differs from the recipe that the model was trained by: few images, and a start that already knows cells. A third
#: of the crops stays drawn, so that the model does not forget what other images look like
FOR_FEW_IMAGES = (
    "schedule.learning_rate = 5e-4",
    "schedule.warmup_steps = 30",
    "schedule.ema_decay = 0.99",
    "sampling.source_power = 1.0",
    "sampling.modality_weights = {}",
    "sampling.held_out = []",
    "sampling.classes = []",
    "sampling.synthetic_fraction = 0.25",
    "sampling.empty_fraction = 0.08",
)
#: of the new weights in their mean with the old ones
SHARES = (1.0, 0.7, 0.4)
#: a line about the training every so many seconds
LOG_EVERY_S = 10.0
#: that the export takes, and part of the time that is always trained
EXPORT_S, LEAST_TRAINED = 15.0, 0.5
log = logging.getLogger("training")


@dataclass(frozen=True)
class Wishes:
    """What the user asked for.

    Attributes
    ----------
    model
        Name of the model to fine-tune; empty for the one that most images are given to first.
    system
        Whose answers count; empty for the first that asks the model, or the default.
    minutes
        For everything.
    weights
        Folder of the models to start from.
    settings
        Changes of the recipe, as in `read_recipe`.
    """

    model: str = ""
    system: str = ""
    minutes: float = 20.0
    weights: Path = WEIGHTS_FOLDER
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a fine-tuning.

    Attributes
    ----------
    share
        Of the new weights in the model that is kept; 0 for the old model.
    images, held_out
        Names of all that the model looks at, and of those that it was not trained on.
    before, after
        F1 of each image at `own_images.THRESHOLDS`.
    """

    model: str
    share: float
    images: list[str]
    held_out: list[str]
    before: list[Scores]
    after: list[Scores]


def finetune(pairs: Sequence[Pair], output: Path, wishes: Wishes) -> Outcome:
    """Fine-tune a model, and write all weights with the better of the new and the old one into a folder.

    Parameters
    ----------
    pairs
        Labelled images.
    output
        Folder for `--weights`; missing or empty.

    Raises
    ------
    OptionError
        When fewer than `LEAST_IMAGES` images can be used, there is no such model, or the output holds something.
    """
    started_s = time.monotonic()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OptionError(f"{output} is there already: give a folder that is new or empty")
    system = choose_system(wishes)
    _check_count(len(pairs))
    images = [OwnImage(pair) for pair in pairs]
    log.info("%d labelled images, before the training:", len(images))
    first_s = time.monotonic()
    segmenter = _open(wishes.weights, system, wishes.device)
    model, images, before = _keep_asked(wishes.model, wishes.weights, images, answer_all(images, segmenter))
    per_image_s = (time.monotonic() - first_s) / len(pairs)
    kept = hold_out([answer.fit for answer in before])
    held_out, trained = _split(images, kept)
    log.info("%s learns from %d images; kept to compare on: %s", model, len(trained), _name(held_out))
    ahead_s = per_image_s * (len(SHARES) * len(held_out) + len(trained)) + EXPORT_S
    budget_s = max(60 * wishes.minutes - (time.monotonic() - started_s) - ahead_s, LEAST_TRAINED * 60 * wishes.minutes)
    with tempfile.TemporaryDirectory(prefix="mosaicell-finetune-") as work:
        folders = _learn(make_recipe(model, wishes.settings, budget_s), trained, wishes, Path(work))
        tried: dict[float, list[Answer]] = {}
        for share, folder in folders.items():
            log.info("%.0f %% of the new weights, %.0f %% of the old:", 100 * share, 100 * (1 - share))
            tried[share] = answer_all(held_out, _open(folder, system, wishes.device))
        old = mean_fit(before[index] for index in kept)
        share = choose_share(old, {share: mean_fit(answers) for share, answers in tried.items()})
        after = before
        if share:
            log.info("images that it learned from:")
            learned = iter(answer_all(trained, _open(folders[share], system, wishes.device)))
            fresh = iter(tried[share])
            after = [next(fresh if index in kept else learned) for index in range(len(images))]
        copy_weights(folders[share] if share else wishes.weights, output)
    names = [image.name for image in images]
    scores = ([answer.scores for answer in answers] for answers in (before, after))
    return Outcome(model, share, names, [names[index] for index in kept], *scores)


def _learn(recipe: Recipe, images: Sequence[OwnImage], wishes: Wishes, work: Path) -> dict[float, Path]:
    """Train a model; return folders of weights by the share of its new version."""
    data = lay_out(images, work / "data")
    folders = (data, work / "runs", work / "cache")
    train(recipe, *folders, wishes.device, weights=wishes.weights, log_every_s=LOG_EVERY_S)
    new = export(recipe, work / "runs", data, work / "new")
    made = read_manifest(work / "new")[recipe.name]["training"]
    mixed = {share: work / f"{share:g}" for share in SHARES}
    for share, folder in mixed.items():
        write_mixed(folder, wishes.weights, recipe.name, new, share, made)
    return mixed


def choose_system(wishes: Wishes) -> str:
    """Name the system whose answers count.

    Raises
    ------
    OptionError
        When no system asks for the model, or that one does not, or it is no single network that segments.
    """
    if not wishes.model:
        return wishes.system or SYSTEM_NAMES[0]
    card = read_card(wishes.model, wishes.weights)
    if card.companions or len(card.scales) > 1:
        raise OptionError(f"{wishes.model!r} is a mean of several models: fine-tune one of them")
    if card.detection:
        raise OptionError(f"{wishes.model!r} is a detector with parts of its own: train it on with a recipe")
    systems = [name for name in SYSTEM_NAMES if wishes.model in load_system(name).models]
    if not systems or wishes.system not in ("", *systems):
        asked = wishes.system or "any system"
        raise OptionError(f"{wishes.model!r} is not asked by {asked}; asked by: {', '.join(systems) or 'none'}")
    return wishes.system or systems[0]


def make_recipe(model: str, settings: Sequence[str], budget_s: float) -> Recipe:
    """Return the recipe by which a model learns from few images: that of its name, started from the model itself."""
    start = f'network.start_from = "{model}"'
    recipe = read_recipe(model, [*FOR_FEW_IMAGES, "schedule.steps = 0", start, *settings])
    return recipe if recipe.schedule.steps else with_hours(recipe, budget_s / 3600)


def _open(weights: Path, system: str, device: torch.device) -> Segmenter:
    # beside a torch for GPUs there may be an onnxruntime without them
    return Segmenter(system, weights=weights, device="cpu" if device.type == "cpu" else "auto")


def _check_count(count: int) -> None:
    if count < LEAST_IMAGES:
        raise OptionError(f"{count} labelled images; at least {LEAST_IMAGES} are needed, one of them to compare on")


def _keep_asked(
    asked: str, weights: Path, images: list[OwnImage], answers: list[Answer]
) -> tuple[str, list[OwnImage], list[Answer]]:
    """Choose the model, and keep the images that it looks at, alone or in an ensemble."""
    looked = [[member for model in answer.models for member in list_members(weights, model)] for answer in answers]
    model = asked or Counter(models[0] for models in looked).most_common(1)[0][0]
    chosen = [(i, a) for i, a, models in zip(images, answers, looked, strict=True) if model in models]
    others = [image for image, models in zip(images, looked, strict=True) if model not in models]
    if others:
        log.warning("%s does not look at %s: left out; they need a fine-tuning of their own", model, _name(others))
    _check_count(len(chosen))
    return model, [image for image, _ in chosen], [answer for _, answer in chosen]


def _split(images: list[OwnImage], kept: list[int]) -> tuple[list[OwnImage], list[OwnImage]]:
    return [images[index] for index in kept], [image for index, image in enumerate(images) if index not in kept]


def _name(images: Sequence[OwnImage]) -> str:
    return ", ".join(image.name for image in images)


def log_outcome(outcome: Outcome, output: Path) -> None:
    """Log a table of the images, and what is kept."""
    width = max(map(len, outcome.images))
    log.info("%s  F1 at IoU 0.5: before, after   at IoU 0.7: before, after", "image".ljust(width))
    for name, old, new in zip(outcome.images, outcome.before, outcome.after, strict=True):
        learned = "" if name in outcome.held_out else "   (learned from)"
        log.info("%s  %21.3f  %.3f   %18.3f  %.3f%s", name.ljust(width), old[0], new[0], old[1], new[1], learned)
    if outcome.share:
        log.info(
            "%s is %.0f %% new in %s: use it with --weights %s", outcome.model, 100 * outcome.share, output, output
        )
    else:
        log.warning(
            "no share of the new weights is better by more than %g (mean F1 at all IoU) on the images kept to compare"
            " on: %s holds the old model",
            MIN_GAIN,
            output,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.finetune", description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="images, or a folder with images/ and labels/")
    add("--labels", type=Path, metavar="DIR",
        help="NAME_label.tiff or NAME_masks.tif for each (default: labels/, or beside the images)")  # fmt: skip
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="new folder, for --weights of the program")
    add("--minutes", type=float, default=20.0, help="for everything (default: %(default)g)")
    add("--model", default="", help="the model to fine-tune (default: the one that the system gives most images to)")
    add("--system", choices=SYSTEM_NAMES, default="", help="whose answers count (default: the one that asks the model)")
    add("--weights", type=find_weights, default=WEIGHTS_FOLDER, metavar="DIR|open", help="the models to start from")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    add("--device", type=read_device, default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        if not arguments.minutes > 0:
            raise OptionError(f"--minutes {arguments.minutes} is no time to learn anything in")
        wishes = Wishes(
            arguments.model,
            arguments.system,
            arguments.minutes,
            arguments.weights,
            arguments.device,
            tuple(arguments.set),
        )
        outcome = finetune(find_pairs(arguments.images, arguments.labels), arguments.output, wishes)
        log_outcome(outcome, arguments.output)


if __name__ == "__main__":
    main()
