"""Views of images on the page: small in a row, and large when they are asked for, found and true cells side by side.

`templates/views.html` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from mosaicell.evaluation.records import ImageRecord


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

    @property
    def warning(self) -> str:
        """What is wrong with the image's mask."""
        return "; ".join(self.image.failures) or ("doubtful" if self.image.doubtful else "")

    @property
    def missing(self) -> str:
        """Why there is no view; a failure is told by the warning already."""
        return "no view" if self.image.failures else self.problem

    @property
    def outlined(self) -> str:
        """What the picture shows, for those who cannot see it."""
        return "with outlines of the cells found" if self.image.cells else "without cells"

    @property
    def found_title(self) -> str:
        """Title of the cells found in the large view."""
        return "Found" if self.image.cells is None else f"Found: {self.image.cells:,} cells"

    @property
    def true_title(self) -> str:
        """Title of the true cells in the large view."""
        scores = self.image.scores
        return f"True: {scores[0].n_truth:,} cells that count" if scores else "True"

    @property
    def facts(self) -> str:
        """What is known of the image."""
        image = self.image
        facts = (
            f"F1 {image.f1:.3f}" if image.f1 is not None else None,
            f"predicted F1 {image.predicted_f1:.3f}" if image.predicted_f1 is not None else None,
            f"{image.cells:,} cells" if image.cells is not None else None,
            f"confidence {image.confidence:.2f}" if image.confidence is not None else None,
        )
        return ", ".join(fact for fact in facts if fact)

    @property
    def score_lines(self) -> list[str]:
        """Precision, recall and F1 by IoU, for the large view."""
        return [
            f"IoU {score.threshold:g}: F1 {score.f1:.3f}, precision {score.precision:.3f}, recall {score.recall:.3f}"
            for score in self.image.scores
        ]
