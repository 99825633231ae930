"""Drawn fields without a cell, and fields with a few bright nuclei: what a program must not find, and what it must."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.camera import Camera, Pixels, autostretch, coarsen, compress, convert, detect
from benchmarks.outlines import draw_lobed

Labels = NDArray[np.uint32]

#: what disturbs an empty field
KINDS = (
    "read noise",
    "shot noise",
    "columns and rows",
    "hot pixels",
    "sCMOS",
    "grain",
    "vignette",
    "uneven light",
    "JPEG",
    "stripes",
    "dust",
    "blobs",
    "stretched",
)
#: dark as in fluorescence, grey as in phase contrast, coloured as empty glass under a colour camera
LOOKS = ("dark", "grey", "glass")
#: noises of fields with nuclei: the light and the sensor, but nothing that has a shape of its own
NUCLEI_KINDS = ("read noise", "shot noise", "columns and rows", "hot pixels", "sCMOS", "vignette")
OFFSETS = (0, 100, 1000)
SIDES_PX = (256, 1024)


def draw_empty_field(kind: str, look: str, rng: np.random.Generator, shape_px: tuple[int, int] | None = None) -> Pixels:
    """Draw a field without a cell.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    look : str
        One of `LOOKS`.
    rng : numpy.random.Generator
        The only source of chance.
    shape_px : (int, int), optional
        Height and width; drawn from `SIDES_PX` where None.

    Returns
    -------
    pixels : (y, x) or (y, x, 3), uint8 or uint16
    """
    shape_px = shape_px or _choose_shape(rng)
    camera, level = _choose_camera(kind, look, rng)
    # what shines is seen above the noise of darkness, what keeps light away is a part of it
    unit = np.sqrt(level + camera.read_noise**2) if look == "dark" else 0.02 * level
    light = level * _draw_light(kind, shape_px, rng) + unit * _draw_objects(kind, look, shape_px, rng)
    tint = _choose_tint(look, rng)
    light = np.maximum(light if tint is None else light[..., None] * tint, 0).astype(np.float32)
    counted = detect(camera, light, rng)
    if kind == "grain":
        counted = coarsen(counted, rng)
    pixels = convert(camera, counted)
    if kind == "stretched":
        return autostretch(pixels, rng.choice([0.02, 0.1, 0.35]))
    return compress(pixels.astype(np.uint8), int(rng.integers(30, 96))) if kind == "JPEG" else pixels


def draw_lone_nuclei(
    signal: float, rng: np.random.Generator, shape_px: tuple[int, int] = (1024, 1024)
) -> tuple[Pixels, Labels]:
    """Draw 3 to 6 bright nuclei on a dark field.

    Parameters
    ----------
    signal : float
        Brightness above the field, as a multiple of the field's noise.
    rng : numpy.random.Generator
    shape_px : (int, int)
        Height and width, at least 256 each.

    Returns
    -------
    pixels : (y, x) uint8 or uint16
    labels : (y, x) uint32
        Ids 1..n.
    """
    kind = str(rng.choice(NUCLEI_KINDS))
    camera, level = _choose_camera(kind, "dark", rng)
    field = level * _draw_light(kind, shape_px, rng)
    labels = _place_nuclei(shape_px, rng)
    noise = float(np.sqrt(level + camera.read_noise**2 + (camera.column_noise + camera.row_noise) ** 2))
    brightness = np.concatenate([[0], rng.uniform(0.8, 1.25, labels.max())])[labels].astype(np.float32)
    texture = 1 + 0.12 * _smooth_noise(shape_px, 4, rng)
    body = cv2.GaussianBlur(brightness * texture, (0, 0), rng.uniform(0.8, 1.6))
    light = np.maximum(field + np.float32(signal * noise) * body, 0).astype(np.float32)
    # a camera is set so that the brightest cell is not saturated
    gain = min(camera.gain, 0.9 * (camera.white - camera.offset) / float(light.max()))
    return convert(replace(camera, gain=gain), detect(camera, light, rng)), labels


def _choose_shape(rng: np.random.Generator) -> tuple[int, int]:
    # small images are frequent: the large ones take nearly all the time
    side = SIDES_PX[0] * (SIDES_PX[1] / SIDES_PX[0]) ** rng.random() ** 3
    height, width = (int(np.clip(side * ratio, *SIDES_PX)) for ratio in (1, rng.choice([1, 1, 1.25, 4 / 3])))
    return height, width


def _choose_camera(kind: str, look: str, rng: np.random.Generator) -> tuple[Camera, float]:
    """Choose a camera, and the expected electrons of a pixel of the empty field."""
    bits = int(rng.choice([8, 12, 16])) if look != "glass" and kind != "JPEG" else 8
    read_noise = rng.uniform(1, 3)
    if look == "dark":
        # darkness alone, or a weak glow of medium and glass
        level = 10 ** rng.uniform(-0.5, 1.8)
        if kind == "read noise":
            level, read_noise = level / 10, rng.uniform(3, 12)
        elif kind in ("shot noise", "vignette", "uneven light"):
            level, read_noise = 10 ** rng.uniform(1.5, 3), rng.uniform(0.5, 2)
        noise = np.sqrt(level + read_noise**2)
        if bits == 8:
            offset, gain = rng.uniform(0, 20), rng.uniform(0.4, 4) / noise
            gain = min(gain, 200 / level)
        else:
            offset = float(rng.choice(OFFSETS))
            gain = min(10 ** rng.uniform(-0.5, 0.7), 0.8 * ((1 << bits) - 1 - offset) / (level + 10 * noise))
    else:
        level = 10 ** rng.uniform(3.2, 4.6)
        if kind == "read noise":
            read_noise = rng.uniform(0.5, 2) * np.sqrt(level)
        white = rng.uniform(0.25, 0.75) if look == "grey" else rng.uniform(0.75, 0.98)
        offset = 0.0 if bits == 8 else float(rng.choice(OFFSETS))
        gain = (white * ((1 << bits) - 1) - offset) / level
    noise = np.sqrt(level + read_noise**2)
    camera = Camera(bits=bits, offset=offset, gain=gain, read_noise=read_noise)
    if kind == "columns and rows":
        both = rng.uniform(0.2, 1.2, 2) * rng.choice([(1, 0), (0, 1), (1, 1)])
        camera = replace(camera, column_noise=both[0] * noise, row_noise=both[1] * noise)
    elif kind == "hot pixels":
        strength = noise * 10 ** rng.uniform(0.7, 2.3)
        camera = replace(camera, hot_fraction=10 ** rng.uniform(-5, -2.7), hot_electrons=strength)
    elif kind == "sCMOS":
        spread = rng.uniform(0.005, 0.04), rng.uniform(0.2, 0.7)
        camera = replace(camera, gain_spread=spread[0], noise_spread=spread[1], hot_fraction=1e-5)
    return camera, float(level)


def _choose_tint(look: str, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Choose the colour of the field; None is one channel."""
    if look == "glass":
        return (1 - rng.uniform(0, 0.12, 3)).astype(np.float32)
    if rng.random() < 0.85:
        return None
    # the RGB export of one channel, in its colour, or of a colour camera without a cast
    colours = ([0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 1]) if look == "dark" else ([1, 1, 1],)
    return np.array(colours[rng.integers(len(colours))], np.float32)


def _draw_light(kind: str, shape_px: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw the illumination (y, x), about 1."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape_px)
    centre = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
    if kind == "vignette":
        far = np.square(y[:, None] - centre[0]) + np.square(x - centre[1])
        # the fourth power of the cosine, as a lens has it
        return np.square(1 / (1 + np.float32(rng.uniform(0.1, 0.5)) * far))
    if kind == "uneven light":
        slope = rng.uniform(-0.4, 0.4, 2).astype(np.float32)
        stains = np.float32(rng.uniform(0, 0.15)) * _smooth_noise(shape_px, max(shape_px) / rng.uniform(3, 6), rng)
        return np.maximum(1 + slope[0] * y[:, None] + slope[1] * x + stains, 0.1)
    # no microscope is quite even
    faint = rng.uniform(-0.03, 0.03, 2).astype(np.float32)
    return 1 + faint[0] * y[:, None] + faint[1] * x


def _draw_objects(kind: str, look: str, shape_px: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw what is there and no cell (y, x): stripes, dust or blobs, most of a strength of 1 to 10."""
    canvas = np.zeros(shape_px, np.float32)
    if kind == "stripes":
        return np.float32(rng.uniform(0.3, 2)) * _draw_stripes(shape_px, rng)
    # dust keeps light from a camera, and shines where only what shines is seen
    sign = 1 if look == "dark" else -1
    if kind == "dust":
        for _ in range(int(rng.integers(3, 25))):
            _draw_speck(canvas, sign * 10 ** rng.uniform(0.5, 1.4), rng)
        return cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.6, 1.2))
    if kind == "blobs":
        # far out of focus nothing is fine, so a quarter of the size is enough
        small = np.zeros([-(-side // 4) for side in shape_px], np.float32)
        for _ in range(int(rng.integers(1, 7))):
            blob = np.zeros_like(small)
            radius = rng.uniform(0.04, 0.16) * max(small.shape)
            centre = int(rng.integers(small.shape[1])), int(rng.integers(small.shape[0]))
            axes = tuple(int(v) for v in np.ceil(radius * rng.uniform(0.6, 1.3, 2)))
            cv2.ellipse(blob, centre, axes, rng.uniform(0, 180), 0, 360, sign * 10 ** rng.uniform(0, 1), -1)
            small += cv2.GaussianBlur(blob, (0, 0), radius * rng.uniform(0.5, 0.8))
        return cv2.resize(small, shape_px[::-1], interpolation=cv2.INTER_CUBIC)
    return canvas


def _draw_stripes(shape_px: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw stripes of amplitude 1: interference under any angle, or the bands of a lamp that flickers."""
    y, x = (np.arange(side, dtype=np.float32) for side in shape_px)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    phase = (np.float32(np.sin(angle)) * y[:, None] + np.float32(np.cos(angle)) * x) * np.float32(
        2 * np.pi / np.exp(rng.uniform(np.log(3), np.log(200)))
    )
    wave = np.sin(phase + np.float32(rng.uniform(0, 6)))
    return np.sign(wave) if rng.random() < 0.25 else wave


def _draw_speck(canvas: NDArray[np.float32], value: float, rng: np.random.Generator) -> None:
    """Draw a grain of few px, or a fibre, into a canvas (y, x)."""
    height, width = canvas.shape
    start = np.array([rng.integers(width), rng.integers(height)])
    if rng.random() < 0.2:
        turns = np.cumsum(np.concatenate([[rng.uniform(0, 6.3)], rng.normal(0, 0.3, int(rng.integers(8, 30)))]))
        points = start + np.cumsum(4 * np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)
        cv2.polylines(canvas, [np.rint(points).astype(np.int32)], False, value, 1, cv2.LINE_AA)
        return
    axes = tuple(int(v) for v in rng.integers(0, 3, 2))
    cv2.ellipse(canvas, tuple(int(v) for v in start), axes, rng.uniform(0, 180), 0, 360, value, -1)


def _place_nuclei(shape_px: tuple[int, int], rng: np.random.Generator) -> Labels:
    """Place 3 to 6 nuclei of 20 to 45 px that do not touch each other or the border."""
    labels = np.zeros(shape_px, np.uint32)
    size, wanted = rng.uniform(20, 45), int(rng.integers(3, 7))
    while labels.max() < wanted:
        radius = size / 2 * rng.uniform(0.85, 1.2)
        top, left = (rng.uniform(2 * radius, side - 2 * radius) for side in shape_px)
        stamp = draw_lobed(shape_px, (top, left), radius, rng, aspect=rng.uniform(0.75, 1))
        if not labels[cv2.dilate(stamp.astype(np.uint8), np.ones((9, 9))) > 0].any():
            labels[stamp] = labels.max() + 1
    return labels


def _smooth_noise(shape_px: tuple[int, int], scale_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw smooth noise (y, x) of standard deviation 1 that changes over a scale."""
    coarse = rng.standard_normal([int(np.ceil(side / scale_px)) + 3 for side in shape_px], dtype=np.float32)
    height, width = (int(np.ceil(side * scale_px)) for side in coarse.shape)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[: shape_px[0], : shape_px[1]]
    return (fine - fine.mean()) / max(float(fine.std()), 1e-6)
