"""The entries of a model's card, each checked as it is read."""

from __future__ import annotations

import math
from typing import Any

from mosaicell.decoders import Decoder
from mosaicell.errors import OptionError

#: of the numbers in a card
LARGEST = 1e300


class CardEntries:
    """The entries of a card, by names with dots.

    Each method but `has` and `wrong` raises OptionError where the entry is missing or no such value.

    Parameters
    ----------
    name
        Of the model.
    card
        As it stands in the manifest.
    """

    def __init__(self, name: str, card: Any) -> None:
        self._name, self._card = name, card

    def get(self, entry: str) -> Any:
        """Return an entry as it stands in the card."""
        value = self._card
        for key in entry.split("."):
            if not isinstance(value, dict) or key not in value:
                raise OptionError(f"the card of the model {self._name!r} has no entry {entry}")
            value = value[key]
        return value

    def has(self, entry: str) -> bool:
        """Say whether the card has an entry."""
        return isinstance(self._card, dict) and entry in self._card

    def change(self, entry: str, value: Any) -> None:
        """Put a value in place of an entry's, in the card itself."""
        self.get(entry)
        parent, _, key = entry.rpartition(".")
        (self.get(parent) if parent else self._card)[key] = value

    def wrong(self, entry: str, allowed: str) -> OptionError:
        """Return the complaint about an entry."""
        return OptionError(
            f"the card of the model {self._name!r} has {self.get(entry)!r} as {entry}; allowed is {allowed}"
        )

    def text(self, entry: str) -> str:
        """Return a text."""
        value = self.get(entry)
        if not isinstance(value, str):
            raise self.wrong(entry, "a text")
        return value

    def texts(self, entry: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.get(entry)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(entry, "a list of texts")
        return tuple(value)

    def numbers(self, entry: str, least: float, most: float) -> tuple[float, ...]:
        """Return a list of one or more numbers within limits."""
        value = self.get(entry)
        are_numbers = isinstance(value, list) and value and all(map(_is_number, value))
        if not are_numbers or not least <= min(value) <= max(value) <= most:
            raise self.wrong(entry, f"a list of numbers from {least:g} to {most:g}")
        return tuple(value)

    def whole(self, entry: str) -> int:
        """Return a whole number of 1 or more."""
        value = self.get(entry)
        if not _is_number(value) or value != int(value) or value < 1:
            raise self.wrong(entry, "a whole number of 1 or more")
        return int(value)

    def number(self, entry: str, least: float, most: float) -> float:
        """Return a number within limits."""
        value = self.get(entry)
        if not _is_number(value) or not least <= value <= most:
            limit = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of {least:g} or more"
            raise self.wrong(entry, f"a number {limit}")
        return value

    def rising(self, entry: str, least: float, most: float) -> tuple[float, float]:
        """Return two rising numbers within limits."""
        value = self.get(entry)
        is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        if not is_pair or not least <= value[0] <= value[1] <= most:
            raise self.wrong(entry, f"a pair of rising numbers from {least:g} to {most:g}")
        return value[0], value[1]

    def settings(self, decoder: Decoder) -> dict[str, Any]:
        """Return the settings of a decoder, all that it asks for among them."""
        for setting in decoder.settings:
            value = self.get(f"decoder.{setting}")
            may_be_null = setting in decoder.nullable
            if not _is_number(value) and not (value is None and may_be_null):
                raise self.wrong(f"decoder.{setting}", "a number or null" if may_be_null else "a number")
        return self.get("decoder")


def _is_number(value: Any) -> bool:
    # JSON as Python reads it knows NaN, infinity, and whole numbers that are too large for any other
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
