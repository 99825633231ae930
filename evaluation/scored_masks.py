"""Mask files scored against true ones: what is missing or cannot be compared counts as nothing found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mosaicell.evaluation.average_precision import Detections, detect_cells, nothing_detected, read_scores
from mosaicell.evaluation.metrics import Scores, score_image
from mosaicell.evaluation.pairing import pair_names
from mosaicell.writing.masks import LABEL_SUFFIX, read_labels


@dataclass(frozen=True)
class ScoredImage:
    """What one true label file and its prediction gave.

    Attributes
    ----------
    name : str
        File name of both.
    modality : str
        From the manifest, empty without one.
    scores : tuple of Scores
        One for each threshold; empty when the truth could not be read.
    problem : str
        Why the prediction counts as 0, or why nothing counts; empty when all went well.
    detections : Detections or None
        What average precision is made of; None unless that was asked for.
    """

    name: str
    modality: str
    scores: tuple[Scores, ...]
    problem: str = ""
    detections: Detections | None = None


def score_file(
    truth_path: Path, prediction_path: Path, thresholds: Sequence[float], modality: str = "", *, ap: bool = False
) -> ScoredImage:
    """Score one mask file; what is missing or cannot be compared counts as nothing found.

    Parameters
    ----------
    truth_path, prediction_path : Path
        Label images of the same size.
    thresholds : sequence of float
        Smallest IoU of a match, each in (0, 1].
    modality : str
        Copied into the result.
    ap : bool
        Also match by the scores of the cells, from the table beside the mask.

    Returns
    -------
    ScoredImage
        With a `problem` when one of the two is missing, unreadable or of another size.
    """
    name = truth_path.name
    try:
        truth = read_labels(truth_path)
    except (OSError, ValueError) as error:
        return ScoredImage(name, modality, (), f"left out, the truth cannot be read: {error}")
    try:
        if not prediction_path.is_file():
            raise FileNotFoundError(f"no such file in {prediction_path.parent}")
        prediction = read_labels(prediction_path)
        scored = ScoredImage(name, modality, tuple(score_image(truth, prediction, thresholds)))
    except (OSError, ValueError) as error:
        nothing_found = score_image(truth, np.zeros_like(truth), thresholds)
        scores = tuple(replace(score, dice=0.0) for score in nothing_found)
        nothing = nothing_detected(truth) if ap else None
        return ScoredImage(name, modality, scores, f"counted as 0: {error}", nothing)
    if not ap:
        return scored
    try:
        return replace(scored, detections=detect_cells(truth, prediction, read_scores(prediction_path)))
    except (OSError, ValueError) as error:
        return replace(
            scored, problem=f"nothing found, for the average precision: {error}", detections=nothing_detected(truth)
        )


def score_folder(
    truth_dir: Path,
    prediction_dir: Path,
    thresholds: Sequence[float],
    modalities: Mapping[str, str],
    *,
    ap: bool = False,
) -> Iterator[ScoredImage]:
    """Score the prediction of every `NAME_label.tiff` in a folder of true labels, in the order of the names.

    Parameters
    ----------
    truth_dir, prediction_dir : Path
        Folders with label files, paired as `pairing.pair_names` says. The truth decides which images count, so a
        missing prediction lowers the mean (the organisers' script leaves it out).
    thresholds : sequence of float
        Smallest IoU of a match, each in (0, 1].
    modalities : mapping
        File name of a label image to its modality; other names are "unlisted", unless it is empty.
    ap : bool
        As `score_file` takes it.

    Yields
    ------
    ScoredImage
    """
    otherwise = "unlisted" if modalities else ""
    truths = sorted(truth_dir.glob(f"*{LABEL_SUFFIX}"))
    pairs = pair_names((path.name for path in truths), list_masks(prediction_dir))
    for path in truths:
        prediction = prediction_dir / pairs.get(path.name, path.name)
        yield score_file(path, prediction, thresholds, modalities.get(path.name, otherwise), ap=ap)


def list_masks(folder: Path) -> set[str]:
    """List the names of the label files in a folder."""
    return {path.name for path in folder.glob(f"*{LABEL_SUFFIX}")}
