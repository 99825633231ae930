"""The page about a network in its package for the BioImage Model Zoo."""

from __future__ import annotations

import json
from typing import Any

from mosaicell.networks.manifest import Card, ImageClassifier, ModelCard
from mosaicell.options import VERSION

#: mean F1 at IoU 0.5 and 0.7, and number of images, by modality and under "all"
Scores = dict[str, tuple[tuple[float, ...], int]]

LIMITS = """\
- A network alone segments nothing: cells come from its answer by a decoder, and those of several networks are merged.
- The preprocessing here is the plain one of percentiles. The program measures contrast so that empty fields, noise,
  frames and debris do not matter; with the plain one they do.
- Cells far larger or smaller than the trained ones are found by the program at another scale: resize the image.
- Weak: spread cells in phase contrast, DIC, dim cells beside saturated ones, cells in thick tissue.
"""


#: terms of weights, by what their cards say of the images that were trained on
RESEARCH = (
    "The weights are **for research use only**: some training images are non-commercial, or their terms are not stated."
)
OPEN = "Anybody may use the weights for any purpose: all training images have open terms."


def write_page(card: ModelCard, entry: dict[str, Any], scores: Scores) -> str:
    """Write the page in Markdown.

    Parameters
    ----------
    card, entry
        The model's card, checked and as it stands in the manifest.
    scores
        Empty where the model was not scored.
    """
    parts = [
        f"# Mosaicell: {card.name}",
        f"One of the networks of Mosaicell {VERSION}, which segments every cell in a microscopy image of any modality.",
        _describe_answer(card),
        "## Scores",
        _tabulate(scores) if scores else "This package was made without labelled images to score the model on.",
        "## Limits",
        LIMITS.strip(),
        "## Training",
        f"{entry.get('architecture', 'A small network')}, {_count(entry)}. Trained from random weights on the images "
        "that TERMS.md lists, and on drawn scenes. The card of the model:",
        f"```json\n{json.dumps(entry.get('training', {}), indent=1)}\n```",
        "## Terms",
        f"{OPEN if 'open terms' in entry.get('data', '') else RESEARCH} TERMS.md lists sources and terms. "
        "The program is under Apache-2.0.",
    ]
    return "\n\n".join(parts) + "\n"


def _describe_answer(card: ModelCard) -> str:
    if isinstance(card, ImageClassifier):
        classes = ", ".join(card.card.classes)
        return (
            f"It says which class an image belongs to: {classes}. The image is reduced {card.card.reduction} times and "
            f"seen in windows of {card.card.input_px} px, whose probabilities are averaged."
        )
    assert isinstance(card, Card)
    settings = "\n".join(f"| {name} | {value} |" for name, value in card.settings.items())
    return (
        f"It answers with {', '.join(card.decoder.outputs)}. Sides of the input are multiples of {card.stride_px} px; "
        f"larger images are cut into windows of {card.window_px} px that overlap by {card.overlap_fraction:.0%}. The "
        f"decoder of the kind {card.kind} (`mosaicell/decoders/{card.kind}.py`) makes cells of that, with\n\n"
        f"| setting | value |\n|---|---|\n{settings}"
    )


def _tabulate(scores: Scores) -> str:
    rows = "\n".join(
        f"| {group} | {count} | {' | '.join(f'{mean:.3f}' for mean in means)} |"
        for group, (means, count) in scores.items()
    )
    return (
        "Mean F1 of this network alone with its decoder, on labelled images of all modalities.\n\n"
        f"| modality | images | IoU 0.5 | IoU 0.7 |\n|---|---:|---:|---:|\n{rows}"
    )


def _count(entry: dict[str, Any]) -> str:
    parameters = entry.get("parameters")
    return f"{parameters:,} parameters" if isinstance(parameters, int) else "see the file"
