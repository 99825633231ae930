"""Classes by low-level cues: the published rules as published, and one that does not ask how an image is stored."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.reading.images import write_labels
from mosaicell.training.image_classes import (
    CLASSES,
    LARGE_CELL_PX,
    LARGE_CELL_PX_IN_CODE,
    RULES,
    largest_cell_px,
    low_level_class,
    main,
)
from mosaicell.training.synthesis import draw_scene

ONE_CHANNEL, GREY, LARGE, SMALL = range(4)


def draw_colour(saturation: float, value: float, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Draw an even image uint8 of this saturation and value."""
    return np.full((*shape, 3), np.rint(255 * value * np.array([1, 1, 1 - saturation])), np.uint8)


def draw_cell(area_px: int) -> np.ndarray:
    labels = np.zeros((200, 200), np.uint16)
    labels.ravel()[:area_px] = 7
    labels[-1, -20:] = 3
    return labels


@pytest.mark.parametrize(
    ("saturation", "value", "paper", "code"),
    [
        pytest.param(0.0, 0.3, SMALL, GREY, id="without colour: the paper calls it colour"),
        pytest.param(0.4, 0.3, GREY, SMALL, id="with colour: the paper calls it grey"),
        pytest.param(0.4, 0.9, SMALL, SMALL, id="bright, with colour"),
        pytest.param(0.0, 0.9, SMALL, SMALL, id="bright, without colour"),
        pytest.param(0.0, 0.04, SMALL, SMALL, id="dark"),
    ],
)
def test_published_rules(saturation: float, value: float, paper: int, code: int) -> None:
    image, labels = draw_colour(saturation, value), draw_cell(100)
    assert low_level_class(image, labels, "paper") == paper
    assert low_level_class(image, labels, "code") == code


@pytest.mark.parametrize(
    ("rule", "limit_px"), [("paper", LARGE_CELL_PX), ("code", LARGE_CELL_PX_IN_CODE), ("content", LARGE_CELL_PX)]
)
def test_the_largest_cell_decides_between_colours(rule: str, limit_px: int) -> None:
    assert (LARGE_CELL_PX, LARGE_CELL_PX_IN_CODE) == (8_000, 30_000)
    image = draw_scene("brightfield_tissue", (96, 96), np.random.default_rng(0))[0]
    image = image if rule == "content" else draw_colour(0.4, 0.9)
    assert low_level_class(image, draw_cell(limit_px), rule) == SMALL
    assert low_level_class(image, draw_cell(limit_px + 1), rule) == LARGE
    assert low_level_class(image, np.zeros((200, 200), np.uint16), rule) == SMALL


@pytest.mark.parametrize("rule", ["paper", "code"])
def test_published_rules_ask_first_how_an_image_is_stored(rule: str) -> None:
    image, _ = draw_scene("phase_spread", (96, 96), np.random.default_rng(0))
    labels = draw_cell(10)
    assert low_level_class(image[..., 0], labels, rule) == ONE_CHANNEL
    assert low_level_class(np.repeat(image[..., :1], 3, 2), labels, rule) != ONE_CHANNEL


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("fluorescence_nuclei", ONE_CHANNEL),
        ("phase_spread", GREY),
        ("dic_round", GREY),
        ("brightfield_tissue", SMALL),
        ("brightfield_blood", SMALL),
        ("fluorescence_two_channel", SMALL),
    ],
)
def test_content_tells_dark_from_grey_from_colour(kind: str, expected: int) -> None:
    image, labels = draw_scene(kind, (160, 160), np.random.default_rng(5), diameter_px=30)
    assert low_level_class(image, labels) == expected


@pytest.mark.parametrize("kind", ["fluorescence_nuclei", "phase_spread", "dic_mat", "brightfield_rods"])
def test_content_does_not_ask_how_an_image_is_stored(kind: str) -> None:
    image, labels = draw_scene(kind, (160, 160), np.random.default_rng(6))
    plane = image[..., 0]
    expected = low_level_class(plane, labels)
    assert low_level_class(plane[..., None], labels) == expected
    assert low_level_class(np.repeat(plane[..., None], 3, 2), labels) == expected
    assert low_level_class(plane.astype(np.uint16) * 200, labels) == expected
    assert low_level_class(plane.astype(np.float32) / 255, labels) == expected


@pytest.mark.parametrize("rule", sorted(RULES))
def test_new_ids_change_no_class(rule: str) -> None:
    image, labels = draw_scene("brightfield_flakes", (300, 300), np.random.default_rng(7), diameter_px=120)
    assert low_level_class(image, labels, rule) == low_level_class(image, labels.astype(np.int64) * 1000, rule)


def test_the_largest_cell_is_that_of_most_pixels() -> None:
    assert largest_cell_px(draw_cell(123)) == 123
    assert largest_cell_px(np.zeros((3, 4), np.uint8)) == 0
    assert largest_cell_px(np.full((3, 4), 2)) == 12


def test_what_is_no_image_or_rule_is_refused() -> None:
    labels = draw_cell(10)
    with pytest.raises(ValueError, match="unknown rule 'papers'"):
        low_level_class(draw_colour(0, 0), labels, "papers")
    for shape in ((4, 4, 2), (4,), (0, 4)):
        with pytest.raises(ValueError, match="got an image of shape"):
            low_level_class(np.zeros(shape, np.uint8), labels)


def test_the_command_prints_both_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name, pixels in {"one": draw_colour(0, 0.3)[..., 0], "three": draw_colour(0.4, 0.3)}.items():
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), pixels)
        write_labels(tmp_path / "labels" / f"{name}_label.tiff", np.zeros(pixels.shape[:2], np.uint32))
    (tmp_path / "manifest.csv").write_text("image,source,modality\none.png,s,m\nthree.png,t,m\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["image_classes", "--data", str(tmp_path)])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| rule | " + " | ".join(CLASSES) + " |"
    assert "| paper | 1 | 1 | 0 | 0 |" in lines
    assert "| code | 1 | 0 | 0 | 1 |" in lines
    assert "| source | paper | code | content |" in lines
    assert any(line.startswith("| t/m | 0 / 1 / 0 / 0 | 0 / 0 / 0 / 1 |") for line in lines)
    monkeypatch.setattr(sys, "argv", ["image_classes", "--data", str(tmp_path / "images")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
