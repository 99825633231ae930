"""Time the decoders and the metric against other ways to do the same: python -m benchmarks.decoders."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import edt
import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage import measure, morphology, segmentation

from benchmarks import peers
from benchmarks.box_comparisons import BOX_IOU, BOXES, LOOPED_BOXES, compare_fusion, compare_suppression
from benchmarks.comparison import (
    Chain,
    Row,
    compare_arrays,
    compare_cells,
    print_chains,
    print_rows,
    time_call,
    time_chain,
)
from benchmarks.distance_comparisons import compare_distances
from benchmarks.drawn_maps import DrawnMaps, draw_maps
from benchmarks.drawn_stars import draw_hover_maps
from benchmarks.heat_comparisons import compare_heat
from benchmarks.star_comparisons import PAINTED, compare_hover, compare_painting, compare_stars
from mosaicell.evaluation.metrics import score_image
from mosaicell.postprocess.boxes import drop_contained, suppress_boxes
from mosaicell.postprocess.distances import border_distances
from mosaicell.postprocess.flows import follow_flows, segment_flows
from mosaicell.postprocess.objects import (
    clean_labels,
    fill_holes,
    relabel_sequential,
    remove_debris,
    remove_small,
    split_disconnected,
)
from mosaicell.postprocess.watershed import two_step_watershed
from mosaicell.writing.masks import write_labels
from mosaicell.writing.parts import write_whole

Labels = NDArray[np.integer]

#: cells in clusters, and bacteria side by side
NUCLEI, RODS = "fluorescence_nuclei", "phase_rods"
#: irregular cells of many sizes
SPREAD = "phase_spread"
#: a third of the image is cells
SEED = 5
WATERSHED: dict[str, Any] = {
    "e1": 0.8,
    "e2": 1.25,
    "foreground_threshold": 0.5,
    "min_marker_px": 5,
    "min_unmarked_px": 30,
}
#: cells of the images that are scored, and the most that a matrix of all pairs is made for
SCORED_CELLS, DENSE_CELLS = 100_000, 2_000
CELL_PITCH_PX = 14
PEERS_FILE = "requirements-peers.txt"


def describe_input(maps: DrawnMaps, kind: str) -> str:
    """Name a drawing by its kind, size and number of cells."""
    return f"{kind}, {maps.megapixels:.3g} MP, {maps.labels.max():,} cells"


def compare_watershed(maps: DrawnMaps, subject: str) -> Row:
    """Time the two-step watershed, from the boxes that suppression leaves."""
    kept = suppress_boxes(maps.boxes, maps.scores, BOX_IOU)
    boxes, scores = maps.boxes[kept], maps.scores[kept]
    labels, seconds = time_call(lambda: two_step_watershed(maps.foreground, maps.energy, boxes, scores, **WATERSHED))
    other, peer_seconds = time_call(lambda: peers.flood_with_skimage(maps, boxes, scores, **WATERSHED))
    peer = f"scikit-image {version('scikit-image')}, same steps"
    return Row("two-step watershed", subject, seconds, peer, peer_seconds, *compare_cells(labels, other), 2.0)


def compare_flows(maps: DrawnMaps, subject: str) -> list[Row]:
    """Time the decoding of flows, each way from the flow that it learns, and the tracking of pixels alone."""
    task, inside = "flows to cells", maps.foreground > 0.5
    # before cellpose is loaded, which brings torch
    labels, seconds = time_call(lambda: _decode_flows(maps))
    _, tracking_s = time_call(lambda: follow_flows(maps.flow, inside))
    dynamics = peers.load_cellpose()
    if dynamics is None:
        return [Row(task, subject, seconds, "cellpose", None, f"not installed: pip install -r {PEERS_FILE}")]
    flow = peers.flow_of_cellpose(dynamics, maps)
    peer = f"cellpose {version('cellpose')}, CPU"
    rows = []
    for is_checked, name, least_ratio in ((True, peer, 5.0), (False, f"{peer}, flows not checked", None)):
        decode = partial(peers.decode_with_cellpose, dynamics, maps, flow, is_checked=is_checked)
        other, peer_seconds = time_call(decode)
        rows.append(Row(task, subject, seconds, name, peer_seconds, *compare_cells(labels, other), least_ratio))
    _, peer_seconds = time_call(lambda: dynamics.follow_flows(flow * inside, np.nonzero(inside)))
    return [*rows, Row("tracking of pixels alone", subject, tracking_s, peer, peer_seconds, "other steps", True, 5.0)]


def _decode_flows(maps: DrawnMaps) -> Labels:
    return segment_flows(maps.foreground, maps.boundary, maps.flow, boundary_threshold=0.15, min_size_fraction=0.0)


def compare_objects(maps: DrawnMaps, subject: str) -> list[Row]:
    """Time the steps that clean label images."""
    labels, smallest_px = maps.labels, int(np.median(np.bincount(maps.labels.ravel())[1:]))
    rng = np.random.default_rng(SEED)
    gappy = labels * np.uint32(3)
    holed = np.where(rng.random(labels.shape) < 0.005, 0, labels).astype(np.uint32)
    package = f"scikit-image {version('scikit-image')}"
    return [
        compare_arrays(
            "connected components of labels",
            subject,
            lambda: split_disconnected(labels, 1),
            package,
            lambda: measure.label(labels, connectivity=1),
        ),
        compare_arrays(
            "renumbering",
            subject,
            lambda: relabel_sequential(gappy),
            package,
            lambda: segmentation.relabel_sequential(gappy)[0],
        ),
        compare_arrays(
            "removal of small objects",
            subject,
            lambda: remove_small(labels, smallest_px),
            package,
            lambda: segmentation.relabel_sequential(morphology.remove_small_objects(labels, max_size=smallest_px - 1))[
                0
            ],
        ),
        compare_arrays(
            "filling of holes",
            subject,
            lambda: fill_holes(holed, 0.1),
            "scipy.ndimage, object by object",
            lambda: peers.fill_holes_one_by_one(holed, 0.1),
        ),
        compare_arrays(
            "distances to cell borders",
            subject,
            lambda: border_distances(labels),
            f"edt {version('edt')}",
            lambda: edt.edt(labels, black_border=False),
        ),
    ]


def compare_writing(maps: DrawnMaps, subject: str) -> Row:
    """Time the writing of a label image."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.tiff", Path(folder) / "theirs.tiff"
        _, seconds = time_call(lambda: write_labels(ours, maps.labels))
        _, peer_seconds = time_call(lambda: tifffile.imwrite(theirs, maps.labels, compression="zlib"))
        equal = np.array_equal(tifffile.imread(ours), tifffile.imread(theirs))
        sizes = f"{ours.stat().st_size / 1e6:.2f} MB against {theirs.stat().st_size / 1e6:.2f} MB"
    peer = f"tifffile {tifffile.__version__}, zlib"
    return Row("writing of labels", subject, seconds, peer, peer_seconds, f"equal; {sizes}", equal)


def compare_scores(cells: int, dense_cells: int) -> list[Row]:
    """Time the metric on many cells, and on as many as a matrix of all pairs allows."""
    truth, prediction = draw_lattice(dense_cells)
    scores, seconds = time_call(lambda: score_image(truth, prediction)[0])
    counts, peer_seconds = time_call(lambda: peers.count_matches_densely(truth, prediction, 0.5))
    equal = counts == (scores.n_truth, scores.n_prediction, scores.n_matched)
    peer = "matrix of all pairs"
    small = Row(
        "score", _describe_lattice(truth), seconds, peer, peer_seconds, "equal" if equal else "not equal", equal
    )
    truth, prediction = draw_lattice(cells)
    scores, seconds = time_call(lambda: score_image(truth, prediction)[0])
    tracemalloc.start()
    score_image(truth, prediction)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    matrix_bytes = 8 * scores.n_truth * scores.n_prediction
    note = f"F1 {scores.f1:.4f}; {peak_bytes / 1e6:,.0f} MB at most, the matrix {matrix_bytes / 1e6:,.0f} MB"
    return [small, Row("score", _describe_lattice(truth), seconds, peer, None, note, most_s=5.0)]


def draw_lattice(cells: int) -> tuple[Labels, Labels]:
    """Draw discs side by side, and a prediction: moved a little, one in ten missing, under other ids."""
    side = round(cells**0.5)
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[:CELL_PITCH_PX, :CELL_PITCH_PX] - (CELL_PITCH_PX - 1) / 2
    disc = (np.hypot(y, x) < 0.47 * CELL_PITCH_PX).astype(np.uint32)
    truth = np.kron(np.arange(1, side**2 + 1, dtype=np.uint32).reshape(side, side), disc)
    ids = rng.permutation(side**2).astype(np.uint32) + np.uint32(1)
    ids[rng.random(side**2) < 0.1] = 0
    moved = np.roll(truth, (1, 2), axis=(0, 1))
    return truth, np.concatenate([np.zeros(1, np.uint32), ids])[moved]


def _describe_lattice(truth: Labels) -> str:
    return f"{truth.size / 1e6:.3g} MP, {truth.max():,} cells"


def time_chains(maps: DrawnMaps, subject: str) -> list[Chain]:
    """Time both branches from the network's answer to labels."""

    def decode_boxes() -> Labels:
        kept = suppress_boxes(maps.boxes, maps.scores, BOX_IOU)
        boxes, scores = maps.boxes[kept], maps.scores[kept]
        kept = drop_contained(boxes, scores, 0.8)
        labels = two_step_watershed(maps.foreground, maps.energy, boxes[kept], scores[kept], **WATERSHED)
        labels = clean_labels(labels, maps.energy, min_px=10, max_hole_fraction=0.1, max_energy_error=0.6)
        return remove_debris(labels, 0.2)

    return [
        time_chain("boxes and energy (AWF)", subject, maps.megapixels, decode_boxes),
        time_chain("flows (Omnipose-style)", subject, maps.megapixels, lambda: _decode_flows(maps)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare everything, print two tables, and say which targets are missed.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        1 when results differ or a target is missed, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoders", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=4.0, metavar="SIZE", help="of the maps (default: 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    options = parser.parse_args(arguments)
    if not 0.01 <= options.megapixels <= 25:
        parser.error(f"a size lies between 0.01 and 25 megapixels, got {options.megapixels:g}")
    cv2.setNumThreads(1)
    drawn = []
    for kind in (NUCLEI, RODS):
        maps = draw_maps(kind, options.megapixels, SEED)
        drawn.append((maps, describe_input(maps, kind)))
    chains = [chain for maps, subject in drawn for chain in time_chains(maps, subject)]
    rows = [compare_watershed(maps, subject) for maps, subject in drawn]
    rows += [*compare_objects(*drawn[0]), compare_writing(*drawn[0])]
    rows += [compare_suppression(BOXES), *compare_fusion(BOXES, LOOPED_BOXES)]
    rows += compare_scores(SCORED_CELLS, DENSE_CELLS)
    rows.append(compare_painting(PAINTED))
    for maps, subject in drawn:
        star_rows, star_chains = compare_stars(maps, subject, PEERS_FILE)
        rows += star_rows
        chains += star_chains
        distance_row, distance_chain = compare_distances(maps, subject)
        rows.append(distance_row)
        chains.append(distance_chain)
    spread = draw_maps(SPREAD, options.megapixels, SEED)
    rows += compare_hover(spread, draw_hover_maps(spread, SEED), describe_input(spread, SPREAD))
    # last, as cellpose brings torch
    for maps, subject in drawn:
        heat_rows, heat_chain = compare_heat(maps, subject, PEERS_FILE)
        rows += heat_rows
        chains.append(heat_chain)
    rows += [row for maps, subject in drawn for row in compare_flows(maps, subject)]
    print_rows(rows)
    print()
    print_chains(chains)
    missed = [row for row in rows if not row.meets_target]
    for row in missed:
        print(f"target missed: {row.task}, {row.input}", file=sys.stderr)
    if options.json:
        with write_whole(options.json) as part:
            report = {"rows": [asdict(row) for row in rows], "chains": [asdict(chain) for chain in chains]}
            part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
