"""How large an image may be: the pixels allowed, and the memory that reading and segmenting it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mosaicell.errors import ImageError

#: pixels above which an image is refused before it is decoded: a small damaged header can ask for terabytes
MAX_PIXELS = 1_000_000_000
#: images of more pixels are segmented as slides: band by band, in bounded memory. From about here on bands need less
#: than the whole, so that no image needs more than a larger one
SLIDE_FROM_PX = 8_000_000
#: an image is enlarged by this factor at most, and held whole up to so many pixels
MAX_ENLARGEMENT, MAX_ENLARGED_PX = 3.0, 4_000_000
#: one that has more is enlarged by this factor at most: nine times the pixels do not fit into the challenge's tolerance
MAX_LARGE_ENLARGEMENT = 2.0
#: Memory of the program; for each pixel of an image in addition to its samples; for each pixel that the networks see,
#: of which there are more where an image is enlarged. Of images that are segmented whole, and of slides. Largest peaks
#: measured, both branches included: 0.36 GB at 1 megapixel, 0.60 at 4, 0.53 at 1 enlarged to 4, 1.0 at 8; by bands on
#: two threads, beyond the 4 bytes per pixel of the label image, 1.0 GB of slides and 1.2 of 1.7 megapixels enlarged
#: three times; 1.64 GB in all at 88 megapixels. About 15 % more is reserved where an image is held whole, else 10 %.
WHOLE_BYTES, WHOLE_BYTES_PER_PX, WHOLE_BYTES_PER_SEEN_PX = 400_000_000, 20, 65
SLIDE_BYTES, SLIDE_BYTES_PER_PX = 900_000_000, 7
#: memory of each thread that decodes a slide: 0.11 GB measured
WORKER_BYTES = 160_000_000
#: networks that see an image
NETWORKS = 2
#: memory of each further tile of a network call in each network, which keeps it: 0.21 GB measured in two
TILE_BYTES = 120_000_000
#: memory of each tile of a call with test-time augmentation, which holds a view and the sum of those before
TTA_TILE_BYTES = 40_000_000
#: px from one tile of a row to the next, at least
TILE_STEP_PX = 560
#: slides are seen in strips of about this width
STRIP_PX = 7000


def largest_scale(size_px: int) -> float:
    """Return the factor by which an image of so many pixels is enlarged at most."""
    return min(MAX_ENLARGEMENT, max(MAX_LARGE_ENLARGEMENT, math.sqrt(MAX_ENLARGED_PX / max(1, size_px))))


def seen_shape(shape_px: tuple[int, int]) -> tuple[int, int]:
    """Return the largest height and width at which networks may see an image in one piece, which is not reduced."""
    height, width = shape_px
    affordable = math.sqrt(MAX_ENLARGED_PX / max(1, height * width))
    factor = max(1.0, min(MAX_ENLARGEMENT, affordable))
    return math.ceil(height * factor), math.ceil(width * factor)


def needed_bytes(
    shape_px: tuple[int, int],
    decoded_bytes: int,
    *,
    batch_size: int = 1,
    networks: int = NETWORKS,
    tta: bool = False,
    workers: int = 1,
    part_px: int | None = None,
) -> int:
    """Estimate how large the process becomes while it reads and segments an image.

    Parameters
    ----------
    shape_px
        Height and width.
    decoded_bytes
        Size of all samples as stored.
    batch_size
        Tiles per network call; no more than a row of tiles are run at once.
    networks
        How many may be loaded, those that other images needed included.
    tta
        With test-time augmentation.
    workers
        Threads that decode a slide.
    part_px
        So many pixels of a slide are labelled at once, in no more than a strip of it; None for all.
    """
    pixels = math.prod(shape_px)
    is_slide = pixels > SLIDE_FROM_PX
    if is_slide and part_px is not None:
        pixels = min(pixels, part_px)
        decoded_bytes = math.ceil(decoded_bytes * min(1, STRIP_PX / shape_px[1]))
    seen_px = (shape_px[0], min(shape_px[1], STRIP_PX)) if is_slide else seen_shape(shape_px)
    tiles = min(batch_size, max(1, math.ceil(seen_px[1] / TILE_STEP_PX)))
    common = decoded_bytes + (tiles - 1) * networks * TILE_BYTES + (tiles * TTA_TILE_BYTES if tta else 0)
    by_bands = SLIDE_BYTES + pixels * SLIDE_BYTES_PER_PX + workers * WORKER_BYTES + common
    if is_slide:
        return by_bands
    whole = WHOLE_BYTES + pixels * WHOLE_BYTES_PER_PX + math.prod(seen_px) * WHOLE_BYTES_PER_SEEN_PX + common
    # where it may have to be enlarged to more than is held in one piece
    return max(whole, by_bands) if pixels * MAX_ENLARGEMENT**2 > MAX_ENLARGED_PX else whole


@dataclass(frozen=True)
class Limits:
    """What an image may take.

    Attributes
    ----------
    max_pixels
        Largest height times width.
    memory_bytes
        Size that the process may reach, None for any.
    batch_size, networks, tta, part_px
        As in `needed_bytes`.
    """

    max_pixels: int = MAX_PIXELS
    memory_bytes: int | None = None
    batch_size: int = 1
    networks: int = NETWORKS
    tta: bool = False
    part_px: int | None = None

    def check_image(self, shape_px: tuple[int, int], decoded_bytes: int) -> None:
        """Refuse an image before it is decoded.

        Parameters
        ----------
        shape_px
            Height and width.
        decoded_bytes
            Size of all its samples as stored, those of channels and planes that are read along included.

        Raises
        ------
        ImageError
            If it has too many pixels or needs too much memory.
        """
        height, width = shape_px
        if height * width > self.max_pixels:
            raise ImageError(
                f"has {height} x {width} pixels; allowed are {self.max_pixels:,} in all (--max-megapixels)"
            )
        self.check_memory(self._needed_bytes(shape_px, decoded_bytes, workers=1))

    def slide_workers(self, shape_px: tuple[int, int], decoded_bytes: int, most: int) -> int:
        """Return how many threads may decode a slide: as many as memory allows, at least one and `most` at most."""
        if self.memory_bytes is None:
            return most
        spare = self.memory_bytes - self._needed_bytes(shape_px, decoded_bytes, workers=0)
        return max(1, min(most, spare // WORKER_BYTES))

    def _needed_bytes(self, shape_px: tuple[int, int], decoded_bytes: int, workers: int) -> int:
        return needed_bytes(
            shape_px,
            decoded_bytes,
            batch_size=self.batch_size,
            networks=self.networks,
            tta=self.tta,
            workers=workers,
            part_px=self.part_px,
        )

    def check_memory(self, needed: int) -> None:
        """Refuse what needs more bytes than there are, with an ImageError."""
        if self.memory_bytes is not None and needed > self.memory_bytes:
            raise ImageError(
                f"needs about {needed / 1e9:.1f} GB of memory, {self.memory_bytes / 1e9:.1f} GB are available"
            )


#: the limits where nobody set others
DEFAULT_LIMITS = Limits()
