"""A stack: one image of a file with all its planes, times and channels, of which a picture is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from mosaicell.reading.pixels import Pixels, SamplePixels

#: names of the samples of a pixel that are colours
COLOUR_NAMES = ("red", "green", "blue")


class Plane(NamedTuple):
    """Where a plane stands in its stack, from 0."""

    time: int = 0
    z: int = 0
    channel: int = 0


@dataclass(frozen=True)
class Stack:
    """One image of a file.

    Attributes
    ----------
    name
        As the file has it, "" for none.
    shape_px
        Height and width.
    source_dtype
        Sample type in the file, "1-bit" or a numpy name.
    held_bytes
        What a plane takes while it is read.
    times, planes
        How many there are, of either.
    channels
        Names of the channels that are planes of their own, "" for one without a name; at least one.
    open_plane
        Opens a plane: (y, x, 1), or (y, x, 3) where it has colours.
    by_region
        Planes are read part by part.
    has_colours
        A pixel has red, green and blue.
    unnamed
        Nothing in the file says what its pages are; they stand as `channels`.
    as_pages
        Where the colours are stored one after the other, as frames and channels are: the same as pages without a name.
    notes
        Gets every decision taken for the user while planes are read, in words.
    """

    name: str
    shape_px: tuple[int, int]
    source_dtype: str
    held_bytes: int
    times: int
    planes: int
    channels: tuple[str, ...]
    open_plane: Callable[[Plane], Pixels]
    by_region: bool = False
    has_colours: bool = False
    unnamed: bool = False
    as_pages: Stack | None = None
    notes: tuple[str, ...] | list[str] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """What `--channels` may name, "" for what has no name: channels or, of a colour image, its colours."""
        return COLOUR_NAMES if self.has_colours and len(self.channels) == 1 else self.channels

    def open_choice(self, choice: int | None, time: int, z: int) -> Pixels:
        """Open one of `choices`, or with None all that the only channel has."""
        if choice is None or len(self.channels) > 1:
            return self.open_plane(Plane(time, z, choice or 0))
        whole = self.open_plane(Plane(time, z))
        return SamplePixels(whole, (choice,)) if self.has_colours else whole

    def with_planes(self) -> Stack:
        """Return the same with what stands as channels as planes of a stack in z."""
        count = len(self.channels)
        return self._without_channels(self.times, count, lambda plane: Plane(plane.time, 0, plane.z))

    def with_times(self) -> Stack:
        """Return the same with what stands as channels as times."""
        count = len(self.channels)
        return self._without_channels(count, self.planes, lambda plane: Plane(0, plane.z, plane.time))

    def _without_channels(self, times: int, planes: int, place: Callable[[Plane], Plane]) -> Stack:
        """Return the same with one channel; `place` finds its planes among the channels there were."""
        opener = self.open_plane
        return replace(
            self,
            times=times,
            planes=planes,
            channels=("",),
            unnamed=False,
            open_plane=lambda plane: opener(place(plane)),
        )
