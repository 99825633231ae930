"""The axes of a TIFF's series: which of them are times, planes in z, channels and colours.

S is samples of a pixel, C channels as OME and ImageJ write them, I a sequence of separate pages, Q what nobody named:
there the shape decides, and (40, 60, 3) may come as QYX.
"""

from __future__ import annotations

from dataclasses import dataclass

from mosaicell.errors import ImageError

#: an axis without a name that comes last counts as channels up to this length
MAX_LAST_CHANNELS = 5
#: axes that say what their positions are
CHANNEL_AXES, UNNAMED_AXES = "CE", "IQ"


@dataclass(frozen=True)
class Axes:
    """Positions of the axes of a series: None or empty for those that it does not have.

    Attributes
    ----------
    samples
        Of a pixel, all taken together.
    channel
        Channels, or samples of a pixel that are no colours.
    unnamed, others
        Pages without a name; positions, mosaics and whatever else makes pictures of their own.
    """

    y: int
    x: int
    samples: int | None
    channel: int | None
    z: int | None
    time: int | None
    unnamed: tuple[int, ...]
    others: tuple[int, ...]


def find_axes(axes: str, shape: tuple[int, ...], *, is_colour: bool) -> Axes:
    """Say what the axes of a series are, which tifffile names by letters.

    Raises
    ------
    ImageError
        If there is no y or x.
    """
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"has axes {axes} of shape {shape}; allowed are images with y and x")
    named = list(axes)
    if axes.endswith("QYX") and shape[-1] <= MAX_LAST_CHANNELS < min(shape[-3:-1]):
        named[-3:] = "YXC"
    taken = {name: named.index(name) for name in "YXSZT" if name in named}
    channel = next((named.index(name) for name in CHANNEL_AXES if name in named), None)
    if "S" in taken and not is_colour and channel is None:
        channel = taken.pop("S")
    unnamed = tuple(axis for axis, name in enumerate(named) if name in UNNAMED_AXES)
    used = {*taken.values(), channel, *unnamed}
    others = tuple(axis for axis in range(len(named)) if axis not in used)
    z, time = taken.get("Z"), taken.get("T")
    if channel is not None and unnamed:
        # with channels of a name, the pages are planes or times
        if z is None and len(unnamed) == 1:
            z, unnamed = unnamed[0], ()
        elif time is None and len(unnamed) == 1:
            time, unnamed = unnamed[0], ()
        else:
            others, unnamed = (*others, *unnamed), ()
    return Axes(taken["Y"], taken["X"], taken.get("S"), channel, z, time, unnamed, others)
