"""The pictures of a file: what is there, what the user or the defaults take of it, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mosaicell.errors import ImageError
from mosaicell.machine.limits import SLIDE_FROM_PX, Limits
from mosaicell.pictures.decisions import Decisions
from mosaicell.pictures.defaults import (
    MAX_TRIED,
    MIN_SIGNAL,
    choose_scene,
    find_sharpest,
    is_nuclear,
    may_join,
    projects,
    spread_planes,
)
from mosaicell.pictures.looks import look_at, measure_signal
from mosaicell.pictures.page_kinds import settle_pages
from mosaicell.pictures.selection import MAX_JOINED, Selection, find_channels, list_channels
from mosaicell.reading.pixels import REDUCTIONS, ArrayPixels, ChannelPixels, Pixels, ReducedPixels, read_all
from mosaicell.reading.stack import COLOUR_NAMES, Stack


@dataclass(frozen=True)
class Page:
    """A time and a plane, from 0; instead of a plane "focus", "max" or "mean" of all, or None for the default."""

    time: int
    z: int | str | None


class Pictures:
    """What is taken of a file.

    Parameters
    ----------
    stacks
        Its images, at least one.
    selection
        What the user asks for.
    limits
        What an image may take.

    Attributes
    ----------
    scene
        Which of the images is taken, from 0.
    stack
        That image.
    pages
        Times and planes that are segmented one after the other.
    candidates
        Channels, by their numbers in `stack.choices`, of which one is segmented, or several seen together; a single one
        is decided already. () stands for all colours of an image, or its only channel.
    joins
        Whether several candidates may be seen together.
    decisions
        Taken by the defaults.

    Raises
    ------
    ImageError
        If there is no such scene, time, plane or channel, if the user wants nothing decided for him, or if the image is
        larger than allowed.
    """

    def __init__(self, stacks: Sequence[Stack], selection: Selection, limits: Limits) -> None:
        self._stacks, self._selection = stacks, selection
        self.decisions = Decisions(strict=selection.strict)
        self._planes: dict[tuple[int | None, Page], int | str] = {}
        self._taken: tuple[int, ...] = ()
        self.scene = self._choose_scene()
        stack = stacks[self.scene]
        together = 1 if stack.has_colours else min(MAX_JOINED, len(stack.channels))
        # one more where planes are reduced
        limits.check_image(stack.shape_px, stack.held_bytes * (together + (len(stack.channels) * stack.planes > 1)))
        self.stack = settle_pages(stack, selection, self.decisions)
        self.pages = self._choose_pages()
        self.joins, self._reason = False, ""
        self.candidates = self._choose_channels()

    def open(self, candidate: tuple[int, ...], page: Page) -> Pixels:
        """Open a picture: (y, x, 1) of one grey channel, otherwise (y, x, 3)."""
        if not candidate:
            return self._open_channel(None, page)
        opened = tuple(self._open_channel(choice, page) for choice in candidate)
        return opened[0] if len(opened) == 1 else ChannelPixels(opened)

    def open_all(self, page: Page) -> Iterator[tuple[list[str], Pixels]]:
        """Open all channels of the image one after the other, on the plane or projection that was segmented.

        Yields
        ------
        names : list of str
            Of the samples of a pixel; "channel_2" for what has no name.
        pixels : Pixels
            (y, x, 1), or (y, x, 3) where a pixel has colours.
        """
        stack = self.stack
        same = Page(page.time, self._find_plane((self._taken or (None,))[0], page))
        for number, name in enumerate(stack.channels):
            own = name or f"channel_{number + 1}"
            names = [own]
            if stack.has_colours:
                names = [f"{own}_{colour}" if len(stack.channels) > 1 else colour for colour in COLOUR_NAMES]
            yield names, self._open_channel(number if len(stack.channels) > 1 else None, same)

    def first_page(self) -> Page:
        """Return what the channels are compared on."""
        return Page(self.pages[0].time, None if self._selection.z == "all" else self.pages[0].z)

    def take(self, candidate: tuple[int, ...], reason: str = "") -> None:
        """Settle the channels, for a reason where there were several, and with them the planes."""
        self._taken = candidate
        if self._selection.z is None and self.stack.planes > 1:
            there = f"{self.stack.planes} planes"
            found = dict.fromkeys(self._find_plane(choice, self.pages[0]) for choice in candidate or (None,))
            for z in found:
                self.decisions.take("z", "--z", there, _say_plane(z))
        if len(self.stack.channels) > 1 and not self._selection.channels:
            verb = "is" if len(candidate) == 1 else "are seen as red, green and blue and"
            taken = f"{' and '.join(self.name(choice) for choice in candidate)} {verb} segmented"
            self.decisions.take(
                "channels", "--channels", list_channels(self.stack.channels), f"{taken}, {reason or self._reason}"
            )

    def name(self, choice: int) -> str:
        """Return the name of a channel, or its number from 1."""
        return self.stack.choices[choice] or f"channel {choice + 1}"

    def describe(self) -> dict[str, Any]:
        """Return what was there, what was taken and why, for run.json; once `take` was called."""
        stack, asked = self.stack, self._selection
        given = {"channels": asked.channels, "z": asked.z, "t": asked.time, "scene": asked.scene}
        why = dict(self.decisions.said)
        why |= {name: "asked for" for name, value in given.items() if value not in (None, ())}
        found = [self._find_plane(choice, page) for page in self.pages for choice in self._taken or (None,)]
        return {
            "contents": {
                "scenes": [
                    {"name": one.name, "height": one.shape_px[0], "width": one.shape_px[1]} for one in self._stacks
                ],
                "t": stack.times,
                "z": stack.planes,
                "channels": list(stack.choices),
            },
            "taken": {
                "scene": self.scene + 1,
                "t": sorted({page.time + 1 for page in self.pages}),
                "z": list(dict.fromkeys(z if isinstance(z, str) else z + 1 for z in found)),
                "channels": [choice + 1 for choice in self._taken or range(len(stack.choices))],
            },
            "why": why,
        }

    def _choose_scene(self) -> int:
        sizes = [
            f"{one.shape_px[0]} x {one.shape_px[1]} px" + (f" ({one.name})" if one.name else "") for one in self._stacks
        ]
        there = f"{len(sizes)} scene{'s' * (len(sizes) > 1)} of {', '.join(sizes)}"
        asked = self._selection.scene
        if isinstance(asked, int):
            if asked > len(sizes):
                raise ImageError(f"has no scene {asked}: it has {there} (--scene)")
            return asked - 1
        scene = choose_scene([stack.shape_px for stack in self._stacks])
        if len(sizes) > 1 and asked is None:
            self.decisions.take("scene", "--scene", there, f"number {scene + 1}, the largest, is segmented")
        return scene

    def _choose_pages(self) -> list[Page]:
        stack, asked = self.stack, self._selection
        for option, name, wanted, count in (
            ("z", "plane", asked.z, stack.planes),
            ("t", "time", asked.time, stack.times),
        ):
            if isinstance(wanted, int) and wanted > count:
                raise ImageError(f"has no {name} {wanted}: it has {self._say_all()} (--{option})")
        if asked.time is None and stack.times > 1:
            self.decisions.take("t", "--t", f"{stack.times} times", "the first is segmented")
        if asked.z is None and stack.planes > 1:
            self.decisions.refuse("--z", f"{stack.planes} planes")
        times = range(stack.times) if asked.time == "all" else [asked.time - 1 if isinstance(asked.time, int) else 0]
        planes: Sequence[int | str | None] = [asked.z]
        if stack.planes == 1 or asked.z == "first":
            planes = [0]
        elif asked.z == "all":
            planes = range(stack.planes)
        elif isinstance(asked.z, int):
            planes = [asked.z - 1]
        return [Page(time, z) for time in times for z in planes]

    def _choose_channels(self) -> list[tuple[int, ...]]:
        stack = self.stack
        if self._selection.channels:
            found = find_channels(self._selection.channels, stack.choices)
            if len(found) > 1 and stack.has_colours and len(stack.channels) > 1:
                raise ImageError("has channels with colours of their own: one can be seen at a time (--channels)")
            return [found if len(stack.choices) > 1 else ()]
        count = len(stack.channels)
        if count == 1:
            return [()]
        self.decisions.refuse("--channels", list_channels(stack.channels))
        page = self.first_page()
        signals = [measure_signal(look_at(self._open_channel(channel, page))) for channel in range(count)]
        seen = [channel for channel in range(count) if signals[channel] >= MIN_SIGNAL]
        nuclear = [channel for channel in seen if is_nuclear(stack.channels[channel])]
        if len(nuclear) == 1:
            self._reason = "whose name is that of a nuclear stain"
            return [(nuclear[0],)]
        if len(seen) < 2:
            self._reason = "the only one with a signal" if seen else "the strongest, though none has a clear signal"
            return [(max(range(count), key=signals.__getitem__),)]
        tried = sorted(sorted(nuclear or seen, key=lambda channel: -signals[channel])[:MAX_TRIED])
        if not nuclear and not stack.has_colours:
            self.joins = may_join([look_at(self._open_channel(channel, page)) for channel in tried])
        return [(channel,) for channel in tried]

    def _open_channel(self, choice: int | None, page: Page) -> Pixels:
        """Open a channel, or with None all there is, at a time and a plane or projection."""
        stack, z = self.stack, self._find_plane(choice, page)
        if isinstance(z, int):
            return stack.open_choice(choice, page.time, z)
        openers = tuple(partial(stack.open_choice, choice, page.time, number) for number in range(stack.planes))
        reduced = ReducedPixels(openers, stack.shape_px, z)
        # a slide is reduced band by band where it is read so
        height, width = stack.shape_px
        return reduced if stack.by_region and height * width > SLIDE_FROM_PX else ArrayPixels(read_all(reduced))

    def _find_plane(self, choice: int | None, page: Page) -> int | str:
        """Return the plane from 0, or one of `REDUCTIONS`, of a channel."""
        if page.z in REDUCTIONS or isinstance(page.z, int):
            return page.z
        if (choice, page) not in self._planes:
            numbers = spread_planes(self.stack.planes)
            best, look = find_sharpest(look_at(self.stack.open_choice(choice, page.time, z)) for z in numbers)
            self._planes[choice, page] = "max" if page.z is None and projects(look) else numbers[best]
        return self._planes[choice, page]

    def _say_all(self) -> str:
        """Say what the image holds."""
        stack = self.stack
        times, planes = (
            f"{stack.times} time{'s' * (stack.times > 1)}",
            f"{stack.planes} plane{'s' * (stack.planes > 1)}",
        )
        return f"{times}, {planes}, {list_channels(stack.choices)}"


def _say_plane(z: int | str) -> str:
    if isinstance(z, str):
        return "their maximum is segmented, as they show fluorescence"
    return f"plane {z + 1}, the sharpest, is segmented, as they show transmitted light"
