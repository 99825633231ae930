"""Figures as they are printed: found in text, and told apart only as far as their digits go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

#: no part of a word as F1, of a version or of a power of ten
NUMBER = re.compile(r"(?<![\w.-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w|\.\d)")
RANGE = " to "
#: times and memory of two machines may differ by this factor
MOST_RATIO = Decimal("1.5")

Fold = Literal["", "mean", "sum"]


@dataclass(frozen=True)
class Figure:
    """A number and how exactly it is known.

    Attributes
    ----------
    value : Decimal
    step : Decimal
        What one more in its last digit adds.
    """

    value: Decimal
    step: Decimal

    def equals(self, other: Figure) -> bool:
        """Tell whether both may be roundings of one number: with the same digits only equal ones are."""
        return abs(self.value - other.value) < (self.step + other.step) / 2

    def ratio(self, other: Figure) -> Decimal:
        """Return how many times the larger one is the smaller one; infinite where one alone is 0."""
        small, large = sorted((abs(self.value), abs(other.value)))
        if small == large:
            return Decimal(1)
        return large / small if small else Decimal("Infinity")

    def __str__(self) -> str:
        return f"{self.value:,}"


def read_figures(text: str) -> list[Figure]:
    """Return all figures in a text, in order."""
    values = [Decimal(found.replace(",", "")) for found in NUMBER.findall(text)]
    # a finite number has an exponent that is an int
    return [Figure(value, Decimal((0, (1,), int(value.as_tuple().exponent)))) for value in values]


def is_range(text: str) -> bool:
    """Tell whether a text is a lowest and a highest figure."""
    low, _, high = text.partition(RANGE)
    return all(NUMBER.fullmatch(part.strip(" s")) for part in (low, high))


def fold(figures: Sequence[Figure], documented: str, how: Fold) -> list[Figure]:
    """Bring measured figures to the form in which a document has them.

    Parameters
    ----------
    figures : sequence of Figure
        At least one.
    documented : str
        Cell of the document. Of a range the lowest and the highest figure are taken.
    how : str
        What a single figure in the document is of several measured ones; nothing where the number is the same.
    """
    if is_range(documented):
        return [min(figures, key=lambda one: one.value), max(figures, key=lambda one: one.value)]
    if how and len(figures) > 1 and len(read_figures(documented)) == 1:
        total, step = sum((one.value for one in figures), Decimal(0)), max(one.step for one in figures)
        return [Figure(total, step) if how == "sum" else Figure((total / len(figures)).quantize(step / 10), step)]
    return list(figures)
