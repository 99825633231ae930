"""Which empty fields are drawn, and how many false cells a program finds in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.camera import Pixels
from benchmarks.empty_fields import KINDS, LOOKS, draw_empty_field, draw_lone_nuclei
from mosaicell.evaluation.metrics import score_image

#: at most so many false cells per 10 megapixels, and at least this mean F1 of a few nuclei
MOST_FALSE, LEAST_F1 = 1.0, 0.95
#: how many times the noise the light of nuclei is, and below which they are called weak
SIGNALS, WEAK = (8.0, 100.0), 25.0
#: so many empty fields for one with nuclei
SHARE = 12


@dataclass(frozen=True)
class Field:
    """What is known of one image.

    Attributes
    ----------
    name : str
        Of its file, without the suffix.
    kind, look : str
        Of an empty field; else "nuclei", "weak" or "strong".
    truth : (y, x) uint32 or None
        Labels of the nuclei.
    """

    name: str
    kind: str
    look: str
    truth: NDArray[np.uint32] | None = None


def draw_fields(count: int) -> Iterator[tuple[Field, Pixels]]:
    """Draw empty fields of all kinds and looks in turn, and a few with nuclei.

    Parameters
    ----------
    count : int
        Empty fields. A field depends on its number alone.
    """
    for number in range(count):
        kind, look = KINDS[number % len(KINDS)], LOOKS[number // len(KINDS) % len(LOOKS)]
        pixels = draw_empty_field(kind, look, np.random.default_rng([number, 8]))
        yield Field(f"empty-{number}-{kind.replace(' ', '_')}-{look}", kind, look), pixels
    nuclei = max(2, count // SHARE)
    for number, signal in enumerate(np.geomspace(*SIGNALS, nuclei).tolist()):
        pixels, labels = draw_lone_nuclei(signal, np.random.default_rng([number, 9]))
        yield Field(f"nuclei-{number}-{signal:.0f}", "nuclei", "weak" if signal < WEAK else "strong", labels), pixels


def tabulate(fields: Sequence[Field], read: Callable[[str], NDArray[np.integer]]) -> tuple[str, list[str]]:
    """Count false cells and score nuclei.

    Parameters
    ----------
    fields : sequence of Field
    read : callable
        Maps a field's name to its predicted labels (y, x), ids 1..n.

    Returns
    -------
    table : str
        Markdown.
    short : list of str
        The rows that miss their target.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    f1: dict[str, list[float]] = {}
    for field in fields:
        labels = read(field.name)
        if field.truth is None:
            for row in ("all", field.look, field.kind):
                found.setdefault(row, []).append((int(labels.max(initial=0)), labels.size))
        else:
            f1.setdefault(field.look, []).append(score_image(field.truth, labels)[0].f1)
    short = []
    lines = ["| empty fields | images | with cells | false cells | per 10 megapixels |", "| --- |" + " ---: |" * 4]
    for row in [name for name in ("all", *LOOKS, *KINDS) if name in found]:
        cells, pixels = (sum(values) for values in zip(*found[row], strict=True))
        rate = cells / pixels * 1e7
        with_cells = sum(count > 0 for count, _ in found[row])
        lines.append(f"| {row} | {len(found[row])} | {with_cells} | {cells} | {rate:.1f} |")
        if row == "all" and rate > MOST_FALSE:
            short.append(f"empty: {rate:.1f} false cells per 10 megapixels (at most {MOST_FALSE:g})")
    lines += ["", "| 3 to 6 nuclei on 1024 x 1024 px | images | mean F1 | lowest |", "| --- |" + " ---: |" * 3]
    for row, scores in f1.items():
        lines.append(f"| {row} | {len(scores)} | {fmean(scores):.3f} | {min(scores):.3f} |")
        if fmean(scores) < LEAST_F1:
            short.append(f"empty: {row} nuclei at F1 {fmean(scores):.3f} (at least {LEAST_F1:g})")
    return "\n".join(lines), short
