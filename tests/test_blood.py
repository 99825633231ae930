"""White cells among red ones: told by colour, whatever lies around them; and left out, or not, as the user asks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.answers.blood import SAMPLE_PX, find_blood, find_wanted
from mosaicell.answers.cell_filter import filter_cells
from mosaicell.errors import OptionError
from mosaicell.options import WEIGHTS_FOLDER, Options
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.systems import Choice
from mosaicell.writing.masks import read_labels
from tests.test_reliability import predict

SLIDE, PINK_RED, GREY_RED = (240, 228, 210), (200, 148, 150), (140, 138, 150)
PLASM, NUCLEUS = (190, 180, 210), (95, 60, 150)
WHITE, PLATELET = 1, 2
#: ids of the red cells that `draw_smear` draws
RED = range(3, 10)


def draw_smear(
    red: tuple[int, int, int] = PINK_RED, slide: tuple[int, int, int] = SLIDE, *, white_px: int = 34
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a white cell of this radius with a nucleus, a platelet, seven red cells of 20 px, one of them cut off.

    Returns
    -------
    pixels uint8 (300, 300, 3) and labels uint32 (300, 300).
    """
    pixels = np.full((300, 300, 3), slide, np.uint8)
    labels = np.zeros((300, 300), np.uint8)
    places = [(60, 60), (150, 40), (240, 60), (40, 240), (150, 250), (250, 250), (299, 150)]
    for number, place in zip(RED, places, strict=True):
        cv2.circle(pixels, place, 20, red, -1)
        cv2.circle(labels, place, 20, number, -1)
    cv2.circle(pixels, (150, 150), white_px, PLASM, -1)
    cv2.circle(pixels, (145, 150), 2 * white_px // 3, NUCLEUS, -1)
    cv2.circle(labels, (150, 150), white_px, WHITE, -1)
    cv2.circle(pixels, (200, 200), 5, NUCLEUS, -1)
    cv2.circle(labels, (200, 200), 5, PLATELET, -1)
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), labels.astype(np.uint32)


def ids(chosen: np.ndarray) -> list[int]:
    return np.flatnonzero(chosen).tolist()


def test_red_cells_white_ones_and_platelets_are_told_apart() -> None:
    pixels, labels = draw_smear()
    smear = find_blood(ArrayPixels(pixels), labels)
    assert (ids(smear.red), ids(smear.white), ids(smear.other)) == ([*RED], [WHITE], [PLATELET])
    assert smear.shows_white


@pytest.mark.parametrize("factor", [1, 257])
@pytest.mark.parametrize("lamp", [(1.0, 1.0, 1.0), (1.0, 0.9, 0.6), (0.5, 0.5, 0.55)])
def test_neither_lamp_nor_type_of_the_pixels_matters(lamp: tuple[float, float, float], factor: int) -> None:
    pixels, labels = draw_smear()
    lit = (pixels * np.array(lamp)).round().astype(np.uint16) * np.uint16(factor)
    smear = find_blood(ArrayPixels(lit), labels)
    assert (ids(smear.red), ids(smear.white), smear.shows_white) == ([*RED], [WHITE], True)


def test_a_slide_is_told_by_a_sample_of_it() -> None:
    pixels, labels = draw_smear()
    repeats = int(np.ceil(2 * np.sqrt(SAMPLE_PX / labels.size)))
    tiled = np.tile(pixels, (repeats, repeats, 1))
    numbers = np.arange(repeats**2).reshape(repeats, repeats).repeat(300, axis=0).repeat(300, axis=1)
    many = np.where(np.tile(labels, (repeats, repeats)) > 0, np.tile(labels, (repeats, repeats)) + 9 * numbers, 0)
    smear = find_blood(ArrayPixels(tiled), many.astype(np.uint32))
    places = 9 * np.arange(repeats**2)
    assert ids(smear.white) == (places + WHITE).tolist()
    assert ids(smear.red) == np.sort((places[:, None] + np.array(RED)).ravel()).tolist()


def test_grey_red_cells_of_films_for_malaria_are_the_subject() -> None:
    pixels, labels = draw_smear(GREY_RED, (228, 232, 230))
    smear = find_blood(ArrayPixels(pixels), labels)
    assert ids(smear.white) == [WHITE]
    assert not smear.shows_white
    assert ids(find_wanted(find_blood(ArrayPixels(pixels), labels), "auto")) == list(range(1, 10))


def test_red_cells_alone_and_parasites_in_them_are_the_subject() -> None:
    pixels, labels = draw_smear(white_px=20)
    cv2.circle(pixels, (150, 150), 20, PINK_RED, -1)
    # 9 % of the cell
    cv2.circle(pixels, (150, 150), 6, NUCLEUS, -1)
    smear = find_blood(ArrayPixels(pixels), labels)
    assert ids(smear.red) == [WHITE, *RED]
    assert not smear.shows_white


def test_nuclei_of_tissue_are_no_blood() -> None:
    pixels, labels = draw_smear()
    rng = np.random.default_rng(1)
    stroma = cv2.GaussianBlur(rng.normal(0, 1, labels.shape), (0, 0), 12)
    pixels[labels == 0] = np.clip(pixels - 60 * (stroma / stroma.std())[..., None] - 60, 0, 255)[labels == 0]
    smear = find_blood(ArrayPixels(pixels), labels)
    assert not smear.red.any()
    assert not smear.shows_white
    # nor are those on a bare slide, with an eosinophil among them
    pixels, labels = draw_smear(NUCLEUS)
    cv2.circle(pixels, (60, 60), 20, PINK_RED, -1)
    assert not find_blood(ArrayPixels(pixels), labels).shows_white


@pytest.mark.parametrize("labels", [np.zeros((30, 30), np.uint32), np.ones((30, 30), np.uint32)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0, 200])
def test_images_without_cells_or_slide_or_colour_hold_no_blood(labels: np.ndarray, channels: int, value: int) -> None:
    pixels = ArrayPixels(np.full((30, 30, channels), value, np.uint8))
    wanted = find_wanted(find_blood(pixels, labels), "white")
    assert wanted.tolist() == [False, *[True] * int(labels.max())]


@pytest.mark.parametrize(
    ("blood", "modality", "kept"),
    [
        ("all", "brightfield", range(1, 10)),
        ("auto", "brightfield", [WHITE]),
        ("white", "brightfield", [WHITE]),
        ("white", "fluorescence", range(1, 10)),
    ],
)
def test_what_is_asked_for_stays(blood: str, modality: str, kept: list[int]) -> None:
    pixels, labels = draw_smear()
    choice = Choice(labels.copy(), "m", {"m": 9}, {}, 0.5, {}, 1.0, likelihoods=np.linspace(0.1, 0.9, 9))
    options = Options(Path("in"), Path("out"), blood=blood)
    found = filter_cells(choice, options, ArrayPixels(pixels), modality)
    np.testing.assert_array_equal(found.labels > 0, np.isin(labels, list(kept)))
    assert (found.cells, found.left_out) == ({"m": len(kept)}, 9 - len(kept))
    assert found.likelihoods is not None
    np.testing.assert_allclose(found.likelihoods, [number / 10 for number in kept])


def test_white_leaves_red_cells_out_where_no_white_one_is() -> None:
    pixels, labels = draw_smear()
    labels[labels == WHITE] = 0
    assert ids(find_wanted(find_blood(ArrayPixels(pixels), labels), "white")) == []
    assert ids(find_wanted(find_blood(ArrayPixels(pixels), labels), "auto")) == list(range(1, 10))


def test_another_word_is_refused() -> None:
    with pytest.raises(OptionError, match="--blood some is none of all, auto, white"):
        replace(Options(Path("in"), Path("out")), blood="some")


def test_the_program_says_how_many_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "weights").symlink_to(WEIGHTS_FOLDER)
    pixels, labels = draw_smear()
    tifffile.imwrite(tmp_path / "in" / "a.tif", pixels, photometric="rgb")
    assert predict(tmp_path, "--report", "--blood", "auto").returncode == 0
    (record,) = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    mask = read_labels(tmp_path / "out" / "a_label.tiff")
    assert record["cells"] == mask.max() == mask[150, 150] == 1
    assert not mask[np.isin(labels, list(RED))].any()
    (note,) = [note for note in record["notes"] if "--blood all" in note]
    assert int(note.split()[0]) >= 6
