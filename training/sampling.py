"""Which image is drawn how often: shares of the sources, hard images, drawn scenes, batches of crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from mosaicell.errors import OptionError
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.dataset import MakeTargets, Sample, draw_crop, empty_sample, synthetic_sample
from mosaicell.training.folder import in_sources
from mosaicell.training.image_classes import CLASSES
from mosaicell.training.synthesis import SCENES

#: side of a drawn scene in px
SCENE_PX = 448
#: a worker keeps this many scenes, and as many fields without cells, to crop again, and draws a new one for this share
#: of the crops of each
MIN_SCENES, MAX_SCENES, NEW_SCENE_FRACTION = 40, 400, 0.15
#: share of the newest crop in the running mean of an image's loss
NEW_LOSS_FRACTION = 0.3
#: bounds of the factor by which mining changes how often an image is drawn: wrong labels are hard too
MINING_RANGE = (0.4, 3.0)
#: index of a crop from a drawn scene
DRAWN = -1


@dataclass(frozen=True)
class SamplingOptions:
    """How often which image is drawn.

    Attributes
    ----------
    source_power
        A source of n images, of `classes` alone, has weight n ** source_power; 1 is by image, 0 gives all sources the
        same share.
    modality_weights
        Extra factor by analysed modality; modalities not named have factor 1.
    held_out
        Names of sources that are not drawn at all, as `Sample.source` or the part before its slash.
    classes
        Low-level classes whose images are drawn, indices into `image_classes.CLASSES`; all when empty. What is drawn by
        training/synthesis.py has none: `synthetic_scenes` choose there.
    mining_power
        An image is drawn in proportion to its mean loss to this power; 0 does not look at the loss.
    pseudo_fraction
        Share of the crops of images that come from those labelled by a model, where there are such.
    synthetic_fraction
        Share of crops drawn by training/synthesis.py.
    synthetic_scenes
        Scene kinds that are drawn, all when empty.
    empty_fraction
        Share of crops of drawn fields without a cell, in addition to `synthetic_fraction`.
    """

    source_power: float = 0.5
    modality_weights: dict[str, float] = field(default_factory=dict)
    held_out: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    mining_power: float = 0.0
    pseudo_fraction: float = 0.0
    synthetic_fraction: float = 0.0
    synthetic_scenes: tuple[str, ...] = ()
    empty_fraction: float = 0.0


class Batch(NamedTuple):
    """Crops for one step.

    Attributes
    ----------
    images
        float32 (b, 3, y, x).
    targets
        By name, float32: maps (b, c, y, x), and rows (n, 1 + k) that begin with the index in the batch, as those of
        "boxes": index, y0, x0, y1, x1 in px.
    indices
        int64 (b,): the image each crop was cut from, `DRAWN` for a drawn scene.
    """

    images: Tensor
    targets: dict[str, Tensor]
    indices: Tensor


def draw_weights(samples: list[Sample], options: SamplingOptions) -> np.ndarray:
    """Return the probability with which each sample is drawn.

    Returns
    -------
    float64 (n,), not negative, of sum 1. Samples labelled by a model share `pseudo_fraction` equally.

    Raises
    ------
    OptionError
        When modality weights, held-out sources and classes leave no sample, or one of the latter two is unknown.
    """
    if set(options.classes) - set(range(len(CLASSES))):
        raise OptionError(f"classes {options.classes}; known are 0 to {len(CLASSES) - 1}: {', '.join(CLASSES)}")
    wanted = np.array([not options.classes or s.low_level_class in options.classes for s in samples])
    unknown = [name for name in options.held_out if not any(in_sources(s.source, (name,)) for s in samples)]
    if unknown:
        raise OptionError(f"held_out names sources without images: {', '.join(unknown)}")
    counts: dict[str, int] = {}
    for sample, is_wanted in zip(samples, wanted, strict=True):
        counts[sample.source] = counts.get(sample.source, 0) + int(is_wanted)
    weights = np.array(
        [
            max(counts[s.source], 1) ** (options.source_power - 1)
            * options.modality_weights.get(s.modality, 1.0)
            * (not s.pseudo and not in_sources(s.source, options.held_out))
            for s in samples
        ]
    )
    weights *= wanted
    if weights.sum() <= 0:
        raise OptionError(
            f"no training image is left by the modality weights {options.modality_weights},"
            f" the held-out sources {options.held_out} and the classes {options.classes}"
        )
    weights /= weights.sum()
    pseudo = np.array([s.pseudo for s in samples]) & wanted
    if pseudo.any():
        weights = (1 - options.pseudo_fraction) * weights + options.pseudo_fraction * pseudo / pseudo.sum()
    return weights


def mine(weights: np.ndarray, losses: np.ndarray, power: float) -> np.ndarray:
    """Return the probabilities with hard images drawn more often.

    Parameters
    ----------
    weights
        (n,) from `draw_weights`.
    losses
        (n,) mean loss of each image, NaN for one that was not drawn yet, which keeps its weight.
    power
        Of the loss relative to the mean over the images.
    """
    known = ~np.isnan(losses)
    if not power or not known.any():
        return weights
    relative = np.where(known, losses, 1.0) / max(float(np.average(losses[known])), 1e-9)
    factors = np.where(known, np.clip(relative**power, *MINING_RANGE), 1.0)
    mined = weights * factors
    return mined / mined.sum()


def join_crops(arrays: Sequence[np.ndarray]) -> Tensor:
    """Stack maps (c, y, x) of crops; put rows (n, k) of them one below the other, each behind the index of its crop."""
    if arrays[0].ndim == 2:
        arrays = [np.column_stack((np.full(len(rows), index, np.float32), rows)) for index, rows in enumerate(arrays)]
        return torch.from_numpy(np.concatenate(arrays))
    return torch.from_numpy(np.stack(arrays))


class CropStream(IterableDataset):
    """Endless stream of `Batch`.

    Each worker process draws from its own generator, seeded by (seed, start step, worker). With mining the crops
    depend on the losses noted so far, and with that on how far a worker is ahead.

    Attributes
    ----------
    losses
        (n,) running mean loss of each sample, NaN before its first crop; shared with the worker processes.
    """

    def __init__(
        self,
        samples: list[Sample],
        sampling: SamplingOptions,
        augment: AugmentOptions,
        make_targets: MakeTargets,
        batch_size: int,
        seed: tuple[int, ...],
    ) -> None:
        self.samples = samples
        self.sampling = sampling
        self.augment = augment
        self.make_targets = make_targets
        self.batch_size = batch_size
        self.seed = seed
        self.weights = draw_weights(samples, sampling)
        self.losses = torch.full((len(samples),), torch.nan).share_memory_()
        self.scenes: list[Sample] = []
        self.fields: list[Sample] = []

    def __iter__(self) -> Iterator[Batch]:
        self.scenes, self.fields = [], []
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((*self.seed, worker.id if worker else 0))
        while True:
            yield self._draw_batch(rng)

    def note_losses(self, indices: Tensor, losses: Tensor) -> None:
        """Enter the losses (b,) of the crops that were cut from the images `indices` (b,)."""
        for index, loss in zip(indices.tolist(), losses.tolist(), strict=True):
            if index != DRAWN:
                old = self.losses[index].item()
                new = loss if np.isnan(old) else old + NEW_LOSS_FRACTION * (loss - old)
                self.losses[index] = new

    def _draw_batch(self, rng: np.random.Generator) -> Batch:
        weights = mine(self.weights, self.losses.numpy().astype(np.float64), self.sampling.mining_power)
        images, targets, indices = [], [], []
        for _ in range(self.batch_size):
            index, sample = self._draw_sample(weights, rng)
            crop, wanted = draw_crop(sample, self.augment, self.make_targets, rng)
            images.append(crop)
            targets.append(wanted)
            indices.append(index)
        joined = {name: join_crops([wanted[name] for wanted in targets]) for name in targets[0]}
        return Batch(torch.from_numpy(np.stack(images)), joined, torch.tensor(indices))

    def _draw_sample(self, weights: np.ndarray, rng: np.random.Generator) -> tuple[int, Sample]:
        chance = rng.random() - self.sampling.empty_fraction
        if chance < 0:
            return DRAWN, _draw_or_reuse(self.fields, lambda: empty_sample(SCENE_PX, rng), rng)
        if chance < self.sampling.synthetic_fraction:
            return DRAWN, _draw_or_reuse(self.scenes, lambda: self._draw_scene(rng), rng)
        index = int(rng.choice(len(self.samples), p=weights))
        return index, self.samples[index]

    def _draw_scene(self, rng: np.random.Generator) -> Sample:
        kinds = self.sampling.synthetic_scenes or SCENES
        return synthetic_sample(kinds[rng.integers(len(kinds))], SCENE_PX, rng)


def _draw_or_reuse(kept: list[Sample], draw: Callable[[], Sample], rng: np.random.Generator) -> Sample:
    """Return a new drawing, which is kept, or one of the last ones: drawing costs ten times as much as cropping."""
    if len(kept) >= MIN_SCENES and rng.random() > NEW_SCENE_FRACTION:
        return kept[rng.integers(len(kept))]
    drawing = draw()
    if len(kept) < MAX_SCENES:
        kept.append(drawing)
    else:
        kept[rng.integers(MAX_SCENES)] = drawing
    return drawing
