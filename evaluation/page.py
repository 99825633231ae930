"""The report as one HTML page that needs nothing else: no file, no network, and no script to be read.

`templates/page.html` writes it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from markupsafe import Markup

from mosaicell.evaluation.charts import run_keys
from mosaicell.evaluation.costs import chart_costs
from mosaicell.evaluation.figures import Figure, seconds_text, summarise_run
from mosaicell.evaluation.image_table import tabulate_images
from mosaicell.evaluation.markup import load_templates
from mosaicell.evaluation.records import Run
from mosaicell.evaluation.tables import tabulate_accuracy, tabulate_branches, tabulate_f1
from mosaicell.evaluation.tolerance import TOLERANCE_S
from mosaicell.evaluation.views import Thumbnail

STYLE = Path(__file__).with_name("report.css")
SCRIPT = Path(__file__).with_name("report.js")
#: failures listed openly, and with those that unfold; any others stand in the table of images alone
SHOWN_FAILURES = 12
MAX_FAILURES = 200
HASH_DIGITS = 12
CHECKS = "Images to check first"
WORST = "Images, worst first"
#: what views are ordered by, in words
ORDERS = {"f1": "F1", "predicted_f1": "predicted F1", "confidence": "confidence", "name": "name"}
EXPLANATIONS = {
    "tolerance": f"Tolerance: {TOLERANCE_S:g} s for an image of up to one megapixel, {TOLERANCE_S:g} s for each of the "
    "megapixels of a larger one.",
    "wall": "Wall: seconds of the whole process or container, the median of its runs. The share of the tolerance is "
    "that of the slowest run.",
    "program": "Program: seconds from reading an image to writing its mask, without the start of the program.",
    "ram": "RAM: the limit is 28 GiB, what Docker calls 28g. 1 GB is 10^9 bytes.",
    "f1": "F1: cells matched one to one at an IoU of at least 0.5, or of the one named, without cells at the border. "
    "Precision: matched share of the cells found. Recall: matched share of the true cells. A missing mask counts as 0. "
    "Means are over images.",
    "predicted": "Predicted F1: what the program expects of a mask without knowing the truth, from how likely it holds "
    "each cell to be right; r is Pearson's correlation with F1.",
    "doubtful": "Doubtful: the predicted F1 is so low that the program warned of the image.",
    "confidence": "Confidence: mean foreground probability of a branch, 0 to 1.",
}


@dataclass(frozen=True)
class RunFacts:
    """What was run: its settings in words, and the first digits of the SHA-256 of its weights by model name."""

    name: str
    facts: list[str]
    weights: dict[str, str]


@dataclass(frozen=True)
class Failure:
    """An image, or a run with a file that cannot be used, and what is wrong with it."""

    run: int
    name: str
    reason: str


@dataclass(frozen=True)
class Failures:
    """What went wrong, the first openly, others folded, and sentences about runs in which nothing did.

    Attributes
    ----------
    title : str
    is_bad : bool
        Anything went wrong.
    shown, folded : list of Failure
    more : str
        How many there are beyond those shown.
    left_out : str
        How many are in neither list; empty for none.
    well : list of str
    """

    title: str
    is_bad: bool
    shown: list[Failure]
    folded: list[Failure]
    more: str
    left_out: str
    well: list[str]


@dataclass(frozen=True)
class ViewSection:
    """A section of views; `addresses` begins the address of each on the page."""

    title: str
    id: str
    note: str
    addresses: str
    thumbnails: Sequence[Thumbnail]


def compose_page(runs: Sequence[Run], thumbnails: Sequence[Thumbnail] = (), checks: Sequence[Thumbnail] = ()) -> str:
    """Compose the page.

    Parameters
    ----------
    runs : sequence of Run
        At least one; several are compared.
    thumbnails : sequence of Thumbnail
        In the order in which they are shown.
    checks : sequence of Thumbnail
        Images of the lowest predicted F1, with views or without; left out where `thumbnails` have that order already.

    Returns
    -------
    str
        HTML. Its policy forbids every request and every script but its own.
    """
    script = SCRIPT.read_text(encoding="utf-8")
    return (
        load_templates()
        .get_template("page.html")
        .render(
            names=", ".join(run.name for run in runs),
            style=Markup(STYLE.read_text(encoding="utf-8")),
            script=Markup(script),
            digest=b64encode(sha256(script.encode()).digest()).decode("ascii"),
            keys=run_keys(runs),
            runs=[_describe_run(run) for run in runs],
            figures=_compare_figures(runs),
            failures=_list_failures(runs),
            f1=tabulate_f1(runs),
            accuracy=tabulate_accuracy(runs),
            costs=chart_costs(runs),
            branches=tabulate_branches(runs),
            views=_choose_views(runs, thumbnails, checks),
            images=tabulate_images(runs),
            explanations=_explain(runs),
        )
    )


def _describe_run(run: Run) -> RunFacts:
    settings = run.settings
    facts = [
        f"Mosaicell {settings['version']}" if "version" in settings else None,
        settings.get("system"),
        settings.get("device"),
        f"{settings['threads']} threads" if "threads" in settings else None,
        f"ran for {seconds_text(run.elapsed_s)}" if run.elapsed_s is not None else None,
        f"{run.other_truths:,} true masks are of images that it did not have" if run.other_truths else None,
    ]
    weights = {name: digest[:HASH_DIGITS] for name, digest in run.weights.items()}
    return RunFacts(run.name, [fact for fact in facts if fact], weights)


def _compare_figures(runs: Sequence[Run]) -> list[tuple[str, list[Figure | None]]]:
    """Return the headline figures by label, one for each run; None where it cannot be known."""
    by_run = [{figure.label: figure for figure in summarise_run(run)} for run in runs]
    labels = dict.fromkeys(label for figures in by_run for label in figures)
    return [(label, [figures.get(label) for figures in by_run]) for label in labels]


def _failing(run: Run) -> bool:
    return bool(run.problems) or any(image.failures for image in run.images)


def _failure_title(runs: Sequence[Run]) -> str:
    count = sum(bool(image.failures) for run in runs for image in run.images)
    if count:
        return f"{count:,} failure{'s' * (count != 1)}"
    if any(run.problems for run in runs):
        return "Files that cannot be used"
    return "No failures" if any(run.images for run in runs) else "Nothing to report"


def _list_failures(runs: Sequence[Run]) -> Failures:
    found = []
    for index, run in enumerate(runs):
        found += [Failure(index, run.name, problem) for problem in run.problems]
        found += [Failure(index, image.name, "; ".join(image.failures)) for image in run.images if image.failures]
    left_out = len(found) - MAX_FAILURES
    return Failures(
        title=_failure_title(runs),
        is_bad=any(map(_failing, runs)),
        shown=found[:SHOWN_FAILURES],
        folded=found[SHOWN_FAILURES:MAX_FAILURES],
        more=f"{len(found) - SHOWN_FAILURES:,}",
        left_out=f"{left_out:,}" if left_out > 0 else "",
        well=[_all_well(run) for run in runs if not _failing(run)],
    )


def _all_well(run: Run) -> str:
    """Say that nothing failed, and no more than was looked at."""
    if not run.images:
        return f"{run.name}: the folder holds no masks, no run.json and no timing.csv, so there is nothing to report."
    if not run.has_masks:
        return f"{run.name}: none recorded. The folder holds no masks, so none was looked at."
    return f"{run.name}: every image has a mask that can be read."


def _order_of(thumbnails: Sequence[Thumbnail]) -> str:
    """Return the first attribute of `ORDERS` that is known of any image shown."""
    images = [thumbnail.image for thumbnail in thumbnails]
    return next((name for name in ORDERS if any(getattr(image, name) is not None for image in images)), "name")


def _choose_views(
    runs: Sequence[Run], thumbnails: Sequence[Thumbnail], checks: Sequence[Thumbnail]
) -> list[ViewSection]:
    order = _order_of(thumbnails)
    by_prediction = order == "predicted_f1"
    total = sum(len(run.images) for run in runs)
    sections = []
    if checks and not by_prediction:
        failures = " Failures are listed above." if any(image.failures for run in runs for image in run.images) else ""
        note = f"{len(checks):,} of {total:,}: the lowest predicted F1.{failures}"
        sections.append(ViewSection(CHECKS, "checks", note, "checks", checks))
    if thumbnails:
        shown = f"{len(thumbnails):,} of {total:,}" if len(thumbnails) < total else f"All {total:,}"
        note = f"{shown}: failures, then by {ORDERS[order]}. "
        note += "Outlines are those of the cells found; a click opens a view."
        sections.append(ViewSection(CHECKS if by_prediction else WORST, "thumbnails", note, "worst", thumbnails))
    return sections


def _explain(runs: Sequence[Run]) -> list[str]:
    """Say what the numbers on the page mean, as far as it has them."""
    images = [image for run in runs for image in run.images]
    known = {
        "tolerance": any(image.tolerance_s or image.seconds for image in images),
        "wall": any(image.wall_s is not None for image in images),
        "program": any(image.seconds for image in images),
        "ram": any(image.ram_mb is not None for image in images),
        "f1": any(image.f1 is not None for image in images),
        "predicted": any(image.predicted_f1 is not None for image in images),
        "doubtful": any(image.doubtful for image in images),
        "confidence": any(image.confidences for image in images),
    }
    return [EXPLANATIONS[name] for name, needed in known.items() if needed]
