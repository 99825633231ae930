"""What is decided once about a slide before it is segmented band by band, wherever that is done then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from mosaicell.answers.merging import Sizes
from mosaicell.answers.strip import Branch
from mosaicell.contrast.normalize import Contrast
from mosaicell.contrast.stains import Glass
from mosaicell.networks.augmentation import VIEWS, choose_views
from mosaicell.networks.ensemble import average_answers
from mosaicell.networks.manifest import Card, ModelCard
from mosaicell.networks.raw import RunModel
from mosaicell.networks.session import Session

#: maps a model's name to its card and session
GetModel = Callable[[str], tuple[ModelCard, Session]]


@dataclass(frozen=True)
class BandPlan:
    """How a slide is segmented.

    Attributes
    ----------
    names
        Of the models: one, or those whose cells the judges merge.
    scale
        Factor by which the slide is resized for them.
    sizes
        Of the cells that each found in the mosaic.
    contrasts
        Of the slide, as each sees it.
    is_judged
        Whether judges decide which cells count.
    tta
        With test-time augmentation.
    glass
        What bare glass shows of a section that is seen without its brown; None for any other slide.
    """

    names: tuple[str, ...]
    scale: float
    sizes: tuple[Sizes, ...]
    contrasts: tuple[Contrast, ...]
    is_judged: bool
    tta: bool
    glass: Glass | None = None


def make_branches(plan: BandPlan, get_model: GetModel) -> list[Branch]:
    """Load the branches of a plan."""
    branches = []
    for name, size, contrast in zip(plan.names, plan.sizes, plan.contrasts, strict=True):
        card, run_model = load_branch(name, get_model, tta=plan.tta)
        card = replace(card, settings={**card.settings, **size.measured})
        branches.append(Branch(card, run_model, contrast, size))
    return branches


def load_branch(name: str, get_model: GetModel, *, tta: bool) -> tuple[Card, RunModel]:
    """Load a model with all that it asks, as one.

    Raises
    ------
    ValueError
        When the model segments nothing.
    """
    card, session = get_model(name)
    if not isinstance(card, Card):
        raise ValueError(f"{name} is a {card.kind} and segments nothing")
    if card.detection is not None:
        # not at the start of other systems
        from mosaicell.networks.detection import compose_detectors

        return card, compose_detectors(card, get_model, VIEWS if tta else VIEWS[:1])
    run_models = [session.run, *(get_model(companion)[1].run for companion in card.companions)]
    run_model = average_answers(run_models, card.scales, card.stride_px)
    return card, choose_views(run_model, card.decoder, tta=tta)


def list_needed(names: Iterable[str], get_model: GetModel) -> list[str]:
    """Name models and all that they ask."""
    return list(chain.from_iterable(_list_needed(name, get_model) for name in names))


def _list_needed(name: str, get_model: GetModel) -> Iterator[str]:
    yield name
    card = get_model(name)[0]
    if isinstance(card, Card):
        yield from card.detection.parts if card.detection else ()
        for companion in card.companions:
            yield from _list_needed(companion, get_model)
