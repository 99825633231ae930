"""The benchmark compares equal work: every pair of ways gives the same result, and a difference does not go unseen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import box_comparisons, decoders, heat_comparisons, peers, star_comparisons, star_peers
from benchmarks.comparison import Row, compare_arrays, compare_cells, time_chain
from benchmarks.drawn_maps import DrawnMaps, draw_maps
from benchmarks.drawn_stars import draw_hover_maps, draw_star_answer, middle_distances_of_labels, rays_of_labels
from mosaicell.postprocess.flow_targets import flows_of_labels
from mosaicell.postprocess.heat_flows import heat_flows
from tests.test_imports import ROOT, pinned

SIZE_MP = 0.06


@pytest.fixture(scope="module")
def maps() -> DrawnMaps:
    return draw_maps(decoders.NUCLEI, SIZE_MP, seed=1)


def test_a_seed_draws_the_same_maps_again(maps: DrawnMaps) -> None:
    again, other = draw_maps(decoders.NUCLEI, SIZE_MP, seed=1), draw_maps(decoders.NUCLEI, SIZE_MP, seed=2)
    for name, values in vars(maps).items():
        np.testing.assert_array_equal(values, getattr(again, name))
    assert not np.array_equal(maps.energy, other.energy)


def test_maps_fit_their_cells(maps: DrawnMaps) -> None:
    inside = maps.labels > 0
    assert maps.labels.max() >= 5
    assert np.mean((maps.foreground > 0.5) == inside) > 0.98
    assert maps.energy[inside].mean() > maps.energy[~inside].mean() + 0.5
    np.testing.assert_allclose(maps.flow - maps.flow_noise, flows_of_labels(maps.labels), atol=1e-6)
    assert len(maps.boxes) == len(maps.scores) == 3 * maps.labels.max()


def test_the_watershed_gives_the_cells_of_scikit_image(maps: DrawnMaps) -> None:
    for drawn in (maps, draw_maps(decoders.RODS, SIZE_MP, seed=decoders.SEED)):
        row = decoders.compare_watershed(drawn, "cells")
        assert row.agreement == "F1 1.0000, IoU 1.0000"
        assert row.agrees


def test_the_steps_on_label_images_give_equal_results(maps: DrawnMaps) -> None:
    rows = decoders.compare_objects(maps, "cells")
    assert len({row.task for row in rows}) == 5
    assert [row.agreement for row in rows] == ["equal"] * 5
    written = decoders.compare_writing(maps, "cells")
    assert written.agreement.startswith("equal; ")
    assert written.agrees


def test_suppression_fusion_and_scores_give_equal_results() -> None:
    assert box_comparisons.compare_suppression(3000).agreement == "equal"
    looped, all_boxes = box_comparisons.compare_fusion(2000, 400)
    assert looped.agreement == "equal"
    assert (all_boxes.peer_seconds, all_boxes.most_s) == (None, 2.0)
    small, large = decoders.compare_scores(900, 100)
    assert small.agreement == "equal"
    assert (small.peer_seconds, large.peer_seconds) != (None, None)
    assert large.peer_seconds is None
    assert large.input == "0.176 MP, 900 cells"


def test_dense_matches_are_counted_without_border_cells() -> None:
    truth, _ = decoders.draw_lattice(100)
    fewer = np.where(truth % 2 == 1, truth, 0)
    assert peers.count_matches_densely(truth, fewer, 0.5) == (64, 32, 32)
    truth, fewer = np.pad(truth, 2), np.pad(fewer, 2)
    assert peers.count_matches_densely(truth, fewer, 0.5) == (100, 50, 50)


def test_a_missing_cellpose_is_named_with_the_file_that_installs_it(
    maps: DrawnMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "load_cellpose", lambda: None)
    (row,) = decoders.compare_flows(maps, "cells")
    assert row.peer_seconds is None
    assert row.meets_target
    assert row.agreement == "not installed: pip install -r requirements-peers.txt"
    versions = pinned(ROOT / decoders.PEERS_FILE)
    assert "cellpose" in versions
    assert versions["torch"] == pinned(ROOT / "requirements-train.txt")["torch"]


def test_cellpose_gets_its_own_flow_and_is_compared(maps: DrawnMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compute_masks(flow: np.ndarray, probability: np.ndarray, **options: float) -> np.ndarray:
        seen.append(options["flow_threshold"])
        np.testing.assert_allclose(flow, 5 * (2 + maps.flow_noise), rtol=1e-6)
        np.testing.assert_array_equal(probability > 0, maps.foreground > 0.5)
        return maps.labels

    dynamics = SimpleNamespace(
        torch=SimpleNamespace(device=str),
        masks_to_flows_gpu=lambda labels, device: (np.full((2, *labels.shape), 2.0), None),
        follow_flows=lambda flow, places: np.stack(places),
        compute_masks=compute_masks,
    )
    monkeypatch.setattr(peers, "load_cellpose", lambda: dynamics)
    monkeypatch.setattr(decoders, "version", lambda name: "0")
    checked, unchecked, tracked = decoders.compare_flows(maps, "cells")
    assert set(seen) == {0.4, 0.0}
    assert checked.agrees
    assert (checked.least_ratio, unchecked.least_ratio, tracked.least_ratio) == (5.0, None, 5.0)


def test_heat_flows_are_held_against_those_of_cellpose(maps: DrawnMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compute_masks(flow: np.ndarray, probability: np.ndarray, **options: float) -> np.ndarray:
        seen.append((flow, options["flow_threshold"]))
        return maps.labels

    def spread(labels: np.ndarray, device: str) -> tuple[np.ndarray, None]:
        return (-heat_flows(labels) if turned else heat_flows(labels)), None

    dynamics = SimpleNamespace(
        torch=SimpleNamespace(device=str), masks_to_flows_gpu=spread, compute_masks=compute_masks
    )
    monkeypatch.setattr(peers, "load_cellpose", lambda: dynamics)
    monkeypatch.setattr(heat_comparisons, "version", lambda name: "0")
    turned = False
    (targets, checked, unchecked), chain = heat_comparisons.compare_heat(maps, "cells", decoders.PEERS_FILE)
    assert targets.agreement == "cosine 1.0000"
    assert targets.agrees
    assert checked.agrees
    assert unchecked.agrees
    assert {threshold for _, threshold in seen} == {0.4, 0.0}
    np.testing.assert_allclose(seen[0][0], 5 * (heat_flows(maps.labels) + maps.flow_noise), rtol=1e-6)
    assert chain.seconds_per_megapixel > 0
    turned = True
    assert not heat_comparisons.compare_heat(maps, "cells", decoders.PEERS_FILE)[0][0].agrees
    monkeypatch.setattr(peers, "load_cellpose", lambda: None)
    missing, _ = heat_comparisons.compare_heat(maps, "cells", decoders.PEERS_FILE)
    assert [row.agreement for row in missing] == ["not installed: pip install -r requirements-peers.txt"] * 2


def test_rays_end_where_the_cell_does() -> None:
    labels = np.zeros((40, 50), np.uint32)
    labels[10:31, 5:46], labels[31:] = 1, 2
    rays = rays_of_labels(labels, np.array([[20, 25], [12, 6], [35, 1], [0, 0]]), 4)
    # right, down, left, up, to the edges of pixels
    assert rays[0].tolist() == pytest.approx([20.5, 10.5, 20.5, 10.5], abs=0.5)
    assert rays[1].tolist() == pytest.approx([39.5, 18.5, 1.5, 2.5], abs=0.5)
    assert rays[2].tolist() == pytest.approx([48.5, 4.5, 1.5, 4.5], abs=0.5)
    assert not rays[3].any()


def test_distances_run_from_end_to_end_of_each_cell() -> None:
    labels = np.zeros((20, 30), np.uint32)
    labels[2:13, 4:19], labels[2:13, 19:24] = 3, 7
    across, down = middle_distances_of_labels(labels)
    assert across[5, [4, 11, 18, 19, 21, 23]].tolist() == [-1, 0, 1, -1, 0, 1]
    assert down[[2, 7, 12], 6].tolist() == [-1, 0, 1]
    assert not across[labels == 0].any()
    assert across[5, 8] == pytest.approx(-3 / 7)


def test_drawn_answers_fit_their_cells(maps: DrawnMaps) -> None:
    (planes,), (rays,) = draw_star_answer(maps, 32, 2, 1)
    assert rays.shape == (32, planes.shape[1] // 2, planes.shape[2] // 2)
    inside = maps.labels[: planes.shape[1], : planes.shape[2]] > 0
    assert planes[1][inside].mean() > planes[1][~inside].mean() + 0.3
    np.testing.assert_array_equal(rays.max(axis=0) > 0, inside[::2, ::2])
    np.testing.assert_array_equal(rays, draw_star_answer(maps, 32, 2, 1)[1][0])
    hover = draw_hover_maps(maps, 1)
    exact = middle_distances_of_labels(maps.labels)
    assert hover.shape == (3, *maps.labels.shape)
    assert 0.03 < np.abs(hover[1:] - exact).mean() < 0.1


def test_polygons_and_distances_are_compared_with_other_ways(maps: DrawnMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(star_peers, "load_stardist", lambda: None)
    (suppression, same, published), chains = star_comparisons.compare_stars(maps, "cells", decoders.PEERS_FILE)
    assert suppression.peer_seconds is None
    assert suppression.agreement == "not installed: pip install -r requirements-peers.txt"
    assert "stardist" in pinned(ROOT / decoders.PEERS_FILE)
    assert same.agreement == "F1 1.0000, IoU 1.0000"
    assert published.agreement.startswith("F1 with the drawn cells 1.0000, there ")
    assert [chain.task for chain in chains] == ["rays (StarDist)", "distances (HoVer)"]
    painting = star_comparisons.compare_painting(100)
    assert painting.agreement == "F1 1.0000, IoU 1.0000"
    assert painting.input == "0.0784 MP, 100 polygons"


@pytest.mark.parametrize(("drop", "agrees"), [(0, True), (1, False)])
def test_stardist_gets_the_polygons_by_falling_score_and_is_compared(
    drop: int, agrees: bool, maps: DrawnMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def suppress(dist: np.ndarray, points: np.ndarray, scores: np.ndarray, thresh: float, verbose: int) -> np.ndarray:
        assert (np.diff(scores) <= 0).all()
        sizes.append(float(dist.max()))
        survivors = np.zeros(len(dist), bool)
        survivors[star_comparisons.suppress_polygons(points, dist, scores, thresh)[drop:]] = True
        return survivors

    nms = SimpleNamespace(non_maximum_suppression_inds=suppress)
    monkeypatch.setattr(star_peers, "load_stardist", lambda: nms)
    monkeypatch.setattr(star_comparisons, "version", lambda name: "0")
    (row, *_), _ = star_comparisons.compare_stars(maps, "cells", decoders.PEERS_FILE)
    assert row.peer == "stardist 0"
    assert row.agrees == agrees
    assert row.agreement.endswith("of them the same")
    assert max(sizes) == pytest.approx(64 * min(sizes))


def test_results_that_differ_are_seen(maps: DrawnMaps) -> None:
    labels = maps.labels
    assert compare_arrays("", "", lambda: labels, "", lambda: labels).meets_target
    row = compare_arrays("", "", lambda: labels, "", lambda: np.where(labels == 1, 0, labels))
    assert (row.agreement, row.meets_target) == ("not equal", False)
    assert compare_cells(labels, labels) == ("F1 1.0000, IoU 1.0000", True)
    assert compare_cells(labels, 0 * labels) == ("F1 0.0000, IoU 0.0000", False)
    assert not compare_cells(labels, labels[::-1])[1]


def test_targets_count_time_only_where_there_is_one() -> None:
    row = Row("task", "input", 2.0, "peer", 6.0, "equal")
    assert row.ratio == 3.0
    assert row.meets_target
    assert replace(row, least_ratio=3.0, most_s=2.0).meets_target
    assert not replace(row, least_ratio=3.1).meets_target
    assert not replace(row, most_s=1.9).meets_target
    assert replace(row, peer_seconds=None, least_ratio=3.1).meets_target
    assert not replace(row, agrees=False).meets_target


def test_a_chain_is_timed_per_megapixel() -> None:
    calls = []
    chain = time_chain("task", "input", 1e-9, lambda: calls.append(1))  # type: ignore[arg-type, return-value]
    assert len(calls) == 15
    assert chain.seconds_per_megapixel > 0
    assert chain.on_two_threads > 0


def test_the_command_prints_tables_and_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "load_cellpose", lambda: None)
    monkeypatch.setattr(star_peers, "load_stardist", lambda: None)
    for name, count in (("BOXES", 500), ("SCORED_CELLS", 400), ("DENSE_CELLS", 100), ("PAINTED", 100)):
        monkeypatch.setattr(decoders, name, count)
    code = decoders.main(["--megapixels", str(SIZE_MP), "--json", str(tmp_path / "out.json")])
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert all(row["agrees"] for row in report["rows"])
    assert len(report["chains"]) == 12
    printed = capsys.readouterr()
    assert code == (1 if "target missed" in printed.err else 0)
    lines = [line for line in printed.out.splitlines() if line]
    assert len(lines) == len(report["rows"]) + len(report["chains"]) + 4
    assert {line.count("|") for line in lines[: len(report["rows"]) + 2]} == {8}


@pytest.mark.parametrize("size", ["0", "nan", "26"])
def test_sizes_out_of_range_are_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decoders.main(["--megapixels", size])
    assert "0.01 and 25" in capsys.readouterr().err
