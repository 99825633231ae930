"""What is segmented of a file that holds several pictures where the user did not say: the rules, and nothing else.

`docs/pictures.md` has them in a table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mosaicell.contrast.modality import analyse_modality
from mosaicell.pictures.looks import are_alike, differ_in_focus, have_equal_levels, measure_sharpness

#: names of stains of nuclei, of DNA and of its proteins, as they begin or stand alone in the name of a channel
NUCLEAR_NAME = re.compile(
    r"(?<![a-z])(?:dapi|hoechst|h33342|h33258|dna|ds-?dna|nucle(?:i|us|ar)|nuc(?:blue|red|green|spot)?(?![a-z])|histone"
    r"|h2a|h2b|hh?3(?![a-z0-9])|draq ?[57]|sytox|syto ?\d+|to-?pro|propidium|7-?aad|pi(?![a-z0-9])|acridine|ir ?19[13]"
    r"|19[13] ?ir|intercalator|ha?ematoxylin)",
    re.IGNORECASE,
)
#: a channel whose range is smaller, in standard deviations of its noise, shows nothing: noise alone has about 1
MIN_SIGNAL = 1.5
#: channels that are segmented to compare their predicted F1, those with the strongest signal first
MAX_TRIED = 8
#: of more channels than this only the first scale is tried
FEW_TRIED = 3
#: what is found in a channel are spots if they have a smaller share of the area that cells of another one have, whose
#: predicted F1 is at least this: nuclei have a fifth of their cells and more
SPOT_AREA, TRUSTED_F1 = 1 / 6, 0.5
#: and if they are tiny, and smaller than this share of what transmitted light shows, though with a lower predicted F1
TINY_PX, TINY_AREA, SEEN_F1 = 100, 1 / 3, 0.1
#: more channels than this without names that show the same are planes
FEW_CHANNELS = 3
#: pages that are looked at to tell what they are, and planes among which the sharpest is looked for
LOOKED_PAGES, LOOKED_PLANES = 40, 64
#: a plane is the sharpest only if it is sharper than the first by this factor
SHARPER = 1.05
#: at least this share of an alpha channel is either transparent or opaque
ALPHA_SHARE = 0.5


def choose_scene(shapes_px: Sequence[tuple[int, int]]) -> int:
    """Return the number of the largest image, of equal ones the first."""
    sizes = [math.prod(shape) for shape in shapes_px]
    return sizes.index(max(sizes))


def is_nuclear(name: str) -> bool:
    """Say whether the name of a channel is one of a nuclear stain."""
    return NUCLEAR_NAME.search(name) is not None


def spread_pages(count: int) -> list[int]:
    """Return the pages to look at to tell what so many are: all of a few, of more pairs that follow each other."""
    if count <= LOOKED_PAGES:
        return list(range(count))
    starts = np.linspace(0, count - 2, LOOKED_PAGES // 2).astype(int).tolist()
    return sorted({*starts, *(start + 1 for start in starts)})


def spread_planes(count: int) -> list[int]:
    """Return the planes among which the sharpest is looked for: all, or as many spread evenly."""
    return sorted(set(np.linspace(0, count - 1, min(count, LOOKED_PLANES)).round().astype(int).tolist()))


def name_pages(looks: Sequence[np.ndarray], *, have_colours: bool) -> str:
    """Say what pages are of which a file says nothing: "planes", "times" or "channels".

    Parameters
    ----------
    looks
        At those of `spread_pages`.
    have_colours
        A page has red, green and blue, so that it is no channel.
    """
    if are_alike(looks):
        return "planes" if differ_in_focus(looks) else "times"
    return "times" if have_colours or have_equal_levels(looks) else "channels"


def are_planes(looks: Sequence[np.ndarray], names: Sequence[str]) -> bool:
    """Say whether what a file calls channels are planes: more than a few without names that show the same."""
    return len(names) > FEW_CHANNELS and len(set(names)) < len(names) and are_alike(looks)


def are_colours(looks: Sequence[np.ndarray]) -> bool:
    """Say whether samples stored one after the other are red, green, blue and perhaps alpha, and not frames.

    Frames have equal levels, or show the same at different focus; where they are four, the last looks like no alpha.
    """
    first, *others = looks
    if all(np.array_equal(first, other) for other in others):
        return True
    if len(looks) > 3 and not _looks_like_alpha(looks[3]):
        return False
    colours = looks[:3]
    return not (have_equal_levels(colours) or (are_alike(colours) and differ_in_focus(colours)))


def _looks_like_alpha(look: np.ndarray) -> bool:
    ends = (look == look.min()) | (look == look.max())
    return float(ends.mean()) >= ALPHA_SHARE


def find_sharpest(looks: Iterable[np.ndarray]) -> tuple[int, np.ndarray]:
    """Return the number of the sharpest look, and it; the first unless another one is clearly sharper."""
    best, sharpest = -1, np.empty((0, 0), np.float32)
    highest = first = 0.0
    for number, look in enumerate(looks):
        sharpness = measure_sharpness(look)
        if number == 0:
            best, sharpest, highest, first = 0, look, sharpness, sharpness
        elif sharpness > max(highest, SHARPER * first):
            best, sharpest, highest = number, look, sharpness
    return best, sharpest


def projects(sharpest: np.ndarray) -> bool:
    """Say whether of a stack with this look at its sharpest plane the maximum is taken: of fluorescence."""
    return analyse_modality(sharpest) == "fluorescence"


def may_join(looks: Sequence[np.ndarray]) -> bool:
    """Say whether channels may be seen together as colours: not when they are frames of equal levels."""
    return not have_equal_levels(looks)


@dataclass(frozen=True)
class Found:
    """What the branches find in a channel at which they look.

    Attributes
    ----------
    expected_f1
        0 without cells; without judges the branch's confidence.
    area_px
        Median of its cells, 0 without any.
    modality
        As `analyse_sample` says.
    """

    expected_f1: float
    area_px: float
    modality: str


def are_spots(found: Found, others: Iterable[Found]) -> bool:
    """Say whether what was found in a channel are spots in cells that another channel shows."""
    for other in others:
        if other.expected_f1 >= TRUSTED_F1 and found.area_px < SPOT_AREA * other.area_px:
            return True
        is_transmitted = other.modality != "fluorescence" and found.modality == "fluorescence"
        is_tiny = found.area_px < min(TINY_PX, TINY_AREA * other.area_px)
        if is_transmitted and is_tiny and other.expected_f1 >= SEEN_F1:
            return True
    return False
