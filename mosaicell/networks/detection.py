"""Detectors, fusion and masks for a batch of tiles: MDE-CellMask before anything is decoded (paper, figure 2).

It is composed below the tiles, as ensembles are: what tiles, bands and blocks see is one model, whose cells are boxes
with a small mask each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mosaicell.errors import OptionError
from mosaicell.networks.detection_card import DetectionSettings
from mosaicell.networks.raw import Outputs, RunModel
from mosaicell.postprocess.box_fusion import fuse_boxes
from mosaicell.postprocess.boxes import suppress_boxes
from mosaicell.postprocess.proposals import choose_proposals

if TYPE_CHECKING:
    from mosaicell.networks.manifest import Card, ModelCard
    from mosaicell.networks.session import Session

#: maps a model's inputs by name to its outputs, as `Session.ask`
Ask = Callable[[Mapping[str, np.ndarray]], Outputs]

#: names under which heads take levels of features, by the px between these
LEVELS = ("features_4", "features_8", "features_16", "features_32")


@dataclass(frozen=True)
class Detector:
    """One of the detectors.

    Attributes
    ----------
    run
        Maps a batch to the foreground (b, 1, h, w), proposals (b, n, 5) and levels of features (b, c, ., .).
    ask_heads
        Maps "boxes" (n, 4) and the levels of one tile, by the names in `LEVELS`, to better boxes (n, 4) and their
        scores (n,).
    weight
        How much it counts in the fusion.
    """

    run: RunModel
    ask_heads: Ask
    weight: float


def detect_and_mask(
    detectors: Sequence[Detector],
    ask_masks: Ask,
    settings: DetectionSettings,
    views: Sequence[tuple[int, ...]] = ((),),
) -> RunModel:
    """Return a model that answers with the cells of all detectors.

    Parameters
    ----------
    detectors
        One or more.
    ask_masks
        Maps "image" (1, 3, h, w) and "boxes" (n, 4) to masks (n, s, s).
    settings
        How boxes are chosen.
    views
        Axes of a batch along which each view of it is mirrored: the boxes of all views are fused, as if each were a
        detector of its own.

    Returns
    -------
    Maps a batch float32 (b, 3, h, w) to the foreground (b, 1, h, w), the mean over detectors and views by their
    weights, and cells (b, n, 5 + s * s): y0, x0, y1, x1, score, mask. Tiles with fewer cells end with rows of zeros.

    Notes
    -----
    Detectors are asked one after the other, so that the features of one alone are held.
    """
    weights = [detector.weight for detector in detectors for _ in views]

    def run(batch: np.ndarray) -> Outputs:
        shape_px = (batch.shape[2], batch.shape[3])
        foreground = np.zeros((len(batch), 1, *shape_px), np.float32)
        found: list[list[np.ndarray]] = [[] for _ in batch]
        for detector in detectors:
            for axes in views:
                maps, *answers = detector.run(np.flip(batch, axes))
                foreground += np.flip(maps, axes) * np.float32(detector.weight / sum(weights))
                for tile, boxes in enumerate(found):
                    own = _refine(detector, [answer[tile : tile + 1] for answer in answers], settings)
                    boxes.append(mirror_boxes(own, axes, shape_px))
        cells = [
            _add_masks(tile[None], _fuse(boxes, weights, settings), ask_masks, settings)
            for tile, boxes in zip(batch, found, strict=True)
        ]
        joined = np.zeros((len(batch), max(map(len, cells)), 5 + settings.mask_side**2), np.float32)
        for tile, rows in enumerate(cells):
            joined[tile, : len(rows)] = rows
        return foreground, joined

    return run


def compose_detectors(
    card: Card, get_model: Callable[[str], tuple[ModelCard, Session]], views: Sequence[tuple[int, ...]]
) -> RunModel:
    """Return the detectors of a card as one model.

    Parameters
    ----------
    card
        Of a detector. Its companions are the others; its masks and settings are those of all.
    get_model
        Maps a model's name to its card and session.
    views
        As in `detect_and_mask`.

    Raises
    ------
    OptionError
        When a companion is no detector, or a model cannot be loaded.
    """
    detectors = []
    for name in (card.name, *card.companions):
        own, session = get_model(name)
        detection = getattr(own, "detection", None)
        if detection is None:
            raise OptionError(f"the card of the model {name!r} names no heads for the boxes that it proposes")
        detectors.append(Detector(session.run, get_model(detection.heads)[1].ask, detection.weight))
    assert card.detection is not None
    ask_masks = get_model(card.detection.masks)[1].ask
    return detect_and_mask(detectors, ask_masks, card.detection.settings, views)


def mirror_boxes(boxes: np.ndarray, axes: tuple[int, ...], shape_px: tuple[int, int]) -> np.ndarray:
    """Mirror boxes (n, 4 or more) along axes of a batch (b, c, y, x) whose tiles have this height and width."""
    mirrored = boxes.copy()
    for axis in axes:
        near, far = axis - 2, axis
        mirrored[:, [near, far]] = shape_px[axis - 2] - mirrored[:, [far, near]]
    return mirrored


def _refine(detector: Detector, answers: Sequence[np.ndarray], settings: DetectionSettings) -> np.ndarray:
    """Return the boxes (n, 5) that a detector finds on one tile, by its proposals and features."""
    (proposals,), *levels = answers
    proposals = proposals[proposals[:, 4] >= settings.proposal_score]
    chosen = proposals[choose_proposals(proposals[:, :4], proposals[:, 4], most=settings.proposals), :4]
    if not len(chosen):
        return np.zeros((0, 5), np.float32)
    boxes, scores = detector.ask_heads(dict(zip(LEVELS, levels, strict=True)) | {"boxes": chosen})
    sure = np.flatnonzero(scores >= settings.score)
    kept = sure[suppress_boxes(boxes[sure], scores[sure], settings.iou)]
    return np.column_stack((boxes[kept], scores[kept]))


def _fuse(boxes: Sequence[np.ndarray], weights: Sequence[float], settings: DetectionSettings) -> np.ndarray:
    """Return the boxes (n, 5) of all detectors and views of one tile as one set, of those that are sure enough."""
    fused, scores = fuse_boxes(
        [rows[:, :4] for rows in boxes],
        [rows[:, 4] for rows in boxes],
        weights,
        iou_threshold=settings.fusion_iou,
        least_score=settings.fusion_score,
    )
    sure = scores >= settings.mask_score
    return np.column_stack((fused[sure], scores[sure])).astype(np.float32)


def _add_masks(tile: np.ndarray, boxes: np.ndarray, ask_masks: Ask, settings: DetectionSettings) -> np.ndarray:
    """Return the boxes (n, 5) of a tile (1, 3, h, w) with the mask of each behind them."""
    parts = [boxes[first : first + settings.crops] for first in range(0, len(boxes), settings.crops)]
    masks = [ask_masks({"image": tile, "boxes": part[:, :4]})[0].reshape(len(part), -1) for part in parts]
    nothing = np.zeros((0, settings.mask_side**2), np.float32)
    return np.column_stack((boxes, np.concatenate([nothing, *masks])))
