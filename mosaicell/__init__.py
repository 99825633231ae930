"""Segment every cell in a microscopy image: files in, instance masks out.

    import mosaicell

    segmenter = mosaicell.Segmenter(device="cpu")
    result = segmenter.segment(image, axes="YX")        # or segmenter.segment(mosaicell.read("a.tif", channels="DAPI"))
    result.labels                                       # uint32 (y, x)
    pandas.DataFrame(result.cells)

Each name is loaded when it is first used, so that the command line starts as fast as without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from mosaicell.arrays import Picture, read
    from mosaicell.segmenter import Result, Segmenter, segment

__all__ = ["Picture", "Result", "Segmenter", "__version__", "read", "segment"]
#: where names are that are not in segmenter.py
_MODULES = {"Picture": "arrays", "read": "arrays"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("mosaicell.options").VERSION
    if name in __all__:
        return getattr(import_module(f"mosaicell.{_MODULES.get(name, 'segmenter')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
