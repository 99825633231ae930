"""Command `python -m examples.demo`: segment real and drawn images into the folder demo/."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.synthesis import SCENES, draw_scene

ROOT = Path(__file__).resolve().parent.parent
SCENE_SHAPE_PX = (480, 640)


def write_real_images(folder: Path) -> list[Path]:
    """Write the two images of cells that lie in scikit-image's own package, so that nothing is downloaded.

    Parameters
    ----------
    folder : Path
        Existing folder.

    Returns
    -------
    list of Path
        A stained tissue section (512 x 512 RGB) and one cell in saline (660 x 550 grey).
    """
    from skimage import data

    images = {"real_tissue.png": data.immunohistochemistry(), "real_single_cell.png": data.cell()}
    return [_write_png(folder / name, pixels) for name, pixels in images.items()]


def write_drawn_images(folder: Path, seed: int) -> list[Path]:
    """Draw one image of every kind of scene.

    Parameters
    ----------
    folder : Path
        Existing folder.
    seed : int
        The same seed gives the same images, whatever other scenes there are.

    Returns
    -------
    list of Path
        One 480 x 640 image for each name in `SCENES`.
    """
    paths = []
    for kind in SCENES:
        rng = np.random.default_rng([seed, *kind.encode()])
        pixels, _ = draw_scene(kind, SCENE_SHAPE_PX, rng)
        paths.append(_write_png(folder / f"drawn_{kind}.png", pixels))
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Make the images, run predict.py on them, and say where the results lie.

    Parameters
    ----------
    arguments : list of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        Exit code of predict.py.
    """
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="default: demo beside predict.py")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other images (default: 0)")
    options = parser.parse_args(arguments)
    inputs, outputs = options.folder / "inputs", options.folder / "outputs"
    inputs.mkdir(parents=True, exist_ok=True)
    images = [*write_real_images(inputs), *write_drawn_images(inputs, options.seed)]
    print(f"{len(images)} images written to {inputs}", flush=True)
    command = [sys.executable, str(ROOT / "predict.py"), "-i", str(inputs), "-o", str(outputs), "--overlay"]
    exit_code = subprocess.run(command, check=False).returncode
    masks = sorted(outputs.glob("*_label.tiff"))
    overlays = sorted(outputs.glob("*.png"))
    print(f"masks:    {len(masks)} of {len(images)}, {outputs / '*_label.tiff'}")
    print(f"overlays: {len(overlays)} of {len(images)}, {outputs / '*.png'} (look at these)")
    return exit_code


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write a (y, x), (y, x, 1) or (y, x, 3) image; OpenCV's order of colours is blue, green, red."""
    colours = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    encoded, data = cv2.imencode(".png", colours)
    if not encoded:
        raise RuntimeError(f"{path.name}: an array of shape {pixels.shape} cannot be written as PNG")
    path.write_bytes(data.tobytes())
    return path


if __name__ == "__main__":
    sys.exit(main())
