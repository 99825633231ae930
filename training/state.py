"""The state of a training: network, averaged network and optimiser, from where they begin to the next step."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import Card, read_models
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.networks.awf import AWF
from mosaicell.training.recipe import Recipe, checkpoint_path, read_recipe
from mosaicell.training.restart import (
    find_body,
    is_head,
    load_exported_weights,
    pick_channels,
    unfold_batch_norm,
    widen,
    without_unused,
)
from mosaicell.training.sampling import Batch
from mosaicell.writing.parts import write_whole

#: Nesterov's, of stochastic gradient descent
MOMENTUM = 0.9
log = logging.getLogger("training")


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
            self._start(read_recipe(recipe.start_from), runs, weights)
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

    def _start(self, parent: Recipe, runs: Path, weights: Path) -> None:
        """Take the weights of another recipe, into a network of that one's width first where this one is wider."""
        first, network = self.recipe, self.network
        if isinstance(network, AWF) and self.recipe.width > parent.width:
            first = replace(self.recipe, width=parent.width)
            network = first.build_network().to(self.device)
        path = checkpoint_path(runs, parent.name)
        if path.exists():
            ours, theirs = first.describe_body(), parent.describe_body()
            if ours != theirs:
                raise OptionError(f"{self.recipe.name!r} ({ours}) cannot start from {parent.name!r} ({theirs})")
            self._start_from_checkpoint(parent, path, network)
        else:
            self._start_from_exported(parent, weights, network)
        if network is not self.network:
            widen(network, self.network)
        self.average.load_state_dict(self.network.state_dict())

    def _start_from_checkpoint(self, parent: Recipe, path: Path, network: nn.Module) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        body = self._find_body(network, parent.kind)
        initial = body.state_dict()
        stored = without_unused(body, state["average"])
        weights = {k: v for k, v in stored.items() if k in initial or not is_head(k)}
        weights |= {k: v for k, v in initial.items() if k not in weights and is_head(k)}
        for key in {"pixels.weight", "pixels.bias"} & set(initial):
            channels = (parent.pixel_channels, self.recipe.pixel_channels)
            weights[key] = pick_channels(initial[key], weights[key], *channels, self.kind.substitutes)
        body.load_state_dict(weights)
        self._take_anchors(state["anchors"])
        log.info("started from %s, step %d", path, state["step"])

    def _start_from_exported(self, parent: Recipe, folder: Path, network: nn.Module) -> None:
        try:
            card = read_models((parent.name,), folder)[parent.name]
        except OptionError as error:
            raise OptionError(
                f"{self.recipe.name!r} starts from {parent.name!r}: train that first ({error})"
            ) from error
        heads = None
        # what is a part of a system as it is, has no settings and the weights of a body alone
        body = find_body(network)
        if isinstance(card, Card):
            body = self._find_body(network, card.kind)
            if card.detection and body is network:
                heads = read_models((card.detection.heads,), folder)[card.detection.heads].path
        channels = parent.load_kind().channels, self.recipe.pixel_channels
        anchors = load_exported_weights(body, card.path, *channels, self.kind.substitutes, heads)
        self._take_anchors(torch.zeros(0, 2) if anchors is None else anchors)
        self.folded = True
        log.info("started from %s", card.path)

    def _find_body(self, network: nn.Module, kind: str) -> nn.Module:
        """Return what takes the weights of a model of a kind."""
        return network if kind == self.recipe.kind else find_body(network)

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
