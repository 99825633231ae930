"""Anchor boxes clustered from the training boxes."""

from __future__ import annotations

import numpy as np

from mosaicell.errors import OptionError
from mosaicell.training.augment import AugmentOptions, draw_scale
from mosaicell.training.dataset import Sample
from mosaicell.training.sampling import SamplingOptions, draw_weights


def cluster_anchors(
    samples: list[Sample],
    sampling: SamplingOptions,
    augment: AugmentOptions,
    rng: np.random.Generator,
    count: int = 3,
    draws: int = 2000,
) -> np.ndarray:
    """Cluster box sizes as training will see them into `count` anchors.

    Returns
    -------
    float32 (count, 2): height, width in px, smallest area first.

    Raises
    ------
    OptionError
        When no drawn image holds a cell.

    Notes
    -----
    k-means on the logarithm of height and width: what counts for an anchor is the ratio to a box, not the
    difference in px. The same `rng` seed gives the same anchors.
    """
    weights = draw_weights(samples, sampling)
    sizes = []
    for index in rng.choice(len(samples), draws, p=weights):
        sample = samples[index]
        if len(sample.boxes):
            scale = draw_scale(sample.diameter_px, augment, rng)
            picked = sample.boxes[rng.choice(len(sample.boxes), 4)]
            sizes.append((picked[:, 2:] - picked[:, :2]) * scale)
    if not sizes:
        raise OptionError("the training images hold no cell: no anchor can be clustered")
    points = np.log(np.concatenate(sizes))
    centres = np.quantile(points, (np.arange(count) + 0.5) / count, axis=0)
    for _ in range(100):
        nearest = ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        moved = np.array([points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(count)])
        if np.allclose(moved, centres):
            break
        centres = moved
    anchors = np.exp(centres)
    return anchors[np.argsort(anchors.prod(1), kind="stable")].astype(np.float32)
