"""Train one recipe within a wall-clock budget: python -m training.train RECIPE --data DIR --hours H."""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import Card, read_card, read_models
from mosaicell.networks.session import available_threads
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.anchors import cluster_anchors
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.dataset import load_samples
from mosaicell.training.export import export
from mosaicell.training.recipe import Recipe, Schedule, checkpoint_path, read_recipe, with_hours
from mosaicell.training.restart import (
    find_body,
    is_head,
    load_exported_weights,
    pick_channels,
    unfold_batch_norm,
    without_unused,
)
from mosaicell.training.sampling import Batch, CropStream
from mosaicell.training.validate import log_scores, validate
from mosaicell.writing.parts import write_whole

LOG_EVERY = 50
SAVE_EVERY_S = 180.0
#: batches on which the batch normalisation of an exported model is measured
UNFOLD_BATCHES = 16
#: Nesterov's, of stochastic gradient descent
MOMENTUM = 0.9
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


class Training:
    """State of one training: network, averaged network, optimiser, step and seconds used."""

    def __init__(self, recipe: Recipe, runs: Path, device: torch.device, weights: Path = WEIGHTS_FOLDER) -> None:
        self.recipe = recipe
        self.kind = recipe.load_kind()
        self.device = device
        self.half = computes_bfloat16(device)
        self.path = checkpoint_path(runs, recipe.name)
        # torch's stubs leave out the memory format of a module
        self.network: nn.Module = recipe.build_network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = recipe.build_network().to(device).eval()
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": recipe.schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
            if recipe.schedule.optimizer == "sgd"
            else torch.optim.AdamW(groups)
        )
        self.anchors: np.ndarray | None = None
        #: the weights come from an exported model: `unfold` them before the first step
        self.folded = False
        self.step = 0
        self.elapsed_s = 0.0
        if self.path.exists():
            self._resume()
        elif recipe.start_from:
            parent = read_recipe(recipe.start_from)
            if checkpoint_path(runs, parent.name).exists():
                self._start_from_checkpoint(parent, checkpoint_path(runs, parent.name))
            else:
                self._start_from_exported(parent, weights)
        else:
            self.average.load_state_dict(self.network.state_dict())

    def _resume(self) -> None:
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.anchors = state["anchors"].numpy(force=True)
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        log.info("resumed %s at step %d after %.0f s", self.path, self.step, self.elapsed_s)

    def _start_from_checkpoint(self, parent: Recipe, path: Path) -> None:
        ours, theirs = self.recipe.describe_body(), parent.describe_body()
        if ours != theirs:
            raise OptionError(f"{self.recipe.name!r} ({ours}) cannot start from {parent.name!r} ({theirs})")
        state = torch.load(path, map_location=self.device, weights_only=True)
        body = self._find_body(parent.kind)
        initial = body.state_dict()
        stored = without_unused(body, state["average"])
        weights = {k: v for k, v in stored.items() if k in initial or not is_head(k)}
        weights |= {k: v for k, v in initial.items() if k not in weights and is_head(k)}
        for key in {"pixels.weight", "pixels.bias"} & set(initial):
            channels = (parent.pixel_channels, self.recipe.pixel_channels)
            weights[key] = pick_channels(initial[key], weights[key], *channels, self.kind.substitutes)
        body.load_state_dict(weights)
        self.average.load_state_dict(self.network.state_dict())
        self._take_anchors(state["anchors"])
        log.info("started from %s, step %d", path, state["step"])

    def _start_from_exported(self, parent: Recipe, folder: Path) -> None:
        try:
            card = read_models((parent.name,), folder)[parent.name]
        except OptionError as error:
            raise OptionError(
                f"{self.recipe.name!r} starts from {parent.name!r}: train that first ({error})"
            ) from error
        heads = None
        # what is a part of a system as it is, has no settings and the weights of a body alone
        body = find_body(self.network)
        if isinstance(card, Card):
            body = self._find_body(card.kind)
            if card.detection and body is self.network:
                heads = read_models((card.detection.heads,), folder)[card.detection.heads].path
        channels = parent.load_kind().channels, self.recipe.pixel_channels
        anchors = load_exported_weights(body, card.path, *channels, self.kind.substitutes, heads)
        self._take_anchors(torch.zeros(0, 2) if anchors is None else anchors)
        self.folded = True
        log.info("started from %s", card.path)

    def _find_body(self, kind: str) -> nn.Module:
        """Return what takes the weights of a model of a kind."""
        return self.network if kind == self.recipe.kind else find_body(self.network)

    def _take_anchors(self, anchors: torch.Tensor) -> None:
        """Go on with the anchors of another model, unless this one needs another number of them.

        Without a detection head they are not used, but a checkpoint has them.
        """
        if self.recipe.anchors in (0, len(anchors)):
            self.anchors = anchors.numpy(force=True)

    def unfold(self, batches: list[torch.Tensor]) -> None:
        """Put batch normalisation back into weights from an exported model, measured on batches of crops."""
        images = [batch.to(self.device, memory_format=torch.channels_last) for batch in batches]
        unfold_batch_norm(self.network, images)
        self.average.load_state_dict(self.network.state_dict())
        self.folded = False

    def save(self) -> None:
        """Write the state; an interrupted write leaves the previous one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "anchors": torch.from_numpy(self.anchors),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        with write_whole(self.path) as part:
            torch.save(state, part)

    def update(self, batch: Batch, rate: float) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """One optimisation step; returns the loss terms, and, for mining alone, how hard each crop is (b,).

        The terms stay on the device: to read them would wait for it.
        """
        images = batch.images.to(self.device, non_blocking=True)
        targets = {name: target.to(self.device, non_blocking=True) for name, target in batch.targets.items()}
        anchors = torch.from_numpy(self.anchors).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            answer = self.network(images.to(memory_format=torch.channels_last))
        losses = self.kind.losses(answer, targets, self.recipe, anchors)
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        if torch.isfinite(norm):
            self.optimizer.step()
            self._average()
        self.step += 1
        crops = None
        if self.recipe.sampling.mining_power:
            with torch.no_grad():
                crops = self.kind.crop_losses(answer, targets, self.recipe)
        return {name: value.detach() for name, value in losses.items()}, crops

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.schedule.ema_decay, (self.step + 1) / (self.step + 10))
        current = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def computes_bfloat16(device: torch.device, flags: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether bfloat16 is faster than float32: on GPUs, and on processors that multiply it (AMX, AVX512-BF16).

    On an AMD EPYC with AVX512-BF16 a step of a network took 0.6 times as long, on a processor with AVX-512 alone 1.15
    times, on one with AVX2 ten times.
    """
    if device.type != "cpu":
        return True
    known = flags.read_text(encoding="utf-8").split() if flags.is_file() else []
    return "amx_bf16" in known or "avx512_bf16" in known


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
    parser.add_argument("recipe", help="name in training/recipes or a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--pseudo", type=Path, help="folder of the same layout whose labels are a model's")
    parser.add_argument("--val", type=Path, help="validation folder of the same layout, scored at the end")
    parser.add_argument("--hours", type=float, help="wall-clock budget, earlier runs included (default: the recipe's)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--name", default="", help="of the changed recipe (default: the recipe's)")
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
