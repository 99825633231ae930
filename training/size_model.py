"""Fit the size model of a Cellpose model: python -m training.size_model MODEL --data DIR.

Source: cvml paper, sections 2.3.2 (equation 4) and 3.2.2. Each labelled image is seen ten times, turned, mirrored and
resized at random; the styles that the model answers with tell the median diameters by ridge regression.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosaicell.answers.scale_rules import SIZE_MODEL
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import Card, file_sha256, read_card, read_manifest
from mosaicell.networks.raw import RunModel
from mosaicell.networks.session import Session, available_threads
from mosaicell.networks.size_model import SizeModel, write_size_model
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.dataset import Sample, draw_crop, load_samples
from mosaicell.training.export import write_manifest
from mosaicell.training.targets import Targets
from mosaicell.writing.parts import write_whole

#: views of each image (paper)
VIEWS = 10
#: r of equation 4 (published code)
RIDGE = 1.0
#: views are of 512 px (paper), half to twice as large as the image; no view is blurred, inverted or noisy, as then the
#: style says that it is
VIEW = AugmentOptions(
    crop_px=512,
    diameter_px=(3.0, 600.0),
    free_scale_fraction=0.0,
    scale_jitter=2.0,
    gamma=0.0,
    color_jitter=0.0,
    grey_probability=0.0,
    invert_probability=0.0,
    blur_probability=0.0,
    noise_probability=0.0,
    shuffle_probability=0.0,
    light_probability=0.0,
    haze_probability=0.0,
    coarse_probability=0.0,
)
log = logging.getLogger("training")


def fit_size_model(styles: np.ndarray, diameters_px: np.ndarray, ridge: float = RIDGE) -> SizeModel:
    """Fit a linear map from styles to the logarithm of diameters.

    Parameters
    ----------
    styles
        (n, s), each of length 1.
    diameters_px
        (n,).
    ridge
        r of equation 4: the larger, the less a style changes the mean diameter.

    Raises
    ------
    OptionError
        When there are no styles, or numbers that are not finite, or a diameter of 0 or less.

    Notes
    -----
    The paper writes equation 4 for diameters; its code takes their logarithm, as what counts is by which factor an
    estimate is off.
    """
    if not len(styles) or not np.isfinite(styles).all() or not (np.isfinite(diameters_px) & (diameters_px > 0)).all():
        raise OptionError(f"{len(styles)} views hold no finite styles and diameters above 0 to fit a size model to")
    styles, logs = styles.astype(np.float64), np.log(diameters_px.astype(np.float64))
    mean_style, mean_log = styles.mean(axis=0), float(logs.mean())
    away = styles - mean_style
    slopes = np.linalg.solve(away.T @ away + ridge * np.eye(away.shape[1]), away.T @ (logs - mean_log))
    ends = float(diameters_px.min()), float(diameters_px.max())
    return SizeModel(mean_style, slopes, mean_log, ends)


def see_views(
    samples: Sequence[Sample], run_model: RunModel, views: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Ask a model for the styles of random views of images that hold cells.

    Returns
    -------
    styles, diameters_px
        (n, s) and (n,): median diameter of the image's cells at the scale of the view. The views of an image follow
        each other.
    """
    styles, diameters = [], []
    for sample in (sample for sample in samples if sample.areas.size > 1):
        for _ in range(views):
            image, found = draw_crop(sample, VIEW, _pass_areas, rng)
            styles.append(run_model(image[None])[1][0])
            factor = math.sqrt(found["areas"].sum() / sample.areas.sum())
            diameters.append(sample.diameter_px * factor)
    return np.array(styles), np.array(diameters)


def _pass_areas(labels: np.ndarray, areas: np.ndarray) -> Targets:
    """Return the areas of cells at the scale of a view, which tell its factor."""
    return {"areas": areas}


def ratio_errors(model: SizeModel, styles: np.ndarray, diameters_px: np.ndarray) -> np.ndarray:
    """Return by which factor, 1 or more, each estimate is too large or too small."""
    logs = [abs(math.log(model.diameter_px(style) / true)) for style, true in zip(styles, diameters_px, strict=True)]
    return np.exp(logs)


def enter_size_model(card: Card, model: SizeModel, folder: Path) -> Path:
    """Write a size model beside its network and name it in the card, with the rule that uses it."""
    path = folder / f"{card.name}-size.json"
    with write_whole(path) as part:
        write_size_model(model, part)
    cards = read_manifest(folder)
    size_model = {"file": path.name, "sha256": file_sha256(path)}
    cards[card.name]["cell_size"] |= {"scale_rule": SIZE_MODEL, "size_model": size_model}
    write_manifest(folder, cards)
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.size_model", description=__doc__)
    parser.add_argument("model", help="name in the manifest")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--val", type=Path, help="folder of the same layout, on which the error is measured too")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the manifest")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded images")
    parser.add_argument("--views", type=int, default=VIEWS, help=f"of each image (default: {VIEWS})")
    parser.add_argument("--ridge", type=float, default=RIDGE, help=f"r of equation 4 (default: {RIDGE:g})")
    parser.add_argument("--seed", type=int, default=1, help="of the views")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        card = read_card(arguments.model, arguments.weights)
        if "style" not in card.decoder.outputs:
            raise OptionError(f"the model {card.name!r} is of the kind {card.kind} and answers with no style")
        run_model = Session(card.path, "cpu", available_threads(), 0).run
        rng = np.random.default_rng(arguments.seed)
        seen = see_views(load_samples(arguments.data, arguments.cache), run_model, arguments.views, rng)
        model = fit_size_model(*seen, arguments.ridge)
        _log_errors("trained", model, *seen)
        if arguments.val:
            _log_errors(
                "validation", model, *see_views(load_samples(arguments.val, arguments.cache), run_model, 1, rng)
            )
        log.info("%s", enter_size_model(card, model, arguments.weights))


def _log_errors(name: str, model: SizeModel, styles: np.ndarray, diameters_px: np.ndarray) -> None:
    errors = ratio_errors(model, styles, diameters_px)
    middle, worst = np.percentile(errors, (50, 90))
    log.info(
        "%s views (%d): off by a factor of %.2f (median), %.2f (90th percentile)", name, errors.size, middle, worst
    )


if __name__ == "__main__":
    main()
