"""Add to labels the cells that they leave out: python -m training.complete.

Where labels hold the white cells of a blood smear alone, a network learns from them that red cells are background,
and those of other smears for cells. The red ones are taken from masks that `predict.py` made. What is written is
trained on as DIR itself: the other images and labels come as links.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from mosaicell.errors import OptionError
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import find_labels, in_sources, list_images, read_pair, read_sources
from mosaicell.writing.masks import find_mask, read_labels, write_labels

#: a found cell is one that labels leave out where they cover less than this share of it
MAX_COVERED = 0.1
#: and no debris where it has this share of the median area of what is added to the image
MIN_SHARE = 0.25
#: nor in px; smaller cells are platelets and specks in any smear whose cells can be trained on
MIN_PX = 100
log = logging.getLogger("training")


def complete_labels(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Add to labels the found cells that they leave out.

    Parameters
    ----------
    labels, found
        Integer (y, x), 0 = background.

    Returns
    -------
    uint32 (y, x)
        Labels keep their pixels and ids; what is added has ids above.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if labels.shape != found.shape:
        raise ValueError(f"labels of shape {labels.shape}, found cells of shape {found.shape}")
    areas = np.bincount(found.ravel())
    covered = np.bincount(found[labels > 0], minlength=len(areas))
    left_out = (areas > 0) & (covered < MAX_COVERED * areas)
    left_out[0] = False
    if left_out.any():
        left_out &= areas >= max(MIN_PX, MIN_SHARE * float(np.median(areas[left_out])))
    ids = np.where(left_out, int(labels.max()) + np.cumsum(left_out), 0)
    return np.where(labels > 0, labels, ids[found]).astype(np.uint32)


def complete_folder(data: Path, masks: Path, sources: tuple[str, ...], output: Path) -> tuple[int, int]:
    """Write a folder like another, in which the labels of some sources are complete.

    Parameters
    ----------
    data
        Folder with images/, labels/ and, here or above, manifest.csv.
    masks
        Folder of what was found, named as the labels are.
    sources
        Whose labels are completed; the others are linked to.
    output
        Gets images/, labels/ and manifest.csv; must not exist.

    Returns
    -------
    How many images were completed, and how many cells were added.

    Raises
    ------
    OptionError
        When the output exists, a source has no image, or an image of one has no mask or one of another size.
    """
    known = read_sources(data)
    images = list_images(data)
    chosen = {path for path in images if in_sources(known.get(path.name, ""), sources)}
    unknown = [name for name in sources if not any(in_sources(known.get(path.name, ""), (name,)) for path in images)]
    if unknown:
        raise OptionError(f"{data} holds no image of the sources {', '.join(unknown)}")
    missing = [path.name for path in sorted(chosen) if not find_mask(masks, path).is_file()]
    if missing:
        raise OptionError(f"{masks} holds no mask of {', '.join(missing[:5])}")
    if output.exists():
        raise OptionError(f"{output} is there already")
    # before anything is written, as a folder that is there is refused
    added, completed = 0, {}
    for path in sorted(chosen):
        _, labels = read_pair(data, path)
        try:
            completed[path] = complete_labels(labels, read_labels(find_mask(masks, path)))
        except ValueError as error:
            raise OptionError(f"{path.name}: {error}") from error
        added += int(completed[path].max(initial=0)) - int(labels.max(initial=0))
    for name in ("images", "labels"):
        (output / name).mkdir(parents=True)
    (manifest,) = [folder / "manifest.csv" for folder in (data, data.parent) if (folder / "manifest.csv").exists()][:1]
    (output / "manifest.csv").symlink_to(manifest.resolve())
    for path in images:
        (output / "images" / path.name).symlink_to(path.resolve())
        label_path = find_labels(data, path)
        if path in completed:
            write_labels(output / "labels" / label_path.name, completed[path])
        else:
            (output / "labels" / label_path.name).symlink_to(label_path.resolve())
    return len(chosen), added


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.complete", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--masks", type=Path, required=True, help="folder of masks NAME_label.tiff of these images")
    parser.add_argument("--sources", nargs="+", required=True, help="whose labels leave cells out, as in manifest.csv")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder, trained on instead of DATA")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        images, added = complete_folder(arguments.data, arguments.masks, tuple(arguments.sources), arguments.output)
        log.info("%s: %d cells added to the labels of %d images", arguments.output, added, images)


if __name__ == "__main__":
    main()
