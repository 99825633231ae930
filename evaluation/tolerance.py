"""The running time that the challenge allows for an image."""

from __future__ import annotations

#: seconds allowed for an image of up to one megapixel, and for every megapixel of a larger one
TOLERANCE_S = 10.0
MEGAPIXEL = 1_000_000


def tolerance_s(pixels: int | None) -> float:
    """Return the seconds that are free for an image: 10 up to one megapixel, then 10 for each megapixel.

    Parameters
    ----------
    pixels : int or None
        Height times width; None for an image that cannot be read, which is allowed the least.
    """
    return TOLERANCE_S * max(pixels or 0, MEGAPIXEL) / MEGAPIXEL


def seconds_over(seconds: float, pixels: int | None) -> float:
    """Return the seconds beyond the tolerance, 0 or more: what the challenge ranks by.

    Parameters
    ----------
    seconds : float
        Real running time.
    pixels : int or None
        As for `tolerance_s`.
    """
    return max(0.0, seconds - tolerance_s(pixels))
