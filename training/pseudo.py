"""Label images with trained models for self-training: python -m training.pseudo --data DIR -o DIR.

The better cells of both branches are kept; images with a low predicted F1 are left out. The result has the layout that
`python -m training.train --pseudo` takes (Cell Segmenter paper, section 2.4).
"""

from __future__ import annotations

import argparse
import logging
import shutil
from itertools import chain
from pathlib import Path

from mosaicell.answers.quality import Judges, merge_branches, read_judges
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.reading.images import mask_name, write_labels
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import pick_images, read_pixels
from mosaicell.training.quality import Branches

log = logging.getLogger("training")


def label_images(images: list[Path], branches: Branches, judges: Judges, min_f1: float, folder: Path) -> int:
    """Label images, and copy those whose labels are likely good, with these, into a folder.

    Parameters
    ----------
    images
        Image files; their names stay.
    branches, judges
        The models, and what judges their cells.
    min_f1
        Images with a lower predicted F1, or without a cell, are left out.
    folder
        Gets images/ and labels/.

    Returns
    -------
    How many images were kept.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    kept = 0
    for path in images:
        merged = merge_branches(*branches.segment(read_pixels(path)), judges)
        if merged.predicted_f1 is not None and merged.predicted_f1 >= min_f1:
            shutil.copyfile(path, folder / "images" / path.name)
            write_labels(folder / "labels" / mask_name(path), merged.labels)
            kept += 1
    return kept


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.pseudo", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/; labels are not read")
    parser.add_argument("--sources", nargs="*", default=[], help="sources to take (default: all)")
    parser.add_argument("--per-source", type=int, default=0, help="at most this many images each (default: all)")
    parser.add_argument("--awf", default="awf-{modality}", help="model, {modality} for the analysed one")
    parser.add_argument("--omnipose", default="omnipose", help="model")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the models")
    parser.add_argument("--judges", type=Path, default=WEIGHTS_FOLDER, help="folder with the judges of cells")
    parser.add_argument("--min-f1", type=float, default=0.7, help="smallest predicted F1 (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder that gets images/ and labels/")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        groups = pick_images(arguments.data, tuple(arguments.sources), arguments.per_source)
        images = list(chain.from_iterable(groups.values()))
        branches = Branches(arguments.awf, arguments.omnipose, arguments.weights)
        judges = read_judges(arguments.judges)
        kept = label_images(images, branches, judges, arguments.min_f1, arguments.output)
        log.info("%s: %d of %d images labelled", arguments.output, kept, len(images))


if __name__ == "__main__":
    main()
