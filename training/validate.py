"""Score one model with the challenge's metric: python -m training.validate MODEL --data DIR."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from statistics import fmean

from evaluation.metrics import score_image
from inference.branches import segment
from inference.images import SUFFIXES, read_image, read_labels
from inference.manifest import Card, read_card
from inference.modality import analyse_modality
from inference.normalize import normalize
from inference.options import WEIGHTS_FOLDER
from inference.session import Session, available_threads

log = logging.getLogger("training")


def validate(card: Card, data: Path) -> dict[str, tuple[float, int]]:
    """Segment all images of a folder with one model, whatever their modality.

    Parameters
    ----------
    data
        Folder with images/ and labels/NAME_label.tiff.

    Returns
    -------
    Mean F1 at IoU 0.5 and number of images, by analysed modality and under "all".
    """
    session = Session(card.path, "cpu", available_threads(), 0)
    scores: dict[str, list[float]] = {}
    for path in sorted(p for p in (data / "images").iterdir() if p.suffix.lower() in SUFFIXES):
        pixels = read_image(path).pixels
        labels = segment(normalize(pixels, card.percentiles), card, session.run, 1).labels
        truth = read_labels(data / "labels" / f"{path.stem}_label.tiff")
        score = score_image(truth, labels, [0.5])[0].f1
        for group in (analyse_modality(pixels), "all"):
            scores.setdefault(group, []).append(score)
    if not scores:
        raise ValueError(f"{data / 'images'} holds no image")
    return {group: (fmean(values), len(values)) for group, values in sorted(scores.items())}


def log_scores(name: str, scores: dict[str, tuple[float, int]]) -> None:
    """Log one line for each modality."""
    for group, (score, count) in scores.items():
        log.info("%s on %d images (%s): mean F1 %.4f", name, count, group, score)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name in the manifest")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the manifest")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log_scores(arguments.model, validate(read_card(arguments.model, arguments.weights), arguments.data))


if __name__ == "__main__":
    main()
