"""The modality analyser: what changes its verdict and what must not."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.contrast.modality import analyse_modality, measure_colour
from mosaicell.contrast.sample import take_sample
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.training.synthesis import draw_scene

SHAPE = (160, 200)
#: scene -> modality; sparse enough that background is to be seen
SCENES = {
    "phase_filaments": "grey",
    "phase_spread": "grey",
    "dic_rods": "grey",
    "dic_yeast": "grey",
    "dic_spread": "grey",
    "fluorescence_nuclei": "fluorescence",
    "fluorescence_round": "fluorescence",
    "fluorescence_branched": "fluorescence",
    "fluorescence_layer": "fluorescence",
    "darkfield_capsules": "fluorescence",
    "brightfield_tissue": "brightfield",
    "brightfield_immunostain": "brightfield",
    "brightfield_blood": "brightfield",
}


def draw(kind: str, seed: int = 0) -> np.ndarray:
    return draw_scene(kind, SHAPE, np.random.default_rng(seed))[0]


@pytest.mark.parametrize("kind", SCENES)
def test_drawn_scenes(kind: str) -> None:
    verdicts = [analyse_modality(draw(kind, seed)) for seed in range(5)]
    assert verdicts.count(SCENES[kind]) >= 4, verdicts


@pytest.mark.parametrize("kind", SCENES)
def test_the_verdict_does_not_depend_on_bit_depth(kind: str) -> None:
    pixels = draw(kind)
    verdict = analyse_modality(pixels)
    for same in (
        pixels.astype(np.uint16) * 257,
        pixels.astype(np.uint16) * 16,
        pixels.astype(np.float32) / 255,
        pixels.astype(np.float32) * 1e30,
        pixels.astype(np.float64),
    ):
        assert analyse_modality(same) == verdict


@pytest.mark.parametrize("kind", SCENES)
def test_the_verdict_does_not_depend_on_orientation(kind: str) -> None:
    pixels = draw(kind)
    verdict = analyse_modality(pixels)
    for same in (pixels[::-1], pixels[:, ::-1], pixels.transpose(1, 0, 2), np.tile(pixels, (2, 2, 1))):
        assert analyse_modality(same) == verdict


@pytest.mark.parametrize("kind", ["phase_spread", "dic_yeast", "fluorescence_nuclei"])
def test_grey_inside_rgb_is_what_it_is_in_one_channel(kind: str) -> None:
    pixels = draw(kind)[..., :1]
    verdict = analyse_modality(pixels)
    assert analyse_modality(np.repeat(pixels, 3, axis=2)) == verdict
    assert analyse_modality(np.repeat(pixels.astype(np.uint16) * 257, 3, axis=2)) == verdict
    assert analyse_modality(pixels[..., 0]) == verdict


@pytest.mark.parametrize("offset", [0, 300, 2000])
def test_a_camera_offset_does_not_hide_fluorescence(offset: int, rng: np.random.Generator) -> None:
    pixels = draw("fluorescence_nuclei").astype(np.uint16) * 16 + offset
    noisy = pixels + rng.normal(0, 8, pixels.shape).clip(0).astype(np.uint16)
    assert analyse_modality(noisy) == "fluorescence"


@pytest.mark.parametrize("tint", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0.2, 0.6)])
def test_coloured_fluorescence_of_any_colour(tint: tuple[float, float, float]) -> None:
    grey = draw("fluorescence_nuclei")[..., :1].astype(np.float32)
    assert analyse_modality(grey * np.array(tint, np.float32)) == "fluorescence"


def test_a_stain_makes_the_difference_between_grey_and_brightfield() -> None:
    tissue = draw("brightfield_tissue")
    assert analyse_modality(tissue) == "brightfield"
    assert analyse_modality(tissue.mean(axis=2, keepdims=True)) == "grey"


def test_a_black_frame_does_not_make_a_bright_field_dark() -> None:
    tissue = draw("brightfield_blood")
    framed = np.zeros((2 * tissue.shape[0], tissue.shape[1], 3), np.uint8)
    framed[: tissue.shape[0]] = tissue.clip(200)
    framed[:4, :, 2] = 120
    assert analyse_modality(framed) == "brightfield"


@pytest.mark.parametrize("value", [0, 7, 65_535])
def test_an_image_of_one_value_is_grey(value: int) -> None:
    assert analyse_modality(np.full((*SHAPE, 1), value, np.uint16)) == "grey"
    assert analyse_modality(np.full((*SHAPE, 3), value, np.uint16)) == "grey"
    assert analyse_modality(np.full((1, 1, 1), value, np.uint16)) == "grey"


def test_one_cell_on_black_is_fluorescence() -> None:
    pixels = np.zeros((400, 400, 1), np.uint8)
    pixels[10:14, 20:24] = 200
    assert analyse_modality(pixels) == "fluorescence"


def test_floats_around_zero() -> None:
    for kind in ("fluorescence_nuclei", "phase_spread"):
        pixels = draw(kind).astype(np.float32)
        centred = (pixels - pixels.mean()) / pixels.std()
        assert analyse_modality(centred) == analyse_modality(pixels)


def test_statistics_of_a_sample_are_those_of_the_whole() -> None:
    pixels = draw("fluorescence_layer")
    large = np.repeat(np.repeat(pixels, 6, axis=0), 6, axis=1)
    small, whole = (measure_colour(take_sample(ArrayPixels(one))) for one in (pixels, large))
    for name in ("chroma", "level", "median", "upper"):
        assert getattr(whole, name) == pytest.approx(getattr(small, name), abs=0.02)


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4, 4), (4,), (0, 4, 1)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="allowed is"):
        analyse_modality(np.zeros(shape))


@pytest.mark.parametrize("cast", [0.04, 0.08, 0.15])
@pytest.mark.parametrize("kind", ["phase_rods", "dic_yeast", "brightfield_round"])
def test_a_tinted_lamp_stains_nothing(kind: str, cast: float, rng: np.random.Generator) -> None:
    grey = draw(kind)[..., :1].astype(np.float32)
    tinted = np.rint(grey * np.array([1, 1 - cast / 2, 1 - cast]) + rng.normal(0, 0.5, (*grey.shape[:2], 3)))
    assert analyse_modality(tinted.clip(0, 255).astype(np.uint8)) == analyse_modality(grey.astype(np.uint8)) == "grey"


@pytest.mark.parametrize("kind", ["phase_spread", "dic_rods", "brightfield_tissue", "brightfield_blood"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_frame_does_not_count(kind: str, share: float) -> None:
    pixels = draw(kind)
    width = int(pixels.shape[1] * share / (1 - share))
    framed = np.pad(pixels, ((0, 0), (0, width), (0, 0)))
    assert analyse_modality(framed) == analyse_modality(pixels)


def test_few_nuclei_in_a_noisy_field_are_fluorescence(rng: np.random.Generator) -> None:
    wide = rng.normal(100, 3, (1024, 1024))
    for y, x in ((200, 300), (800, 120), (500, 900)):
        wide[y : y + 18, x : x + 18] += 400
    assert analyse_modality(wide.astype(np.uint16)) == "fluorescence"
