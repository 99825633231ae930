"""Which of the cells that were found a user wants, by size and place, and how far they reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mosaicell.answers.blood import Smear, find_blood, find_wanted
from mosaicell.answers.white_cells import join_white_cells
from mosaicell.options import Options
from mosaicell.postprocess.bands import bands, count_pixels
from mosaicell.postprocess.expansion import expand_labels
from mosaicell.reading.pixels import Pixels
from mosaicell.systems import Choice


def filter_cells(choice: Choice, options: Options, pixels: Pixels, modality: str) -> Choice:
    """Keep the cells that the options ask for, renumber them 1..n in their order, and expand them.

    Parameters
    ----------
    choice
        A system's answer; its labels are changed in place, as those of a slide should be there once only.
    options
        Their `min_area_px` and `max_area_px` count the pixels of cells as found, `exclude_edges` leaves out those that
        touch the border of the image, and `expand_px` is how far the others grow then. Before that `blood` leaves out
        cells of stained images, as `blood.find_wanted` tells them, and joins what white ones were found as.
    pixels, modality
        Of the image.

    Returns
    -------
    Choice
        What was given, where nothing is asked for.
    """
    if options.blood != "all" and modality == "brightfield":
        choice = _keep_blood(choice, find_blood(pixels, choice.labels), options.blood)
    if options.min_area_px or options.max_area_px or options.exclude_edges:
        choice = _keep(choice, _find_wanted(choice.labels, options))
    if options.expand_px:
        choice = replace(choice, labels=expand_labels(choice.labels, options.expand_px))
    return choice


def _keep_blood(choice: Choice, smear: Smear, blood: str) -> Choice:
    """Leave out red cells; where white ones are the subject, make these whole."""
    wanted = find_wanted(smear, blood)
    left_out = len(wanted) - 1 - int(np.count_nonzero(wanted))
    if smear.shows_white:
        join_white_cells(choice.labels, smear, wanted)
    return choice if wanted[1:].all() else replace(_keep(choice, wanted), left_out=left_out)


def _find_wanted(labels: np.ndarray, options: Options) -> np.ndarray:
    """Say which ids (n + 1,) stay."""
    areas = count_pixels(labels)
    touch = np.zeros(areas.size, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touch[side] = True
    wanted = are_wanted(areas, touch, options)
    wanted[0] = False
    return wanted


def are_wanted(areas: np.ndarray, touch: np.ndarray, options: Options) -> np.ndarray:
    """Say which cells (n,) stay, by their pixels and whether they touch the border of the image; none of 0 pixels."""
    wanted = areas >= max(1, options.min_area_px)
    if options.max_area_px:
        wanted &= areas <= options.max_area_px
    return wanted & ~touch if options.exclude_edges else wanted


def _keep(choice: Choice, wanted: np.ndarray) -> Choice:
    labels, kept = choice.labels, wanted[1:]
    if not kept.all():
        table = np.where(wanted, np.cumsum(wanted), 0).astype(np.uint32)
        for rows in bands(labels.shape):
            labels[rows] = table[labels[rows]]
    sources, likelihoods = choice.sources, choice.likelihoods
    if sources is None:
        cells = {name: int(kept.sum()) if name == choice.branch else 0 for name in choice.cells}
    else:
        sources = sources[kept]
        counts = np.bincount(sources, minlength=len(choice.cells)).tolist()
        cells = dict(zip(choice.cells, counts, strict=True))
    return replace(
        choice,
        labels=labels,
        branch=max(cells, key=cells.__getitem__) if kept.any() else choice.branch,
        cells=cells,
        sources=sources,
        likelihoods=None if likelihoods is None else likelihoods[kept],
    )
