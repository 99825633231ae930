"""The report as one HTML page that needs nothing else: no file, no network, and no script to be read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from mosaicell.evaluation.charts import draw_key
from mosaicell.evaluation.costs import chart_costs
from mosaicell.evaluation.figures import Figure, seconds_text, summarise_run
from mosaicell.evaluation.image_table import label_cells, tabulate_images
from mosaicell.evaluation.markup import Markup, element, join_markup
from mosaicell.evaluation.records import Run
from mosaicell.evaluation.tables import tabulate_accuracy, tabulate_branches, tabulate_f1
from mosaicell.evaluation.tolerance import TOLERANCE_S
from mosaicell.evaluation.views import Thumbnail, show_views

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
    style = Markup(STYLE.read_text(encoding="utf-8"))
    script = Markup(SCRIPT.read_text(encoding="utf-8"))
    digest = b64encode(sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("title", f"Mosaicell report: {', '.join(run.name for run in runs)}"),
        element("style", style),
        element("style", label_cells(runs)),
    )
    order = _order_of(thumbnails)
    by_prediction = order == "predicted_f1"
    sections = [
        _section(
            _failure_title(runs), "failures", _list_failures(runs), "failing" if any(map(_failing, runs)) else None
        ),
        _section("F1 by modality", "f1", tabulate_f1(runs)),
        _section("Accuracy by IoU", "accuracy", tabulate_accuracy(runs)),
        _section("Time and memory", "costs", chart_costs(runs)),
        _section("Branches and time by stage", "branches", tabulate_branches(runs)),
        _section(CHECKS, "checks", None if by_prediction else _show_checks(runs, checks)),
        _section(CHECKS if by_prediction else WORST, "thumbnails", _show_thumbnails(runs, thumbnails, order)),
        _section("All images", "images", tabulate_images(runs) if any(run.images for run in runs) else None),
    ]
    body = element(
        "body",
        element("header", element("h1", "Segmentation report"), _describe_runs(runs)),
        element("main", _show_figures(runs), *sections),
        element("footer", *(element("p", text) for text in _explain(runs))),
        element("script", script),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _describe_runs(runs: Sequence[Run]) -> Markup:
    """Say what was run: one line of facts for each run."""
    lines = []
    for index, run in enumerate(runs):
        settings = run.settings
        facts = [
            f"Mosaicell {settings['version']}" if "version" in settings else None,
            settings.get("system"),
            settings.get("device"),
            f"{settings['threads']} threads" if "threads" in settings else None,
            f"ran for {seconds_text(run.elapsed_s)}" if run.elapsed_s is not None else None,
            f"{run.other_truths:,} true masks are of images that it did not have" if run.other_truths else None,
        ]
        weights = (
            element("li", f"{name} ", element("code", digest[:HASH_DIGITS])) for name, digest in run.weights.items()
        )
        lines.append(
            element(
                "section",
                element("h2", draw_key(index) if len(runs) > 1 else None, run.name),
                element("ul", *(element("li", fact) for fact in facts if fact), class_="facts") if any(facts) else None,
                element("ul", *weights, class_="weights", aria_label="SHA-256 of the weights") if run.weights else None,
                class_="run",
            )
        )
    return element("div", *lines, class_="runs")


def _show_figures(runs: Sequence[Run]) -> Markup:
    by_run = [summarise_run(run) for run in runs]
    if len(runs) == 1:
        tiles = (
            element("div", element("dt", one.label), _value(one, "dd"), element("dd", one.detail), class_="figure")
            for one in by_run[0]
        )
        return element("dl", *tiles, class_="figures") if by_run[0] else Markup("")
    labels = dict.fromkeys(figure.label for figures in by_run for figure in figures)
    head = element(
        "tr",
        element("td"),
        *(element("th", draw_key(index), run.name, scope="col") for index, run in enumerate(runs)),
    )
    rows = []
    for label in labels:
        found = [next((figure for figure in figures if figure.label == label), None) for figures in by_run]
        cells = (
            element("td", _value(one, "span"), element("small", one.detail)) if one else element("td") for one in found
        )
        rows.append(element("tr", element("th", label, scope="row"), *cells))
    table = element("table", element("thead", head), element("tbody", *rows), class_="figures")
    return element("div", table, class_="scroll", role="region", aria_label="Headline figures", tabindex="0")


def _value(figure: Figure, name: str) -> Markup:
    return element(name, figure.value, class_=f"value {figure.state}".strip())


def _failing(run: Run) -> bool:
    return bool(run.problems) or any(image.failures for image in run.images)


def _failure_title(runs: Sequence[Run]) -> str:
    count = sum(bool(image.failures) for run in runs for image in run.images)
    if count:
        return f"{count:,} failure{'s' * (count != 1)}"
    if any(run.problems for run in runs):
        return "Files that cannot be used"
    return "No failures" if any(run.images for run in runs) else "Nothing to report"


def _list_failures(runs: Sequence[Run]) -> Markup:
    lines = []
    for index, run in enumerate(runs):
        key = draw_key(index) if len(runs) > 1 else None
        for problem in run.problems:
            lines.append(element("li", key, element("b", run.name), problem))
        for image in run.images:
            if image.failures:
                lines.append(element("li", key, element("b", image.name), "; ".join(image.failures)))
    well = [element("p", _all_well(run)) for run in runs if not _failing(run)]
    shown, folded = lines[:SHOWN_FAILURES], lines[SHOWN_FAILURES:MAX_FAILURES]
    left_out = len(lines) - MAX_FAILURES
    rest = element("li", f"and {left_out:,} more, in the table of all images") if left_out > 0 else None
    more = element("summary", f"{len(lines) - SHOWN_FAILURES:,} more")
    return join_markup(
        element("ul", *shown, class_="failures") if shown else None,
        element("details", more, element("ul", *folded, rest, class_="failures")) if folded else None,
        *well,
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


def _show_checks(runs: Sequence[Run], checks: Sequence[Thumbnail]) -> Markup | None:
    if not checks:
        return None
    total = sum(len(run.images) for run in runs)
    failures = " Failures are listed above." if any(image.failures for run in runs for image in run.images) else ""
    note = f"{len(checks):,} of {total:,}: the lowest predicted F1.{failures}"
    return join_markup(element("p", note, class_="note"), show_views(runs, checks, "checks"))


def _show_thumbnails(runs: Sequence[Run], thumbnails: Sequence[Thumbnail], order: str) -> Markup | None:
    if not thumbnails:
        return None
    total = sum(len(run.images) for run in runs)
    shown = f"{len(thumbnails):,} of {total:,}" if len(thumbnails) < total else f"All {total:,}"
    note = f"{shown}: failures, then by {ORDERS[order]}. Outlines are those of the cells found; a click opens a view."
    return join_markup(element("p", note, class_="note"), show_views(runs, thumbnails, "worst"))


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


def _section(title: str, identity: str, content: Markup | None, class_: str | None = None) -> Markup | None:
    if content is None:
        return None
    heading = element("h2", title, id=f"{identity}-title")
    return element("section", heading, content, id=identity, aria_labelledby=f"{identity}-title", class_=class_)
