"""What decides the mask of an image beside the image: options and weights, as one digest that runs can compare."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mosaicell.answers.judges import read_table
from mosaicell.networks.manifest import read_manifest
from mosaicell.options import Options
from mosaicell.runs.origin import digest_bytes
from mosaicell.systems import JUDGED_WAY

#: options that change no mask: where files lie, what is refused, what is used and what else is written
WITHOUT_EFFECT = frozenset(
    {
        "input_path",
        "output_path",
        "further_inputs",
        "recursive",
        "include",
        "part",
        "names",
        "weights_path",
        "device",
        "threads",
        "gpu_mem_limit_gb",
        "batch_size",
        "max_megapixels",
        "follow_links",
        "overlay",
        "table",
        "geojson",
        "rois",
        "ome_zarr",
        "skip_existing",
        "report",
        "strict",
    }
)


def digest_settings(options: Options, models: Iterable[str]) -> str:
    """Digest the options that a mask depends on, the cards of the models, and the system's judges where they are asked.

    Raises
    ------
    OptionError
        When the weights have no readable manifest or, where they are asked, judges.
    """
    cards = read_manifest(options.weights_path)
    is_judged = options.choose_by == JUDGED_WAY
    decisive = {
        "options": _keep_decisive(asdict(options)),
        "cards": {name: cards.get(name) for name in models},
        "judges": read_table(options.weights_path).get(options.system) if is_judged else None,
    }
    return digest_bytes(json.dumps(decisive, sort_keys=True, default=str).encode())


def _keep_decisive(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _keep_decisive(value) if isinstance(value, dict) else value
        for name, value in options.items()
        if name not in WITHOUT_EFFECT
    }
