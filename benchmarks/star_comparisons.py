"""Times of the decoders of star-convex polygons and HoVer maps: rows and chains of `benchmarks.decoders`."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import star_peers
from benchmarks.comparison import Chain, Row, compare_cells, time_call, time_chain
from benchmarks.drawn_maps import DrawnMaps
from benchmarks.drawn_stars import draw_hover_maps, draw_star_answer
from mosaicell.decoders.stardist import DECODER, RAYS
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.postprocess.hover import segment_hover
from mosaicell.postprocess.objects import relabel_sequential
from mosaicell.postprocess.painting import paint_polygons
from mosaicell.postprocess.polygons import suppress_polygons

#: the most candidates that are suppressed, the surest ones, and in how long
CANDIDATES, MOST_SUPPRESSION_S = 100_000, 3.0
#: polygons that are painted, and in how long
PAINTED, MOST_PAINTING_S = 50_000, 3.0
#: part of the survivors of either way that must be those of the other
LEAST_COMMON = 0.99
#: the step of the grid of rays that the shipped models have
GRID_PX = 2
SEED = 5
STARS: dict[str, Any] = {
    "probability_threshold": 0.4,
    "nms_threshold": 0.4,
    "foreground_threshold": 0.5,
    "max_growth_px": 3,
    "min_cell_px": 10,
    "max_hole_fraction": 0.1,
}
HOVER: dict[str, Any] = {"foreground_threshold": 0.5, "marker_threshold": 0.15, "min_marker_px": 10}

Polygons = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def compare_stars(maps: DrawnMaps, subject: str, peers_file: str) -> tuple[list[Row], list[Chain]]:
    """Compare what is done with polygons and with HoVer maps; drawn cells give both."""
    outputs = draw_star_answer(maps, RAYS, GRID_PX, SEED)
    hover = draw_hover_maps(maps, SEED)
    rows = [compare_suppression(_list_polygons(outputs), peers_file), *compare_hover(maps, hover, subject)]
    chains = [
        time_chain("rays (StarDist)", subject, maps.megapixels, lambda: decode_rays(outputs)),
        time_chain("distances (HoVer)", subject, maps.megapixels, lambda: segment_hover(*hover, **HOVER)),
    ]
    return rows, chains


def compare_suppression(polygons: Polygons, peers_file: str) -> Row:
    """Time the suppression of polygons, many to a cell."""
    kept, seconds = time_call(lambda: suppress_polygons(*polygons, STARS["nms_threshold"]))
    row = partial(Row, "suppression of polygons", f"{len(polygons[0]):,} polygons", seconds, most_s=MOST_SUPPRESSION_S)
    nms = star_peers.load_stardist()
    if nms is None:
        return row("stardist", None, f"not installed: pip install -r {peers_file}")
    # of polygons in px it cuts off the fractions: those of 64 times the size are compared, and those in px are timed
    larger = polygons[0] * 64, polygons[1] * 64, polygons[2]
    exact = star_peers.suppress_with_stardist(nms, *larger, STARS["nms_threshold"])
    _, peer_seconds = time_call(lambda: star_peers.suppress_with_stardist(nms, *polygons, STARS["nms_threshold"]))
    common = np.intersect1d(kept, exact).size
    note = f"{len(kept):,} and {len(exact):,} survive, {common:,} of them the same"
    agrees = common >= LEAST_COMMON * max(len(kept), len(exact))
    return row(f"stardist {version('stardist')}", peer_seconds, note, agrees)


def compare_painting(count: int) -> Row:
    """Time the painting of polygons that overlap a little, side by side."""
    rng = np.random.default_rng(SEED)
    columns = round(count**0.5)
    centres = 28 * (np.stack(np.divmod(np.arange(count), columns), axis=1) + rng.uniform(0.4, 0.6, (count, 2)))
    rays = 15 * rng.lognormal(0, 0.1, (count, 1)) * rng.lognormal(0, 0.03, (count, RAYS))
    polygons = centres.astype(np.float32), rays.astype(np.float32), rng.random(count, np.float32)
    shape_px = (28 * -(-count // columns), 28 * columns)
    labels, seconds = time_call(lambda: paint_polygons(*polygons, shape_px))
    other, peer_seconds = time_call(lambda: star_peers.paint_one_by_one(*polygons, shape_px))
    subject = f"{labels.size / 1e6:.3g} MP, {count:,} polygons"
    peer = f"scikit-image {version('scikit-image')}, one by one"
    alike = compare_cells(labels, other)
    return Row("painting", subject, seconds, peer, peer_seconds, *alike, most_s=MOST_PAINTING_S)


def compare_hover(maps: DrawnMaps, hover: NDArray[np.float32], subject: str) -> list[Row]:
    """Time the decoding of HoVer maps, and count what the published rule finds of the cells."""
    labels, seconds = time_call(lambda: segment_hover(*hover, **HOVER))
    same, same_s = time_call(lambda: star_peers.segment_hover_with_skimage(hover, **HOVER))
    options = {name: HOVER[name] for name in ("foreground_threshold", "min_marker_px")}
    published, published_s = time_call(lambda: star_peers.segment_hover_as_published(hover, **options))
    ours, theirs = (score_image(maps.labels, relabel_sequential(one), [0.5])[0].f1 for one in (labels, published))
    task, package = "distances to cells", f"scikit-image {version('scikit-image')}"
    note = f"F1 with the drawn cells {ours:.4f}, there {theirs:.4f}"
    return [
        Row(task, subject, seconds, f"{package}, same steps", same_s, *compare_cells(labels, same)),
        Row(task, subject, seconds, f"{package}, published rule", published_s, note),
    ]


def decode_rays(outputs: Outputs) -> NDArray[np.uint32]:
    """Decode what a StarDist network answers for one tile."""
    (raw,) = DECODER.read(outputs, STARS)
    kept = raw.candidates[DECODER.keep(raw.candidates, STARS)]
    return DECODER.decode(Raw(raw.maps, kept), STARS)


def _list_polygons(outputs: Outputs) -> Polygons:
    """Return the surest candidates that a network answers, as centres, rays and scores."""
    (raw,) = DECODER.read(outputs, STARS)
    found = raw.candidates[np.argsort(-raw.candidates[:, 4], kind="stable")[:CANDIDATES]]
    return found[:, :2] + found[:, 5:7], found[:, 7:], found[:, 4]
