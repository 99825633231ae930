"""Arrays of Zarr: what their metadata may say, and what the library is never asked to do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import open_anywhere
from mosaicell.reading.zarr_arrays import read_array_head

ARRAY_2: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [2, 100, 90],
    "chunks": [1, 64, 32],
    "dtype": ">u2",
    "compressor": {"id": "blosc"},
    "filters": None,
}
CODECS: list[Any] = [{"name": "bytes"}, {"name": "zstd"}]
SHARDS: dict[str, Any] = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [1, 32, 32], "codecs": CODECS, "index_codecs": [{"name": "crc32c"}]},
}
ARRAY_3: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [2, 100, 90],
    "data_type": "uint16",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 64, 32]}},
    "codecs": CODECS,
}


def read(folder: Path, said: dict[str, Any]) -> Any:
    (folder / "0").mkdir(exist_ok=True)
    name = ".zarray" if said.get("zarr_format") == 2 else "zarr.json"
    (folder / "0" / name).write_text(json.dumps(said))
    return read_array_head(folder, "0", open_anywhere)


def changed(said: dict[str, Any], **entries: Any) -> dict[str, Any]:
    return {**copy.deepcopy(said), **entries}


@pytest.mark.parametrize("said", [ARRAY_2, ARRAY_3], ids=["2", "3"])
def test_shape_chunks_and_samples_are_read(tmp_path: Path, said: dict[str, Any]) -> None:
    head = read(tmp_path, said)
    assert (head.shape, head.chunks, head.shards) == ((2, 100, 90), (1, 64, 32), (1, 64, 32))
    assert head.dtype == np.uint16
    assert head.dtype.isnative
    assert head.file_bytes == 64 * 32 * 2
    assert json.loads(head.stored) == said


def test_of_shards_the_chunks_within_are_read(tmp_path: Path) -> None:
    head = read(tmp_path, changed(ARRAY_3, codecs=[SHARDS]))
    assert (head.chunks, head.shards) == ((1, 32, 32), (1, 64, 32))


@pytest.mark.parametrize(
    "entries",
    [
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "pickle"}]},
        {"filters": [{"id": "vlen-utf8"}]},
        {"filters": "pickle"},
        {"compressor": 5},
        {"dtype": "|O"},
        {"dtype": [["a", "<u2"]]},
        {"dtype": "<c8"},
        {"dtype": "<M8[s]"},
        {"shape": None},
        {"shape": [2, -100, 90]},
        {"shape": [2, 100, 90.0]},
        {"shape": [True, 100, 90]},
        {"chunks": [64, 32]},
        {"chunks": [0, 64, 32]},
        {"chunks": [1, 1 << 20, 1 << 20]},
        {"shape": [2, 1 << 20, 1 << 20]},
    ],
    ids=str,
)
def test_what_zarr_2_may_not_say_is_refused(tmp_path: Path, entries: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match=r"damaged|samples of type|compressed by|chunks"):
        read(tmp_path, changed(ARRAY_2, **entries))


@pytest.mark.parametrize(
    "entries",
    [
        {"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]},
        {"codecs": None},
        {"codecs": [{"name": "vlen-utf8"}]},
        {"codecs": [changed(SHARDS, configuration={"chunk_shape": [1, 32, 32], "codecs": [{"name": "pickle"}]})]},
        {"codecs": [changed(SHARDS, configuration={"chunk_shape": [1, 33, 32], "codecs": CODECS})]},
        {"codecs": [changed(SHARDS, configuration={})]},
        {"data_type": "string"},
        {"data_type": {"name": "struct"}},
        {"chunk_grid": {"name": "rectangular"}},
        {"chunk_grid": None},
        {"storage_transformers": [{"name": "other"}]},
        {"shape": [2, 1 << 20, 1 << 20]},
    ],
    ids=str,
)
def test_what_zarr_3_may_not_say_is_refused(tmp_path: Path, entries: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match=r"damaged|samples of type|compressed by|chunks|transformers"):
        read(tmp_path, changed(ARRAY_3, **entries))


def test_an_array_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="its array '0' is not there"):
        read_array_head(tmp_path, "0", open_anywhere)
