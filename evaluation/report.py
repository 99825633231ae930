"""Command `python -m evaluation.report`: one HTML page about one run or several."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from mosaicell.evaluation.markup import make_visible
from mosaicell.evaluation.page import compose_page
from mosaicell.evaluation.pairing import pair_names
from mosaicell.evaluation.records import ImageRecord, Run
from mosaicell.evaluation.run_folder import add_scores, read_run
from mosaicell.evaluation.score import read_modalities
from mosaicell.evaluation.scored_masks import score_folder
from mosaicell.evaluation.thumbnails import data_uri, draw_view, find_images
from mosaicell.evaluation.views import Thumbnail
from mosaicell.writing.masks import LABEL_SUFFIX
from mosaicell.writing.parts import write_whole

#: IoU from which cells match; F1 at the first is what images are ordered by
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
DEFAULT_THUMBNAILS = 60
#: images of the lowest predicted F1 that are shown
MAX_CHECKS = 10
#: what a value that is not known counts as in an order: more than any that is
NOT_KNOWN = 2.0


def name_runs(folders: Sequence[Path]) -> list[str]:
    """Return the name of each folder, or its path as given where two names are equal."""
    names = [folder.resolve().name or str(folder) for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def rank_images(runs: Sequence[Run]) -> list[tuple[int, ImageRecord]]:
    """Order the images of all runs, the worst first.

    Returns
    -------
    list of (int, ImageRecord)
        Index of the run and image. An image stands where its worst run puts it, all its runs together: failures, then
        the lowest F1, then, where there is none, the lowest predicted F1, then the lowest confidence.
    """

    def badness(image: ImageRecord) -> tuple[float, ...]:
        known = (image.f1, image.predicted_f1, image.confidence)
        return (not image.failures, *(NOT_KNOWN if value is None else value for value in known))

    return _sort_together([(index, image) for index, run in enumerate(runs) for image in run.images], badness)


def rank_checks(runs: Sequence[Run]) -> list[tuple[int, ImageRecord]]:
    """Order the images with a prediction, but for failures, the lowest predicted F1 first; runs as `rank_images`."""
    entries = [(index, image) for index, run in enumerate(runs) for image in run.images if not image.failures]
    predicted = [entry for entry in entries if entry[1].predicted_f1 is not None]
    return _sort_together(predicted, lambda image: (image.predicted_f1 or 0.0,))


def _sort_together(
    entries: list[tuple[int, ImageRecord]], badness: Callable[[ImageRecord], tuple[float, ...]]
) -> list[tuple[int, ImageRecord]]:
    worst: dict[str, tuple[float, ...]] = {}
    for _, image in entries:
        worst[image.key] = min(badness(image), worst.get(image.key, badness(image)))
    return sorted(entries, key=lambda entry: (worst[entry[1].key], entry[1].key, entry[0], entry[1].name))


def draw_thumbnails(
    runs: Sequence[Run], images: Path, labels: Path | None, limit: int
) -> tuple[list[Thumbnail], list[Thumbnail]]:
    """Draw the worst images of the runs, and those to check first.

    Parameters
    ----------
    runs : sequence of Run
    images : Path
        Folder of the images.
    labels : Path or None
        Folder of the true masks.
    limit : int
        Most thumbnails of each.

    Returns
    -------
    worst, checks : list of Thumbnail
        With a sentence for a view where the image cannot be read. The worst leave out images that are not there.

    Raises
    ------
    OSError
        The folder of the images cannot be read.
    """
    by_name, by_mask = find_images(images)
    names = [path.name for path in labels.glob(f"*{LABEL_SUFFIX}")] if labels else []
    pairs = [pair_names(names, (image.mask_name for image in run.images)) for run in runs]
    truths = [{mask: truth for truth, mask in found.items()} for found in pairs]
    # an image may be among both
    draw = cache(draw_view)

    def find(image: ImageRecord) -> Path | None:
        return by_name.get(image.name) or by_mask.get(image.mask_name)

    def view(index: int, image: ImageRecord) -> Thumbnail:
        path = find(image)
        mask = runs[index].folder / image.mask_name if image.mask_name else None
        true = truths[index].get(image.mask_name)
        truth = labels / true if labels and true else None
        if path is None:
            return Thumbnail(index, image, problem="no view: the image is not in the folder")
        try:
            drawn = draw(path, mask, truth)
        except (OSError, ValueError) as error:
            return Thumbnail(index, image, problem=f"no view: {error}")
        parts = (drawn.picture, drawn.found, drawn.true)
        return Thumbnail(index, image, *(data_uri(part) if part else "" for part in parts))

    worst = [entry for entry in rank_images(runs) if find(entry[1])][:limit]
    checks = rank_checks(runs)[: min(limit, MAX_CHECKS)]
    return [view(*entry) for entry in worst], [view(*entry) for entry in checks]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0 when the page is written, whatever it reports.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    _check_options(parser, options)
    try:
        modalities = read_modalities(options.manifest) if options.manifest else {}
    except (OSError, ValueError, csv.Error) as error:
        parser.error(f"the manifest cannot be used: {error}")
    runs = [read_run(folder, name) for folder, name in zip(options.runs, name_runs(options.runs), strict=True)]
    try:
        given = find_images(options.images)[1] if options.images else None
    except OSError as error:
        parser.error(f"{options.images} cannot be read: {error.strerror}")
    if options.labels:
        runs = [
            add_scores(run, score_folder(options.labels, run.folder, THRESHOLDS, modalities), given) for run in runs
        ]
    limit = DEFAULT_THUMBNAILS if options.thumbnails is None else options.thumbnails
    thumbnails: list[Thumbnail] = []
    checks = [Thumbnail(*entry) for entry in rank_checks(runs)[:MAX_CHECKS]]
    try:
        if options.images:
            thumbnails, checks = draw_thumbnails(runs, options.images, options.labels, limit)
    except OSError as error:
        parser.error(f"{options.images} cannot be read: {error.strerror}")
    try:
        with write_whole(options.output) as part:
            part.write_text(compose_page(runs, thumbnails, checks), encoding="utf-8")
    except OSError as error:
        parser.error(f"{options.output} cannot be written: {error.strerror}")
    for run in runs:
        failed = sum(bool(image.failures) for image in run.images)
        print(f"{make_visible(run.name)}: {len(run.images)} images, {failed} failed")
    print(make_visible(str(options.output)))
    return 0


def _check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    folders = [*options.runs, options.output.parent, *filter(None, (options.images, options.labels))]
    for folder in folders:
        if not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    resolved = [folder.resolve() for folder in options.runs]
    for folder, path in zip(options.runs, resolved, strict=True):
        if resolved.count(path) > 1:
            parser.error(f"{folder} is given twice")
    if options.output.is_dir():
        parser.error(f"{options.output} is a folder; -o names the HTML file to write")
    if options.labels and not any(options.labels.glob(f"*{LABEL_SUFFIX}")):
        parser.error(f"{options.labels} has no file *{LABEL_SUFFIX}")
    for option, value, needed, given in (
        ("--manifest", options.manifest, "--labels", options.labels),
        ("--thumbnails", options.thumbnails, "--images", options.images),
    ):
        if value is not None and given is None:
            parser.error(f"{option} needs {needed}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.report",
        description="Write one HTML page about a run: failures, F1, time, memory, images. Several runs are compared.",
    )
    add = parser.add_argument
    add(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN_DIR",
        help="folder with NAME_label.tiff, run.json, timing.csv, or some",
    )
    add("-o", "--output", type=Path, default=Path("report.html"), metavar="HTML", help="default: %(default)s")
    add("--images", type=Path, metavar="DIR", help="folder of the images, for views with outlines")
    add("--labels", type=Path, metavar="DIR", help="folder of true NAME_label.tiff, for F1 and outlines")
    add(
        "--manifest",
        type=Path,
        metavar="CSV",
        help="modality of each image; needs the columns label (name of a true file) and modality",
    )
    add("--thumbnails", type=_count, metavar="N", help=f"most views of a section (default: {DEFAULT_THUMBNAILS})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
