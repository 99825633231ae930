"""How large an image may be: the pixels allowed, and the memory that reading and segmenting it takes."""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import ImageError

#: pixels above which an image is refused before it is decoded: a small damaged header can ask for terabytes
MAX_PIXELS = 1_000_000_000
#: images of more pixels are segmented as slides: band by band, in bounded memory
SLIDE_FROM_PX = 16_000_000
#: Memory of the program, and for each pixel of an image in addition to its samples: of images that are segmented whole,
#: and of slides. Largest peaks measured, both branches included: 0.36 GB at 1 megapixel, 0.60 at 4, 1.52 at 16; beyond
#: the 4 bytes per pixel of the label image of slides 0.93 GB on two threads, with the flows of the Omnipose-style
#: network. About 15 % more is reserved.
WHOLE_BYTES, WHOLE_BYTES_PER_PX = 400_000_000, 85
SLIDE_BYTES, SLIDE_BYTES_PER_PX = 750_000_000, 5
#: memory of each thread that decodes a slide: 0.11 GB measured
WORKER_BYTES = 160_000_000


def needed_bytes(pixels: int, decoded_bytes: int, workers: int = 1) -> int:
    """Estimate how large the process becomes while it reads and segments an image.

    Parameters
    ----------
    pixels
        Height times width.
    decoded_bytes
        Size of all samples as stored.
    workers
        Threads that decode a slide.
    """
    if pixels <= SLIDE_FROM_PX:
        return WHOLE_BYTES + pixels * WHOLE_BYTES_PER_PX + decoded_bytes
    return SLIDE_BYTES + pixels * SLIDE_BYTES_PER_PX + decoded_bytes + workers * WORKER_BYTES


@dataclass(frozen=True)
class Limits:
    """What an image may take.

    Attributes
    ----------
    max_pixels
        Largest height times width.
    memory_bytes
        Size that the process may reach, None for any.
    """

    max_pixels: int = MAX_PIXELS
    memory_bytes: int | None = None

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
        self.check_memory(needed_bytes(height * width, decoded_bytes))

    def slide_workers(self, pixels: int, decoded_bytes: int, most: int) -> int:
        """Return how many threads may decode a slide: as many as memory allows, at least one and `most` at most."""
        if self.memory_bytes is None:
            return most
        spare = self.memory_bytes - needed_bytes(pixels, decoded_bytes, workers=0)
        return max(1, min(most, spare // WORKER_BYTES))

    def check_memory(self, needed: int) -> None:
        """Refuse what needs more bytes than there are, with an ImageError."""
        if self.memory_bytes is not None and needed > self.memory_bytes:
            raise ImageError(
                f"needs about {needed / 1e9:.1f} GB of memory, {self.memory_bytes / 1e9:.1f} GB are available"
            )


#: the limits where nobody set others
DEFAULT_LIMITS = Limits()
