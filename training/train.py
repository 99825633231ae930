"""Train one recipe within a wall-clock budget: python -m training.train RECIPE --data DIR --hours H."""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from mosaicell.networks.manifest import read_card
from mosaicell.networks.session import available_threads
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.anchors import cluster_anchors
from mosaicell.training.command import add_recipe_options, ends_in_one_sentence
from mosaicell.training.dataset import load_samples
from mosaicell.training.export import export
from mosaicell.training.recipe import Recipe, Schedule, read_recipe, with_hours
from mosaicell.training.sampling import Batch, CropStream
from mosaicell.training.state import Training
from mosaicell.training.validate import log_scores, validate

LOG_EVERY = 50
SAVE_EVERY_S = 180.0
#: batches on which the batch normalisation of an exported model is measured
UNFOLD_BATCHES = 16
#: images of each held-out source that are scored at the end
HELD_OUT_IMAGES = 12
#: on a GPU; each worker keeps scenes of its own, and a dozen keep up with the fastest GPUs
MAX_WORKERS = 12
log = logging.getLogger("training")


def learning_rate(schedule: Schedule, step: int, done: float) -> float:
    """Cosine from the full rate to its final fraction over `progress` 0..1, after a linear warm-up in steps."""
    low = schedule.final_rate_fraction
    cosine = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done))
    return schedule.learning_rate * cosine * min(1.0, (step + 1) / schedule.warmup_steps)


def progress(schedule: Schedule, step: int, elapsed_s: float) -> float:
    """Return the part of the schedule that is over, 1 at its end: of its steps, or of its hours where it has none."""
    done, whole = (step, schedule.steps) if schedule.steps else (elapsed_s, 3600 * schedule.hours)
    return done / whole if done < whole else 1.0


def mean_terms(steps: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Return the mean of each loss term over steps."""
    return {name: torch.stack([terms[name] for terms in steps]).mean().item() for name in steps[0]}


def worker_count(device: torch.device) -> int:
    """Return how many processes cut crops: on a GPU all threads but the one of the loop, at most `MAX_WORKERS`.

    On the CPU the network itself takes the threads, so one process is enough. The crops depend on the count.
    """
    return 1 if device.type == "cpu" else min(max(1, available_threads() - 1), MAX_WORKERS)


def train(
    recipe: Recipe,
    data: Path,
    runs: Path,
    cache: Path,
    device: torch.device,
    *,
    pseudo: Path | None = None,
    weights: Path = WEIGHTS_FOLDER,
    log_every_s: float = 0.0,
) -> Path:
    """Train `recipe` until the end of its schedule, earlier runs included; return the checkpoint.

    An interrupted training keeps what it has reached, and goes on from there when it is started again.

    Parameters
    ----------
    data, pseudo
        Folders in the challenge's layout; the labels of the second are a model's (self-training).
    runs, cache
        Folders for checkpoints and for decoded images.
    weights
        Folder of the exported model that the recipe starts from, where that has no checkpoint.
    log_every_s
        Seconds between two lines about the losses; with 0 every `LOG_EVERY` steps have one.

    Raises
    ------
    OptionError
        When the images cannot be used, or the training that the recipe starts from is missing.
    """
    # OpenCV's threads do not survive the fork of the worker processes, which then wait for them forever
    cv2.setNumThreads(1)
    samples = load_samples(data, cache)
    if pseudo:
        samples += [replace(sample, pseudo=True) for sample in load_samples(pseudo, cache)]
    seed = recipe.schedule.seed
    torch.manual_seed(seed)
    state = Training(recipe, runs, device, weights)
    if state.anchors is None:
        state.anchors = cluster_anchors(
            samples, recipe.sampling, recipe.augment, np.random.default_rng(seed), recipe.anchors or 3
        )
    log.info("%d images, anchors (height, width in px) %s", len(samples), np.round(state.anchors, 1).tolist())
    size = recipe.schedule.batch_size
    stream = CropStream(samples, recipe.sampling, recipe.augment, recipe.make_targets, size, (seed, state.step))
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=worker_count(device),
        prefetch_factor=4,
        # pinned memory is copied to a GPU while that computes
        pin_memory=device.type == "cuda",
    )
    batches = iter(loader)
    schedule = recipe.schedule
    before_s, start_s = state.elapsed_s, time.monotonic()
    saved_s = logged_s = start_s
    recent: list[dict[str, torch.Tensor]] = []
    if state.folded:
        state.unfold(_draw_first(batches, log_every_s))
    state.network.train()
    try:
        while (done := progress(schedule, state.step, state.elapsed_s)) < 1:
            rate = learning_rate(schedule, state.step, done)
            batch = next(batches)
            terms, crops = state.update(batch, rate)
            if crops is not None:
                stream.note_losses(batch.indices, crops)
            recent.append(terms)
            now_s = time.monotonic()
            state.elapsed_s = before_s + now_s - start_s
            if now_s - logged_s >= log_every_s if log_every_s else state.step % LOG_EVERY == 0:
                means = " ".join(f"{name} {mean:.3f}" for name, mean in mean_terms(recent).items())
                used = f"step {state.step}, {state.elapsed_s:.0f} s, {done:.0%}"
                log.info("%s, rate %.1e: %s", used, rate, means)
                recent, logged_s = [], now_s
            if now_s - saved_s > SAVE_EVERY_S:
                state.save()
                saved_s = now_s
    finally:
        # Ctrl-C too: the hours since the last save are worth more than the step that is cut short
        state.save()
    return state.path


def _draw_first(batches: Iterator[Batch], log_every_s: float) -> list[torch.Tensor]:
    """Return the crops on which batch normalisation is measured; where scenes are drawn they take a while."""
    images: list[torch.Tensor] = []
    said_s = time.monotonic()
    while len(images) < UNFOLD_BATCHES:
        images.append(next(batches).images)
        if log_every_s and time.monotonic() - said_s >= log_every_s:
            said_s = time.monotonic()
            log.info("crops to begin with: %d of %d batches", len(images), UNFOLD_BATCHES)
    return images


def read_device(text: str) -> torch.device:
    """Read the device that a command is asked for.

    Raises
    ------
    argparse.ArgumentTypeError
        When there is none of this name.
    """
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"device {text!r} is unknown; allowed are cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"device {text!r} is not there: torch finds {torch.cuda.device_count()} GPUs")
    return device


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    add_recipe_options(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--pseudo", type=Path, help="folder of the same layout whose labels are a model's")
    parser.add_argument("--val", type=Path, help="validation folder of the same layout, scored at the end")
    parser.add_argument("--hours", type=float, help="wall-clock budget, earlier runs included (default: the recipe's)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for checkpoints")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded images")
    parser.add_argument("--device", type=read_device, default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with ends_in_one_sentence(parser):
        recipe = with_hours(read_recipe(arguments.recipe, arguments.set, arguments.name), arguments.hours)
        folders = (arguments.data, arguments.runs, arguments.cache)
        path = train(recipe, *folders, arguments.device, pseudo=arguments.pseudo)
        log.info("done: %s", path)
        if arguments.val:
            model = export(recipe, arguments.runs, arguments.val, path.parent)
            card = read_card(recipe.name, model.parent)
            log_scores(recipe.name, validate(card, arguments.val))
            if recipe.sampling.held_out:
                scores = validate(card, arguments.data, recipe.sampling.held_out, HELD_OUT_IMAGES)
                log_scores(f"{recipe.name}, held-out sources,", scores)


if __name__ == "__main__":
    main()
