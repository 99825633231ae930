"""What decoders share whose models answer maps of the size of a tile and no candidates."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.networks.raw import Outputs, Raw, no_candidates


class MapDecoder:
    """The first map is the foreground; all of them are kept, no step depends on the whole image."""

    payload = 0
    slack_px = 0.0
    misfit = ""

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return the maps of each tile."""
        return [Raw(maps, no_candidates()) for maps in outputs[0]]

    def keep(self, candidates: np.ndarray, settings: Settings) -> np.ndarray:
        """Return no index: there are no candidates."""
        return np.zeros(0, np.intp)

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Return nothing: no step depends on the whole image."""
        return {}

    def foreground(self, maps: np.ndarray, settings: Settings) -> tuple[np.ndarray, float]:
        """Return the foreground probability and its threshold."""
        return maps[0], settings["foreground_threshold"]
