"""Start a training from an exported model, whose batch normalisation is folded into its convolutions.

A training cannot go on without that normalisation. It is put back with the statistics that the convolutions show on
crops, scaled and shifted such that the network answers as it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from mosaicell.errors import OptionError
from mosaicell.training.networks.body import HEADS

PREFIXES, HALF = ("network.", "detector."), "_half"
#: standard deviation of what a weight's shares among equal channels differ by, of an equal share
UNEVENNESS = 0.5


@dataclass(frozen=True)
class Substitute:
    """What a new channel's outputs are at first: those of `channel` times `factor`, plus `offset`."""

    channel: str
    factor: float
    offset: float


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises
    ------
    OptionError
        When it cannot be read.
    """
    try:
        return onnx.load(path)
    except Exception as error:
        # onnx passes on what its parser of protocol buffers raises, which has no common base
        raise OptionError(f"{path} is not an ONNX file: {error}") from error


def load_exported_weights(
    network: nn.Module,
    path: Path,
    stored: tuple[str, ...],
    wanted: tuple[str, ...],
    substitutes: Mapping[str, Substitute] | None = None,
    heads: Path | None = None,
) -> Tensor | None:
    """Load a model of training/export.py into a network; its batch normalisations then only add the biases.

    Parameters
    ----------
    network
        With the same body. Heads that the file lacks, and pixel channels that it does not have, stay as they are.
    path
        The ONNX file.
    stored, wanted
        Names of the pixel channels, in order, in the file and in the network.
    substitutes
        By wanted channel, for those that are not stored.
    heads
        The ONNX file of the heads that look at boxes again, of a detector.

    Returns
    -------
    Anchors (a, 2) in px, None when the file has no detection head.

    Raises
    ------
    OptionError
        When the file cannot be read or holds another network.
    """
    files = [path] if heads is None else [path, heads]
    tensors = [tensor for file in files for tensor in read_model(file).graph.initializer]
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
    weights = {
        name.partition(".")[2].removesuffix(HALF): torch.from_numpy(array.astype(np.float32))
        for name, array in arrays.items()
        if name.startswith(PREFIXES)
    }
    state = network.state_dict()
    folded = {id(values) for _, norm in normalised_pairs(network) for values in norm.parameters()}
    lacking = {name for name, values in network.named_parameters() if not is_head(name) and id(values) not in folded}
    for name, values in without_unused(network, weights).items():
        target = name
        if name.startswith("pixels.") and name in state:
            values = pick_channels(state[name], values, stored, wanted, substitutes)
        elif name not in state and name.endswith(".0.bias"):
            target = name.removesuffix(".0.bias") + ".1.bias"
        if is_head(name) and target not in state:
            continue
        if target not in state or state[target].shape != values.shape:
            raise OptionError(f"{path} holds another network: {name} {tuple(values.shape)} does not fit")
        state[target] = values
        lacking.discard(target)
    if lacking:
        raise OptionError(f"{path} holds another network: it lacks {', '.join(sorted(lacking))}")
    network.load_state_dict(state)
    for _, norm in normalised_pairs(network):
        nn.init.ones_(norm.weight)
        norm.running_mean.zero_()  # type: ignore[union-attr]
        norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
    return find_anchors(arrays)


def find_anchors(arrays: Mapping[str, np.ndarray]) -> Tensor | None:
    """Return the anchors (a, 2) in px among the arrays of an exported model, None where it has none.

    AWF's stand in one array; a detector has half of those of each level in one, the smallest level first.
    """
    plain = [array for name, array in arrays.items() if not name.startswith(PREFIXES) and array.shape[-1:] == (2,)]
    whole = [array.reshape(-1, 2) for array in plain if array.ndim == 5]
    halves = [2 * array for array in plain if array.ndim == 2]
    return torch.from_numpy(np.concatenate(whole[:1] or halves)) if whole or halves else None


def find_body(network: nn.Module) -> nn.Module:
    """Return the part of a network that takes the weights of a model of another kind: its attribute `body`, or all."""
    part: nn.Module = network.get_submodule(getattr(network, "body", ""))
    return part


def without_unused(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights but for those of parts that a network leaves out, which its attribute `unused` names."""
    unused = getattr(network, "unused", ())
    return {name: values for name, values in weights.items() if name.split(".")[0] not in unused}


def normalised_pairs(network: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Iterate over the convolutions that are followed by a batch normalisation, with it."""
    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1:
            convolution, norm = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield convolution, norm


@torch.no_grad()
def unfold_batch_norm(network: nn.Module, batches: list[Tensor]) -> None:
    """Give the normalisations of a network from `load_exported_weights` the statistics of its convolutions.

    Parameters
    ----------
    network
        Answers the same afterwards in eval mode, and as nearly as a batch represents all of them in train mode.
    batches
        Images (b, 3, h, w) as the training shows them; a hundred crops are enough.
    """
    network.eval()
    norms = [norm for _, norm in normalised_pairs(network)]
    sums = {norm: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        assert isinstance(norm, nn.BatchNorm2d)
        sums[norm] += torch.stack((values.mean((0, 2, 3)), values.square().mean((0, 2, 3)))).cpu()

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    for images in batches:
        network(images)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, square = sums[norm] / len(batches)
        variance = (square - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean.to(norm.bias))


@torch.no_grad()
def widen(narrow: nn.Module, wide: nn.Module) -> None:
    """Give a network the weights of one with fewer channels, such that it answers the same.

    Every channel becomes several that are alike; what reads them shares its weights among them, unevenly, as equal
    ones would have equal gradients for ever. Net2Net (Chen et al. 2016) copies channels so, at random ones.

    Parameters
    ----------
    narrow, wide
        AWF networks; the wide one has a whole number of times the channels. Not every network would answer the same:
        transposed and grouped convolutions, attention, and a style of length 1 tell copies from more of the same.

    Raises
    ------
    OptionError
        When a layer has not.
    """
    state = wide.state_dict()
    for name, values in narrow.state_dict().items():
        shape = state[name].shape
        times = [new // old for new, old in zip(shape, values.shape, strict=True)]
        if any(new != old * factor for new, old, factor in zip(shape, values.shape, times, strict=True)):
            raise OptionError(f"{name} {tuple(values.shape)} cannot be widened to {tuple(shape)}: no multiple")
        for axis, factor in enumerate(times):
            values = values.repeat_interleave(factor, axis)
        if len(times) > 1 and times[1] > 1:
            parts = values.unflatten(1, (-1, times[1]))
            uneven = UNEVENNESS * torch.randn_like(parts)
            values = (parts * (1 + uneven - uneven.mean(2, keepdim=True)) / times[1]).flatten(1, 2)
        state[name] = values
    wide.load_state_dict(state)


def is_head(name: str) -> bool:
    """Say whether the parameter of a network belongs to one of its heads, which not every network has."""
    return name.split(".")[0] in HEADS


def pick_channels(
    initial: Tensor,
    values: Tensor,
    stored: tuple[str, ...],
    wanted: tuple[str, ...],
    substitutes: Mapping[str, Substitute] | None = None,
) -> Tensor:
    """Return the weights, or the biases, of a pixel head for the wanted channels.

    Parameters
    ----------
    initial
        (len(wanted), ...): what a channel keeps that is neither stored nor has a substitute that is.
    values
        (len(stored), ...).
    """
    picked = initial.clone()
    for row, name in enumerate(wanted):
        substitute = (substitutes or {}).get(name)
        if name in stored:
            picked[row] = values[stored.index(name)]
        elif substitute and substitute.channel in stored:
            picked[row] = values[stored.index(substitute.channel)] * substitute.factor
            if values.ndim == 1:
                picked[row] += substitute.offset
    return picked
