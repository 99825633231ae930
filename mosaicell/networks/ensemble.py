"""Ensembles: the mean of what several networks of one kind answer for a batch, at one or several scales.

They are composed below the tiles, as mirrored views are: what tiles, bands and blocks see is one model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mosaicell.networks.raw import Outputs, RunModel
from mosaicell.networks.scale import resize_map


def average_answers(run_models: Sequence[RunModel], scales: Sequence[float], stride_px: int) -> RunModel:
    """Return a model that answers with the mean of what models say about a batch at each scale.

    Parameters
    ----------
    run_models
        All with the same outputs, comparable number by number.
    scales
        Factors by which a tile is resized, to the nearest multiples of the stride, before a network sees it; what it
        answers is resized back.
    stride_px
        Of the networks.

    Returns
    -------
    The only model itself where there is nothing to average. It raises ValueError when an output that is no map, of the
    size of what the network saw, would have to be resized.

    Notes
    -----
    Models that answer logits are averaged before the softmax (MAUNet paper, section 4.1). Networks are asked one after
    the other, so that no more than one enlarged batch is held.
    """
    if len(run_models) == 1 and tuple(scales) == (1.0,):
        return run_models[0]

    def run(batch: np.ndarray) -> Outputs:
        shape_px = (batch.shape[2], batch.shape[3])
        sums: list[np.ndarray] = []
        for scale in scales:
            seen_px = [max(1, round(side * scale / stride_px)) * stride_px for side in shape_px]
            seen = _resize(batch, (seen_px[0], seen_px[1]))
            for run_model in run_models:
                answers = [_bring_back(output, seen, shape_px) for output in run_model(seen)]
                sums = [total + part for total, part in zip(sums, answers, strict=True)] if sums else answers
        return tuple(total / np.float32(len(scales) * len(run_models)) for total in sums)

    return run


def _bring_back(output: np.ndarray, seen: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """Return an output for the batch that was seen as one for a batch of another height and width."""
    if seen.shape[2:] == shape_px:
        return output
    if output.ndim != 4 or output.shape[2:] != seen.shape[2:]:
        raise ValueError(f"an output {output.shape} is no map of {seen.shape[2]} x {seen.shape[3]} px to be resized")
    return _resize(output, shape_px)


def _resize(planes: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """Resize (b, c, y, x), bilinear."""
    if planes.shape[2:] == shape_px:
        return planes
    return np.stack([[resize_map(plane, shape_px) for plane in image] for image in planes])
