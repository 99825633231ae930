"""What the zarr library reads a folder through: files that the input's opener allows, and metadata that were checked.

To be imported when an OME-Zarr is read: the library takes as long to load as everything else together.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.zarr_arrays import ArrayHead

#: what a chunk that does not shrink may have more than its pixels
SPARE_BYTES = 64 << 10


class FolderStore(Store):
    """The chunks of one array, read only.

    Parameters
    ----------
    folder
        Of the image.
    head
        Of the array; its metadata are given out as they were checked, those of others not at all.
    opener
        Opens the files.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, folder: Path, head: ArrayHead, opener: Opener) -> None:
        super().__init__(read_only=True)
        self._folder, self._head, self._opener = folder, head, opener
        self._is_stopped = False

    def stop(self) -> None:
        """Refuse to read any further, so that what still waits to be decoded ends."""
        self._is_stopped = True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a file, or some of them; None where there is no such file."""
        if key == self._head.file:
            return prototype.buffer.from_bytes(self._head.stored)
        if not key.startswith(f"{self._head.path}/") or Path(key).name.startswith((".", "zarr.json")):
            return None
        found = await asyncio.to_thread(self._read, key, byte_range)
        return None if found is None else prototype.buffer.from_bytes(found)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of files, as `get`."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Say whether there is such a file."""
        return key == self._head.file or await asyncio.to_thread(self._read, key, RangeByteRequest(0, 0)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse."""
        self._check_writable()

    def list(self) -> AsyncIterator[str]:
        """List nothing: an array is read by the names of its chunks."""
        return _list_nothing()

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List nothing, as `list`."""
        return _list_nothing()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List nothing, as `list`."""
        return _list_nothing()

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        if self._is_stopped:
            raise ImageError("is not read any further")
        most = 2 * self._head.file_bytes + SPARE_BYTES
        try:
            with io.FileIO(os.fspath(self._folder / key), opener=self._opener) as file:
                start, end = _find_range(byte_range, file.seek(0, os.SEEK_END))
                if end - start > most:
                    raise ImageError(f"is damaged: {key} has {end - start:,} bytes, more than its pixels")
                file.seek(start)
                return file.read(end - start)
        except (FileNotFoundError, NotADirectoryError):
            return None


async def _list_nothing() -> AsyncIterator[str]:
    for name in list[str]():
        yield name


def _find_range(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return where a part of a file of so many bytes begins and ends."""
    if isinstance(byte_range, RangeByteRequest):
        start = min(byte_range.start, size)
        return start, max(start, min(byte_range.end, size))
    if isinstance(byte_range, OffsetByteRequest):
        return min(byte_range.offset, size), size
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, size - byte_range.suffix), size
    return 0, size
