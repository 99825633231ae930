"""Arrays of Zarr 2 and 3: what their metadata says, checked before the library believes it.

The library would load whatever a codec is called by, one that runs pickled code among them, and any size of a chunk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.ngff import ARRAY_FILE, MAX_ARRAY_BYTES, NODE_FILE, read_json

#: largest chunk or shard, and most chunks of an array that a plane, or a shard, is divided into
MAX_CHUNK_BYTES, MAX_CHUNKS = 1 << 30, 300_000
#: codecs that neither run code nor read anything else
CODECS_2 = ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta")
SHARDING = "sharding_indexed"
CODECS_3 = ("bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", SHARDING)
#: bool, integers and floats as Zarr 2 writes them, and the names of Zarr 3
DTYPE_2 = re.compile(r"\|b1|[|<>][iu]1|[<>][iu][248]|[<>]f[248]")
DTYPES_3 = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)


@dataclass(frozen=True)
class ArrayHead:
    """What an array is.

    Attributes
    ----------
    path
        In the folder.
    version
        2 or 3, of Zarr.
    stored
        Its metadata as they were checked.
    shape, chunks, shards
        Lengths of the axes; of the least part that is read; of what is one file, equal to `chunks` without shards.
    dtype
        Of its samples, in the machine's byte order.
    """

    path: str
    version: int
    stored: bytes
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    dtype: np.dtype

    @property
    def file(self) -> str:
        """Where the metadata lie in the folder."""
        return f"{self.path}/{NODE_FILE if self.version == 3 else ARRAY_FILE}"

    @property
    def file_bytes(self) -> int:
        """What a chunk or shard that is one file decodes to."""
        return math.prod(self.shards) * self.dtype.itemsize


def read_array_head(folder: Path, path: str, opener: Opener) -> ArrayHead:
    """Read what an array is.

    Raises
    ------
    ImageError
        If it is not there, damaged, of a kind that is not read, or divided into too many or too large parts.
    """
    for version, name in ((3, NODE_FILE), (2, ARRAY_FILE)):
        found = read_json(folder, f"{path}/{name}", opener, MAX_ARRAY_BYTES)
        if found is not None:
            parse = _parse_3 if version == 3 else _parse_2
            head = ArrayHead(path, version, found[0], *parse(found[1]))
            _check_sizes(head)
            return head
    raise ImageError(f"is damaged: its array {path!r} is not there")


def _parse_2(said: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], np.dtype]:
    dtype = said.get("dtype")
    if not isinstance(dtype, str) or not DTYPE_2.fullmatch(dtype):
        raise ImageError(f"has samples of type {dtype!r:.60}; allowed are integers and floats")
    filters = said.get("filters")
    codecs = [said.get("compressor"), *(filters if isinstance(filters, list) else [filters])]
    for codec in codecs:
        if codec is not None:
            _check_codec(codec.get("id") if isinstance(codec, dict) else codec, CODECS_2)
    chunks = _lengths(said, "chunks")
    return _lengths(said, "shape"), chunks, chunks, np.dtype(dtype).newbyteorder("=")


def _parse_3(said: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], np.dtype]:
    dtype = said.get("data_type")
    if dtype not in DTYPES_3:
        raise ImageError(f"has samples of type {dtype!r:.60}; allowed are integers and floats")
    if said.get("storage_transformers"):
        raise ImageError("is Zarr with storage transformers, which are not read")
    grid = said.get("chunk_grid")
    if not isinstance(grid, dict) or grid.get("name") != "regular":
        raise ImageError("is Zarr of irregular chunks, which are not read")
    shards = _lengths(_configuration(grid), "chunk_shape")
    return _lengths(said, "shape"), _check_codecs(said.get("codecs"), shards), shards, np.dtype(dtype)


def _check_codecs(codecs: Any, chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Check the codecs of chunks, and of those within them; return the lengths of the innermost."""
    innermost = chunks
    for codec in codecs if isinstance(codecs, list) else [codecs]:
        name = codec.get("name") if isinstance(codec, dict) else codec
        _check_codec(name, CODECS_3)
        if name == SHARDING:
            sharded = _configuration(codec)
            inner = _lengths(sharded, "chunk_shape")
            if len(inner) != len(chunks) or any(whole % part for whole, part in zip(chunks, inner, strict=True)):
                raise ImageError(f"is damaged: its shards of {chunks} are no multiples of {inner}")
            _check_codecs(sharded.get("index_codecs"), chunks)
            innermost = _check_codecs(sharded.get("codecs"), inner)
    return innermost


def _check_codec(name: Any, allowed: Sequence[str]) -> None:
    if name not in allowed:
        raise ImageError(f"is compressed by {name!r:.60}; allowed in Zarr are {', '.join(allowed)}")


def _configuration(entry: dict[str, Any]) -> dict[str, Any]:
    value = entry.get("configuration")
    return value if isinstance(value, dict) else {}


def _lengths(said: dict[str, Any], name: str) -> tuple[int, ...]:
    value = said.get(name)
    if not isinstance(value, list) or not value or not all(type(one) is int and one > 0 for one in value):
        raise ImageError(f"is damaged: {name} of its array is {value!r:.100}")
    return tuple(value)


def _check_sizes(head: ArrayHead) -> None:
    if len(head.shards) != len(head.shape):
        raise ImageError(f"is damaged: its array of shape {head.shape} has chunks of {head.shards}")
    if head.file_bytes > MAX_CHUNK_BYTES:
        raise ImageError(
            f"has chunks of {head.file_bytes / 1e9:.1f} GB; allowed are {MAX_CHUNK_BYTES / 1e9:.1f}: divide them"
        )
    inner = math.prod(whole // part for whole, part in zip(head.shards, head.chunks, strict=True))
    planes = math.prod(math.ceil(side / part) for side, part in zip(head.shape[-2:], head.chunks[-2:], strict=True))
    if max(inner, planes) > MAX_CHUNKS:
        raise ImageError(f"is divided into {max(inner, planes):,} chunks; allowed are {MAX_CHUNKS:,}")
