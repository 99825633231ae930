"""Forms of files: recognised by their first bytes, not by the name, so that a TIFF called .png is read as what it is.

Whatever happens to the name of a file meanwhile, what was checked is what is read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import Opener, check_regular, open_anywhere

#: first bytes of every supported form
SIGNATURES = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"ObjectType": "MetaImage",
    b"NDims = ": "MetaImage",
}
#: size up to which the offsets of a TIFF have 32 bits
LONG_BYTES = 1 << 32


@contextmanager
def open_form(path: str | os.PathLike[str], opener: Opener = open_anywhere) -> Iterator[tuple[io.BufferedReader, str]]:
    """Open a file and recognise its form by its first bytes; every refusal is one sentence."""
    try:
        with io.FileIO(os.fspath(path), opener=opener) as opened, _LoneFile(opened) as file:
            # what the opener looked at before may be something else by now
            check_regular(os.fstat(opened.fileno()).st_mode)
            yield file, _recognise(file)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error


class _LoneFile(io.BufferedReader):
    """An open file that names no others.

    Of a set of files that belong together, tifffile opens those that one of them names, wherever they are, but only for
    a file that it can map into memory. So the pages of other files never pass for this one's.
    """

    def __init__(self, opened: io.FileIO) -> None:
        super().__init__(opened)
        self._opened = opened

    @property
    def name(self) -> str:
        """The file's name for tifffile, which takes that of a scanner's file for a sign of offsets of 64 bits.

        Only files beyond 4 GiB have such; any other is what its bytes say, and what it would be under another name.
        """
        is_long = os.fstat(self._opened.fileno()).st_size > LONG_BYTES
        return str(self._opened.name) if is_long else ""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("not to be mapped into memory: the program would end when the file is cut")


def _recognise(file: io.BufferedReader) -> str:
    """Return the form of an open file, or refuse it."""
    head = file.read(12)
    if not head:
        raise ImageError("is empty: 0 bytes")
    form = next((form for signature, form in SIGNATURES.items() if head.startswith(signature)), None)
    if form is None or (form == "WebP" and head[8:] != b"WEBP"):
        raise ImageError(f"is no image: it begins with {head!r}; allowed are TIFF, PNG, JPEG, BMP, WebP and MetaImage")
    file.seek(0)
    return form
