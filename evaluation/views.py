"""Views of images on the page: small in a row, and large when they are asked for, found and true cells side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mosaicell.evaluation.charts import draw_key
from mosaicell.evaluation.markup import Markup, element
from mosaicell.evaluation.records import ImageRecord, Run


@dataclass(frozen=True)
class Thumbnail:
    """A view of one image of one run.

    Attributes
    ----------
    run : int
        Its index.
    image : ImageRecord
    picture : str
        JPEG as a data address; empty without a view.
    found, true : str
        Outlines of the cells found and of the true ones as data addresses; empty where there are none.
    problem : str
        Why there is no view, if one was wanted.
    """

    run: int
    image: ImageRecord
    picture: str = ""
    found: str = ""
    true: str = ""
    problem: str = ""


def show_views(runs: Sequence[Run], thumbnails: Sequence[Thumbnail], section: str) -> Markup:
    """Return the views of a section, whose name tells their addresses on the page from those of others.

    A view is a link to itself: the style sheet shows the one that the address of the page names over the whole window.
    """
    figures = []
    for number, thumbnail in enumerate(thumbnails):
        image = thumbnail.image
        place, view = f"{section}-{number}", f"view-{section}-{number}"
        warning = "; ".join(image.failures) or ("doubtful" if image.doubtful else "")
        key = draw_key(thumbnail.run) if len(runs) > 1 else None
        facts = element("p", text) if (text := _describe(image)) else None
        failure = element("p", warning, class_="failure") if warning else None
        caption = element(
            "figcaption", element("b", key, image.name, title=image.name), facts, failure, _list_scores(image)
        )
        figure = element(
            "figure",
            *_draw_panels(thumbnail, view),
            caption,
            element("a", "Close", href=f"#{place}", class_="close large") if thumbnail.picture else None,
            id=view,
            class_="failed" if warning else None,
            # below the outlines; without any the picture stands for itself
            style=f"--picture:url({thumbnail.picture})" if thumbnail.found or thumbnail.true else None,
        )
        figures.append(element("div", figure, id=place, class_="place"))
    return element("div", *figures, class_=f"thumbnails of-{len(runs)}")


def _draw_panels(thumbnail: Thumbnail, view: str) -> list[Markup]:
    image = thumbnail.image
    if not thumbnail.picture:
        text = "no view" if image.failures else thumbnail.problem
        return [element("p", text, class_="no-view")] if thumbnail.problem else []
    outlined = "with outlines of the cells found" if image.cells else "without cells"
    cells = f": {image.cells:,} cells" if image.cells is not None else ""
    panels = [
        element(
            "a",
            element("span", f"Found{cells}", class_="large"),
            element("img", src=thumbnail.found or thumbnail.picture, alt=f"{image.name} {outlined}"),
            href=f"#{view}",
            class_="panel",
        )
    ]
    if thumbnail.true:
        counted = f": {image.scores[0].n_truth:,} cells that count" if image.scores else ""
        panels.append(
            element(
                "div",
                element("span", f"True{counted}"),
                element("img", src=thumbnail.true, alt=f"{image.name} with outlines of the true cells"),
                class_="panel large",
            )
        )
    return panels


def _describe(image: ImageRecord) -> str:
    facts = (
        f"F1 {image.f1:.3f}" if image.f1 is not None else None,
        f"predicted F1 {image.predicted_f1:.3f}" if image.predicted_f1 is not None else None,
        f"{image.cells:,} cells" if image.cells is not None else None,
        f"confidence {image.confidence:.2f}" if image.confidence is not None else None,
    )
    return ", ".join(fact for fact in facts if fact)


def _list_scores(image: ImageRecord) -> Markup | None:
    """List precision, recall and F1 by IoU, for the large view."""
    if not image.scores:
        return None
    texts = (
        f"IoU {score.threshold:g}: F1 {score.f1:.3f}, precision {score.precision:.3f}, recall {score.recall:.3f}"
        for score in image.scores
    )
    return element("ul", *(element("li", text) for text in texts), class_="large")
