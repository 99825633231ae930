"""The failures that callers tell apart: of one image, which must not stop the others, and of a run."""

from __future__ import annotations


class ImageError(ValueError):
    """A file that cannot become an image, or a label image.

    The message is a sentence without its subject ("is empty: 0 bytes"): the caller knows the name and puts it
    before.
    """


class OptionError(ValueError):
    """An option, a device or a folder that cannot be used; the run stops."""
