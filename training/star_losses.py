"""Losses of star-convex polygons (sribdmed paper, section 2.2; Schmidt et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from mosaicell.training.networks.star import RAY_UNIT_PX


@dataclass(frozen=True)
class StarLossWeights:
    """Balance factors. `rays` is for 1 px of mean error.

    The paper has 1, 1 and 0.3 for the object probability, the Dice loss and the error of the rays. It averages that
    error over all pixels and weighs it by the object probability, whose mean is about 0.15: 0.05 for each px of the
    weighted mean error. StarDist has 0.2 for that. `rays` lies between them. The foreground is not in the paper; it
    is for outlines, where polygons are too coarse.
    """

    foreground: float = 1.0
    object_probability: float = 1.0
    dice: float = 1.0
    rays: float = 0.1


def star_loss(
    pixels: Tensor, rays: Tensor, target_pixels: Tensor, target_rays: Tensor, weights: StarLossWeights
) -> dict[str, Tensor]:
    """Cross-entropy on the foreground and the object probability, Dice loss and absolute error of the rays.

    Parameters
    ----------
    pixels, target_pixels
        (b, 2, y, x): foreground and object probability, outputs as logits.
    rays
        (b, r, y/s, x/s) in units of `RAY_UNIT_PX`, from the pixels (0::s, 0::s).
    target_rays
        The same in px.

    Notes
    -----
    Both terms of the rays are means over pixels, weighted by the true object probability as in the published code:
    rays that start near an outline are not asked for when polygons are chosen. The paper's Dice loss takes sums of
    lengths, which is no overlap and has its minimum at no finite length; here its denominator has squares, as in
    V-Net: for each pixel 1 - 2 sum(d d*) / (sum(d^2) + sum(d*^2)), 0 where all rays are right. Squares of rays make up
    the area of a polygon, so this is an overlap of polygons, and a cell counts the same whatever its size.
    """
    pixels, rays = pixels.float(), rays.float()
    truth = target_rays / RAY_UNIT_PX
    entropy = functional.binary_cross_entropy_with_logits(pixels, target_pixels, reduction="none").mean((0, 2, 3))
    stride = target_pixels.shape[-1] // rays.shape[-1]
    shares = target_pixels[:, 1, ::stride, ::stride]
    shares = shares / shares.sum().clamp(min=1)
    overlap = 2 * (rays * truth).sum(1) / (rays.square().sum(1) + truth.square().sum(1)).clamp(min=1e-6)
    error = (rays - truth).abs().mean(1) * RAY_UNIT_PX
    return {
        "foreground": weights.foreground * entropy[0],
        "object_probability": weights.object_probability * entropy[1],
        "dice": weights.dice * ((1 - overlap) * shares).sum(),
        "rays": weights.rays * (error * shares).sum(),
    }
