"""Which channels of an image show its cells best, as the judges expect of what the branches answer for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mosaicell.answers.scale_search import SURE_F1
from mosaicell.contrast.normalize import PERCENTILES, measure_contrast, show_content
from mosaicell.contrast.sample import take_sample
from mosaicell.networks.mosaic import WINDOW_PX, draw_mosaic
from mosaicell.pictures.defaults import FEW_TRIED, SPOT_AREA, Found, are_spots
from mosaicell.pictures.pictures import Pictures
from mosaicell.postprocess.bands import count_pixels
from mosaicell.reading.pixels import ArrayPixels, Pixels
from mosaicell.systems import Choice

#: of larger images so many windows are tried, of so many px a side at a glance, and where other scales are tried too
TRIED_WINDOWS, GLANCE_PX, SEARCH_PX = 4, WINDOW_PX, 320

#: answers for a picture: its modality and a system's answer, for a glance without a search for the scale
AnswerFor = Callable[[Pixels, bool], tuple[str, Choice]]


@dataclass(frozen=True)
class Trial:
    """What a candidate leads to.

    Attributes
    ----------
    found
        In the picture or a part of it.
    answer
        The whole answer with its modality, None where only a part was tried or glanced at.
    """

    found: Found
    answer: tuple[str, Choice] | None


#: by channels, as in `Pictures.candidates`
Trials = dict[tuple[int, ...], Trial]


def choose_channels(pictures: Pictures, answer_for: AnswerFor) -> tuple[tuple[int, ...], tuple[str, Choice] | None]:
    """Settle the channels of an image: those whose answer has the highest predicted F1, alone or two or three together.

    Parameters
    ----------
    pictures
        Of a file, with at least one candidate. With one alone nothing is tried.
    answer_for
        Called for each candidate and for what several make up together: the best two, and all where there are three.

    Returns
    -------
    candidate
        As in `Pictures.candidates`.
    answer
        For it, where the whole picture was answered for.

    Notes
    -----
    What is found in another candidate's cells, many times smaller than these, are spots and no cells.
    """
    candidates = list(pictures.candidates)
    if len(candidates) == 1:
        pictures.take(candidates[0])
        return candidates[0], None
    page = pictures.first_page()

    def attempt(candidate: tuple[int, ...], *, glance: bool) -> Trial:
        return _try_picture(pictures.open(candidate, page), answer_for, glance)

    trials = {candidate: attempt(candidate, glance=True) for candidate in candidates}
    if len(candidates) <= FEW_TRIED:
        for candidate in _worth_a_search(trials):
            trials[candidate] = attempt(candidate, glance=False)
    kinds = {trial.found.modality == "fluorescence" for trial in trials.values()}
    # fluorescence on transmitted light is no picture that a network has seen
    if pictures.joins and len(kinds) == 1:
        first, second, *_ = sorted(candidates, key=lambda candidate: -trials[candidate].found.expected_f1)
        joined = {tuple(sorted(first + second))}
        if len(candidates) == 3:
            joined.add(tuple(sorted(sum(candidates, ()))))
        trials |= {candidate: attempt(candidate, glance=True) for candidate in sorted(joined)}
    spots = _find_spots(trials)
    # of equal ones the first, and a single one before several
    best = max(
        (candidate for candidate in trials if candidate not in spots),
        key=lambda candidate: (trials[candidate].found.expected_f1, -len(candidate)),
    )
    others = [
        f"{trial.found.expected_f1:.2f} of {' and '.join(map(pictures.name, candidate))}"
        + " (spots)" * (candidate in spots)
        for candidate, trial in trials.items()
        if candidate != best
    ]
    pictures.take(best, f"with a predicted F1 of {trials[best].found.expected_f1:.2f} against {', '.join(others)}")
    return best, trials[best].answer


def _find_spots(trials: Trials) -> set[tuple[int, ...]]:
    """Return the candidates in which spots were found in cells of another one."""
    everything = [trial.found for trial in trials.values()]
    return {candidate for candidate, trial in trials.items() if are_spots(trial.found, everything)}


def _worth_a_search(trials: Trials) -> list[tuple[int, ...]]:
    """Return the candidates whose answer at the first scale is doubtful, where no other one is sure to be better.

    What is sure may be spots in the cells of a doubtful one, which are found at another scale.
    """
    spots = _find_spots(trials)
    sure = [trial.found for candidate, trial in trials.items() if candidate not in spots]
    sure = [found for found in sure if found.expected_f1 >= SURE_F1]
    best = max(sure, key=lambda found: found.expected_f1, default=None)
    return [
        candidate
        for candidate, trial in trials.items()
        if trial.found.expected_f1 < SURE_F1 and (best is None or best.area_px < SPOT_AREA * trial.found.area_px)
    ]


def _try_picture(pixels: Pixels, answer_for: AnswerFor, glance: bool) -> Trial:
    window_px = GLANCE_PX if glance else SEARCH_PX
    whole = math.prod(pixels.shape_px) <= TRIED_WINDOWS * window_px**2
    modality, choice = answer_for(pixels if whole else _show_part(pixels, window_px), glance)
    areas = count_pixels(choice.labels)[1:]
    expected = choice.confidences[choice.branch] if choice.predicted_f1 is None else choice.predicted_f1
    found = Found(expected, float(np.median(areas)), modality) if len(areas) else Found(0.0, 0.0, modality)
    return Trial(found, (modality, choice) if whole and not glance else None)


def _show_part(pixels: Pixels, window_px: int) -> ArrayPixels:
    """Return the windows of a large image that show most, side by side."""
    sample = take_sample(pixels)
    content = show_content(sample, measure_contrast(sample, PERCENTILES))
    windows = draw_mosaic(
        lambda bounds: pixels.read(bounds).transpose(2, 0, 1), pixels.shape_px, content, TRIED_WINDOWS, window_px
    )
    return ArrayPixels(np.ascontiguousarray(windows.transpose(1, 2, 0)))
