"""Which prediction belongs to which truth: both are named after an image, by its full name or up to the first dot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from mosaicell.reading.images import LABEL_SUFFIX, mask_name


def pair_names(truths: Iterable[str], predictions: Iterable[str]) -> dict[str, str]:
    """Pair label files of two folders by their names.

    Parameters
    ----------
    truths, predictions : iterable of str
        Names `NAME_label.tiff`.

    Returns
    -------
    dict
        The prediction of each truth that has one: of the same name, or where NAMES differ only after their first dot
        and no third file could be meant.
    """
    truths, predictions = set(truths), set(predictions)
    pairs = {name: name for name in truths & predictions}
    short: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((truths - predictions, predictions - truths)):
        for name in names:
            short[shorten(name)][side].append(name)
    one_each = (names for names in short.values() if [len(side) for side in names] == [1, 1])
    return pairs | {truth: prediction for (truth,), (prediction,) in one_each}


def shorten(name: str) -> str:
    """Return the name of a label file with the image's name up to the first dot, as the challenge says."""
    stem = name.removesuffix(LABEL_SUFFIX)
    return name if stem.startswith(".") or not stem else mask_name(stem)
