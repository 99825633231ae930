"""Which images of a run are split over the workers of a cluster, and what cannot be had of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mosaicell.errors import ImageError, OptionError
from mosaicell.options import BLOOD, MASK_FORMATS, Options
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.zarr_stacks import measure_zarr
from mosaicell.runs.inputs import Source


def choose_split(
    sources: Sequence[Source], openers: Mapping[Path, Opener], options: Options, above_px: int
) -> set[Source]:
    """Return the images that are split over the workers: OME-Zarr of more pixels than so many.

    Raises
    ------
    OptionError
        When an option asks for what a slide that is split cannot have.
    """
    found = {source for source in sources if source.path.is_dir() and _count_px(source, openers, options) > above_px}
    asked = [
        *(f"--{extra}" for extra in ("overlay", "geojson", "rois") if extra in options.extras),
        *(["--expand"] if options.expand_px else []),
        *([f"--blood {options.blood}"] if options.blood != BLOOD[0] else []),
        *([f"--mask-format {options.mask_format}"] if options.mask_format != MASK_FORMATS[0] else []),
    ]
    if found and asked:
        first = min(source.name for source in found)
        raise OptionError(
            f"{first} is split over the workers, for which there is no {' and no '.join(asked)}: leave that out, or "
            "raise --split-above"
        )
    return found


def _count_px(source: Source, openers: Mapping[Path, Opener], options: Options) -> int:
    """Count the pixels of an OME-Zarr, 0 where something is wrong with it, as whoever opens it will say."""
    scene = options.selection.scene
    try:
        return measure_zarr(source.path, openers[source.root], scene if isinstance(scene, int) else None)
    except (ImageError, OSError):
        return 0
