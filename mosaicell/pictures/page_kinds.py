"""What the pages of a stack are where its file says nothing, or where the pixels tell otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mosaicell.contrast.modality import analyse_modality
from mosaicell.pictures.decisions import Decisions
from mosaicell.pictures.defaults import are_colours, are_planes, name_pages, spread_pages
from mosaicell.pictures.looks import look_at
from mosaicell.pictures.selection import Selection
from mosaicell.reading.stack import Plane, Stack

#: what pages are taken for, and why
SAID = {
    "planes": "taken for planes of a stack, as they show the same at different focus",
    "times": "taken for times, as they show the same or are as bright",
    "channels": "taken for channels, as they show different things",
}


def settle_pages(stack: Stack, selection: Selection, decisions: Decisions) -> Stack:
    """Return a stack of which it is settled what is a time, a plane, a channel and a colour.

    Parameters
    ----------
    stack
        As its file describes it.
    selection
        What the user asks for: who asks for a plane knows that the pages are planes.
    decisions
        Gets what was decided.
    """
    if stack.as_pages is not None:
        stack = _settle_colours(stack, stack.as_pages, selection)
    count = len(stack.channels)
    if count == 1 or selection.channels:
        return replace(stack, unnamed=False)
    may_be_planes, may_be_times = stack.planes == 1, stack.times == 1
    if stack.unnamed:
        return _settle_unnamed(stack, selection, decisions, may_be_planes=may_be_planes, may_be_times=may_be_times)
    if may_be_planes and not stack.has_colours and len(set(stack.channels)) < count:
        looks = [look_at(stack.open_plane(Plane(channel=channel)), shortly=True) for channel in spread_pages(count)]
        if are_planes(looks, stack.channels):
            decisions.take("pages", "--channels", f"{count} channels without names", SAID["planes"])
            return stack.with_planes()
    return stack


def _settle_unnamed(
    stack: Stack, selection: Selection, decisions: Decisions, *, may_be_planes: bool, may_be_times: bool
) -> Stack:
    if may_be_planes and selection.z is not None:
        return stack.with_planes()
    if may_be_times and selection.time is not None:
        return stack.with_times()
    count = len(stack.channels)
    there = f"{count} pages of which it does not say what they are"
    options = "--channels, --z or --t"
    decisions.refuse(options, there)
    looks = [look_at(stack.open_plane(Plane(channel=page)), shortly=True) for page in spread_pages(count)]
    kind = name_pages(looks, have_colours=stack.has_colours)
    if kind == "planes" and not may_be_planes:
        kind = "times"
    if kind == "times" and not may_be_times:
        kind = "channels"
    decisions.take("pages", options, there, SAID[kind])
    if kind == "channels":
        return replace(stack, unnamed=False)
    return stack.with_planes() if kind == "planes" else stack.with_times()


def _settle_colours(stack: Stack, pages: Stack, selection: Selection) -> Stack:
    """Decide whether samples stored one after the other are colours, as their file says."""
    looks = [look_at(pages.open_plane(Plane(channel=page))) for page in range(len(pages.channels))]
    if not are_colours(looks):
        return pages
    colours = np.stack(looks[:3], axis=2)
    if len(looks) > 3 or selection.channels or (colours == colours[..., :1]).all():
        return stack
    # dark with bright structures: stains, as they come as pages of their own
    return replace(pages, unnamed=False) if analyse_modality(colours) == "fluorescence" else stack
