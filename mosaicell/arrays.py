"""Pictures as arrays, from files or from arrays of any order of axes: `mosaicell.read` and `Picture`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.capacity import available_bytes
from mosaicell.machine.limits import Limits
from mosaicell.networks.session import available_threads
from mosaicell.pictures.selection import PLANE_RULES, SCENE_RULES, TIME_RULES, Selection, read_choice
from mosaicell.reading.images import open_pixels
from mosaicell.reading.pixels import read_all
from mosaicell.reading.samples import limit_samples
from mosaicell.reading.stack import COLOUR_NAMES

#: axes of an array: rows, columns, and channels or the colours of a pixel
ROWS, COLUMNS, CHANNELS, COLOURS = "Y", "X", "C", "S"
#: channels that are seen together at most
MOST_CHANNELS = 3


@dataclass(frozen=True)
class Picture:
    """A picture of a file, for `segment`.

    Attributes
    ----------
    pixels : numpy.ndarray
        (y, x, c) with c in {1, 3}; uint8, uint16 or finite float32.
    names : tuple of str
        Of its channels; two where blue was added to them.
    pixel_um : (float, float) or None
        Height and width of a pixel, where the file states them.
    notes : tuple of str
        Every decision taken for the user, in words.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    pixel_um: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def picture_of(pixels: np.ndarray) -> Picture:
    """Make a picture of pixels (y, x, c) as `reading.images.read_image` gives them: grey, or red, green and blue."""
    return Picture(pixels, ("grey",) if pixels.shape[2] == 1 else COLOUR_NAMES)


def read(
    path: str | os.PathLike[str],
    *,
    channels: str | int | Sequence[str | int] = (),
    z: int | str | None = None,
    t: int | None = None,
    scene: int | str | None = None,
    max_megapixels: float = 1000.0,
) -> Picture:
    """Read a picture from a file of any supported form.

    Parameters
    ----------
    path
        The file.
    channels
        By number from 1 or by name; up to three are seen as red, green and blue. Without any, those with a signal,
        three at most.
    z, t, scene
        As the options of the command line: numbers from 1; z also "first", "focus", "max" or "mean".
    max_megapixels
        Larger images are refused.

    Raises
    ------
    ValueError
        When there is no such file or picture, or it cannot be read (`mosaicell.errors.ImageError`).
    """
    asked = (channels,) if isinstance(channels, str | int) else channels
    selection = Selection(
        tuple(map(str, asked)), _choose(z, PLANE_RULES), _choose(t, TIME_RULES), _choose(scene, SCENE_RULES)
    )
    if "all" in (selection.z, selection.time):
        raise ValueError("a picture has one plane and one time; read them one after the other")
    limits = Limits(round(max_megapixels * 1e6), available_bytes())
    with open_pixels(path, limits, available_threads(), selection=selection) as image:
        pixels = read_all(image.pixels)
        names = tuple(_name_channels(image.pictures.candidates, image.pictures.stack.choices, pixels.shape[2]))
        pixel_um = image.resolution.pixel_um if image.resolution else None
        notes = (*image.notes, *image.pictures.decisions.sentences())
    return Picture(pixels, names, pixel_um, notes)


def _choose(value: int | str | None, rules: tuple[str, ...]) -> int | str | None:
    return None if value is None else read_choice(str(value), rules)


def _name_channels(candidates: Sequence[tuple[int, ...]], choices: Sequence[str], count: int) -> Iterator[str]:
    """Name the samples of a picture of these channels, `count` or, where blue was added to two, one fewer."""
    taken = [choice for candidate in candidates for choice in candidate] or range(len(choices))
    for number in taken[:count]:
        yield choices[number] or f"channel_{number + 1}"


def arrange(image: np.ndarray, axes: str | None, names: Sequence[str], pixel_um: tuple[float, float] | None) -> Picture:
    """Make a picture of an array.

    Parameters
    ----------
    image, axes, names, pixel_um
        As in `Segmenter.segment`.

    Raises
    ------
    ValueError
        When the axes are not those of the array, or it holds no pixels, or more channels than are seen together.
    """
    array = np.asarray(image)
    given = (axes or (ROWS + COLUMNS if array.ndim == 2 else "")).upper()
    if len(given) != array.ndim or sorted(given) not in ([*"XY"], [*"CXY"], [*"SXY"]):
        raise ValueError(
            f"an image of shape {array.shape} cannot have the axes {axes!r}; say axes='YX', 'YXS' (colours), 'YXC' or "
            "'CYX' (channels), and take one plane or projection of stacks"
        )
    if not array.size:
        raise ValueError(f"the image has no pixels: its shape is {array.shape}")
    order = [given.index(ROWS), given.index(COLUMNS), *(place for place, axis in enumerate(given) if axis in "CS")]
    arranged = array.transpose(order).reshape(array.shape[order[0]], array.shape[order[1]], -1)
    count = arranged.shape[2]
    if count > MOST_CHANNELS:
        raise ValueError(f"the image has {count} channels; {MOST_CHANNELS} can be seen at once: choose some of them")
    if names and len(names) != count:
        raise ValueError(f"the image has {count} channels and {len(names)} names")
    own = COLOUR_NAMES if COLOURS in given and count == 3 else [f"channel_{number}" for number in range(1, count + 1)]
    try:
        pixels = limit_samples(arranged, [])
    except ImageError as error:
        raise ImageError(f"the image {error}") from error
    return Picture(pixels, tuple(names or own), pixel_um)
