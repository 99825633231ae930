"""What benchmarks share: sizes that are asked for; the table, its data, and a sentence for each target missed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mosaicell.writing.parts import write_whole


def publish(table: str, data: Mapping[str, Any], misses: Sequence[str], json_path: Path | None) -> int:
    """Print the table and the targets missed, and write the data where asked.

    Parameters
    ----------
    table : str
        Markdown.
    data : mapping
        The same as data, for JSON.
    misses : sequence of str
        A sentence for each target missed.
    json_path : Path or None
        File to write or replace.

    Returns
    -------
    int
        The exit status: 1 when a target is missed, else 0.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    print(table, flush=True)
    if json_path:
        with write_whole(json_path) as part:
            part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    for miss in misses:
        print(miss, file=sys.stderr)
    return 1 if misses else 0


def read_megapixels(least: float, most: float) -> Callable[[str], float]:
    """Return what argparse reads a size with, from so many to so many megapixels."""

    def read(text: str) -> float:
        try:
            size = float(text)
        except ValueError:
            size = 0.0
        if not least <= size <= most:
            raise argparse.ArgumentTypeError(f"a size lies between {least:g} and {most:g} megapixels, got {text}")
        return float(f"{size:g}")

    return read
