"""The targets and the decoder of Cellpose models timed against cellpose."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.comparison import Chain, Row, compare_cells, time_call, time_chain
from benchmarks.drawn_maps import DrawnMaps
from mosaicell.postprocess.flow_sinks import segment_heat_flows
from mosaicell.postprocess.heat_flows import heat_flows

#: mean cosine from which two flows of the same cells count as the same
LEAST_COSINE = 0.99


def compare_heat(maps: DrawnMaps, subject: str, peers_file: str) -> tuple[list[Row], Chain]:
    """Time the heat flows of labels, and the way from such flows, with noise, to labels: with the check and without."""
    tasks = "heat flows of labels", "heat flows to cells"
    exact, drawing_s = time_call(lambda: heat_flows(maps.labels))
    flow = exact + maps.flow_noise
    chain = time_chain("heat flows (Cellpose)", subject, maps.megapixels, lambda: decode(maps, flow, is_checked=True))
    ours = {is_checked: time_call(partial(decode, maps, flow, is_checked=is_checked)) for is_checked in (True, False)}
    # after all that, as cellpose brings torch
    dynamics = peers.load_cellpose()
    if dynamics is None:
        missing = f"not installed: pip install -r {peers_file}"
        both_s = (drawing_s, ours[True][1])
        return [Row(task, subject, s, "cellpose", None, missing) for task, s in zip(tasks, both_s, strict=True)], chain
    peer = f"cellpose {version('cellpose')}, CPU"
    other, other_s = time_call(lambda: peers.spread_with_cellpose(dynamics, maps.labels))
    cosine = mean_cosine(exact, other)
    rows = [Row(tasks[0], subject, drawing_s, peer, other_s, f"cosine {cosine:.4f}", cosine >= LEAST_COSINE, 2.0)]
    for is_checked, name in ((True, peer), (False, f"{peer}, flows not checked")):
        theirs, their_s = time_call(partial(peers.decode_with_cellpose, dynamics, maps, flow, is_checked=is_checked))
        labels, seconds = ours[is_checked]
        rows.append(Row(tasks[1], subject, seconds, name, their_s, *compare_cells(labels, theirs)))
    return rows, chain


def decode(maps: DrawnMaps, flow: NDArray[np.float32], *, is_checked: bool) -> NDArray[np.integer]:
    """Follow flows to labels, with or without the check of the cells by their flow."""
    return segment_heat_flows(maps.foreground, flow, flow_threshold=0.4 if is_checked else None)


def mean_cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Return the mean cosine between two fields (2, y, x), over the pixels where either is not 0."""
    counts = (one != 0).any(axis=0) | (other != 0).any(axis=0)
    one, other = one[:, counts], other[:, counts]
    lengths = np.hypot(*one) * np.hypot(*other)
    return float(np.divide((one * other).sum(axis=0), lengths, out=np.zeros_like(lengths), where=lengths > 0).mean())
