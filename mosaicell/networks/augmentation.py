"""Test-time augmentation: the mean of what a network answers for its input and for mirrored views of it."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Decoder
from mosaicell.networks.raw import Outputs, RunModel

#: the views: which axes of a batch (b, c, y, x) each of them mirrors. All have the input's shape: on a GPU another one
#: would be prepared and held too. Transposed views, four more, did not help (docs/performance.md).
VIEWS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))


def choose_views(run_model: RunModel, decoder: Decoder, *, tta: bool) -> RunModel:
    """Return what answers for a model: with test-time augmentation `average_views` of it, without the model itself."""
    return average_views(run_model, decoder) if tta else run_model


def average_views(run_model: RunModel, decoder: Decoder) -> RunModel:
    """Return a model that answers with the mean of what another one answers for all `VIEWS` of a batch.

    Parameters
    ----------
    run_model
        Asked once for each view, with batches of the size that comes, so that the views need hardly more memory.
    decoder
        The model's: it knows what of an answer turns round with the picture.

    Returns
    -------
    Maps a batch float32 (b, 3, h, w) to the same outputs as `run_model`; raises OptionError when the decoder cannot
    mirror them.
    """

    def ask(batch: np.ndarray, axes: tuple[int, ...]) -> Outputs:
        return decoder.mirror(run_model(np.flip(batch, axes)), axes, (batch.shape[2], batch.shape[3]))

    def run_views(batch: np.ndarray) -> Outputs:
        sums = ask(batch, VIEWS[0])
        for axes in VIEWS[1:]:
            for total, part in zip(sums, ask(batch, axes), strict=True):
                total += part
        return tuple(total / len(VIEWS) for total in sums)

    return run_views
