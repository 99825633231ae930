"""Scale rules: by which factor an image is resized for a network, named in the card of its model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mosaicell.networks.scale import mean_diameter, median_diameter
from mosaicell.postprocess.cells import Cells

if TYPE_CHECKING:
    from mosaicell.answers.branches import Prediction
    from mosaicell.networks.manifest import Card

#: smallest and largest factor: what is smaller or larger than that allows for is no cell
SCALE_RANGE = (0.1, 3.0)
#: factor when a first pass finds nothing: cells several times larger than the trained ones leave no trace at full size
EMPTY_SCALE = 0.35
#: scales of the coarse passes, the smallest side that an image may have there, and how many cells it must show
COARSE_SCALES, MIN_COARSE_PX, MIN_COARSE_CELLS = (0.25, 0.125), 80, 3
#: scales of the passes that are compared with full size by how well maps fit
FIT_SCALES = (0.5, 0.25)
#: by so much a pass may fit worse if it is surer by 1, if it finds e times as many cells, and for each cell that others
#: lack to three: reduced, a colony of small cells looks like a large cell, of which the maps fit well
CONFIDENCE_GAIN, COUNT_GAIN, FEW_LOSS = 0.15, 0.01, 0.02
#: by so much the mean score of the boxes of a coarse pass must exceed that at full size
MIN_SCORE_GAIN = 0.1
#: a resized pass counts unless it has no box, or the mean score of its boxes is lower by more than this
MAX_SCORE_LOSS = 0.05

#: segments an image at a scale
Pass = Callable[[float], "Prediction"]
#: asks for passes, and returns the one that counts, with the seconds of all
ScaleRule = Callable[[Pass, "Card"], "Prediction"]


def at_full_size(segment_at: Pass, card: Card) -> Prediction:
    """Segment an image as it is: for models that cannot judge a scale."""
    return segment_at(1.0)


def by_boxes(segment_at: Pass, card: Card) -> Prediction:
    """Segment an image at the scale of which the boxes of a model are surest.

    The scale is found in passes: one at full size, and coarse ones that cost little and show cells far larger than the
    trained ones, of which the full size shows fragments. The one with the surest boxes tells the cells' diameter. Is
    that outside the card's range, a further pass brings the cells to the card's target size, and counts unless its
    boxes are less sure.
    """
    passes = [segment_at(1.0)]
    full = best = passes[0]
    shape_px = (full.labels.shape[0], full.labels.shape[1])
    for coarse in COARSE_SCALES:
        if min(shape_px) * coarse >= MIN_COARSE_PX:
            found = segment_at(coarse)
            passes.append(found)
            surer = found.box_score > max(best.box_score, full.box_score + MIN_SCORE_GAIN)
            if surer and found.labels.max() >= MIN_COARSE_CELLS:
                best = found
    scale = choose_scale(mean_diameter(best.labels), shape_px, card)
    if scale == 1.0:
        best = full
    else:
        passes.append(segment_at(scale))
        if passes[-1].box_score > max(0.0, best.box_score - MAX_SCORE_LOSS):
            best = passes[-1]
    return _with_all_seconds(best, passes)


def by_fit(segment_at: Pass, card: Card) -> Prediction:
    """Segment an image at the scale at which the maps are most like those of the cells found: for models without boxes.

    At a wrong scale a network answers with maps of cells that are not there, of which the decoder makes fragments or
    clumps whose own maps would be others. So the pass at full size is compared with coarse ones. The one that fits
    best, is sure and finds many cells tells the diameter of the cells. Is that outside the card's range, a further pass
    brings them to the card's target size, and counts if it is better by the same measure.
    """
    passes = [segment_at(1.0)]
    shape_px = (passes[0].labels.shape[0], passes[0].labels.shape[1])
    passes += [segment_at(scale) for scale in FIT_SCALES if min(shape_px) * scale >= MIN_COARSE_PX]
    ranks = [_rank_fit(one, card) for one in passes]
    diameter_px = mean_diameter(passes[ranks.index(min(ranks))].labels)
    scale = choose_scale(diameter_px, shape_px, card)
    if all(abs(math.log(scale / one.scale)) > SAME_SCALE for one in passes):
        passes.append(segment_at(scale))
        ranks.append(_rank_fit(passes[-1], card))
    return _with_all_seconds(passes[ranks.index(min(ranks))], passes)


def _rank_fit(prediction: Prediction, card: Card) -> tuple[int, float]:
    """Return what is least for the pass at the best scale."""
    missing, misfit = measure_misfit(prediction, card)
    count = max(1, int(prediction.labels.max(initial=0)))
    gains = CONFIDENCE_GAIN * prediction.confidence + COUNT_GAIN * math.log(count)
    return missing, misfit - gains + FEW_LOSS * max(0, MIN_COARSE_CELLS - count)


def measure_misfit(prediction: Prediction, card: Card) -> tuple[int, float]:
    """Return how far a model's maps are from those of the cells that they were decoded to; the least is best.

    Returns
    -------
    missing, misfit
        How many cells are missing to two: of a single one, such as a clump, nothing can be said. And the mean over the
        pixels of cells of what the decoder names its misfit.
    """
    cells, decoder = Cells(prediction.map_labels), card.decoder
    areas = cells.areas[1:]
    if not areas.any():
        return 2, 0.0
    said = decoder.describe(cells, prediction.raw)[1:, decoder.evidence.index(decoder.misfit)]
    return max(0, 2 - int(np.count_nonzero(areas))), float(np.average(said, weights=areas))


def by_size_model(segment_at: Pass, card: Card) -> Prediction:
    """Segment an image at the scale that the style of it and then the cells of a first pass tell (Cellpose).

    The style that the model sees at full size says how large cells are. At the scale of that the first cells are found,
    whose median diameter in turn gives the scale of the last pass. A pass at nearly the scale of the one before is left
    out; where the one at the scale of the style finds no cell, it counts.
    """
    assert card.size_model is not None
    passes = [segment_at(1.0)]
    shape_px = (passes[0].labels.shape[0], passes[0].labels.shape[1])
    diameter_px = card.size_model.diameter_px(passes[0].raw.summary)
    asked = 1.0
    for _ in range(2):
        scale = choose_scale(diameter_px, shape_px, card)
        if abs(math.log(scale / asked)) > SAME_SCALE:
            asked = scale
            passes.append(segment_at(asked))
        diameter_px = median_diameter(passes[-1].labels)
        if math.isnan(diameter_px):
            break
    return _with_all_seconds(passes[-1], passes)


def _with_all_seconds(counted: Prediction, passes: list[Prediction]) -> Prediction:
    return replace(counted, seconds={stage: sum(p.seconds[stage] for p in passes) for stage in counted.seconds})


def choose_scale(diameter_px: float, shape_px: tuple[int, int], card: Card) -> float:
    """Return the factor that brings cells of this diameter to the card's target, 1 when they are within its range.

    Without any cell (NaN) a small image stays as it is, and any other is looked at once more, reduced.
    """
    low, high = card.diameter_range_px
    if math.isnan(diameter_px):
        return EMPTY_SCALE if min(shape_px) * EMPTY_SCALE >= card.stride_px else 1.0
    if low <= diameter_px <= high:
        return 1.0
    return min(max(card.diameter_target_px / diameter_px, SCALE_RANGE[0]), SCALE_RANGE[1])


#: two scales are nearly the same where their logarithms differ by no more: networks see more variety in training
SAME_SCALE = 0.15
#: the rule that needs a decoder which measures a misfit
FIT = "fit"
#: the rule that needs a size model beside the card
SIZE_MODEL = "size model"
#: by the names that cards use
SCALE_RULES: dict[str, ScaleRule] = {
    "full size": at_full_size,
    "boxes": by_boxes,
    FIT: by_fit,
    SIZE_MODEL: by_size_model,
}
