"""The image at hand: what a system asks its branches about it, whole, on a mosaic or band by band."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import numpy as np

from mosaicell.answers.artefacts import Scene
from mosaicell.answers.band_plan import BandPlan, GetModel, list_needed, load_branch, make_branches
from mosaicell.answers.branches import Prediction, segment_view
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Sizes
from mosaicell.answers.slide import Slide, segment_bands
from mosaicell.contrast.modality import analyse_sample
from mosaicell.machine.heap import return_free_memory
from mosaicell.networks.classifier import classify
from mosaicell.networks.manifest import Card, ImageClassifier
from mosaicell.networks.raw import RunModel
from mosaicell.networks.views import Views
from mosaicell.reading.pixels import Pixels, read_all


class ImageCase:
    """An image, and the models that segment it.

    Parameters
    ----------
    pixels
        The image.
    get_model
        Maps a model's name to its card and session.
    batch_size, workers
        Tiles per network call; threads that decode bands. The result does not depend on them.
    skip_empty
        Leave out tiles of bands that are too even to show a cell.
    keep_only
        Told the names of the models that segment band by band: the memory of others can go.
    way
        How the system is asked to choose.
    """

    def __init__(
        self,
        pixels: Pixels,
        get_model: GetModel,
        batch_size: int,
        workers: int,
        *,
        skip_empty: bool,
        keep_only: Callable[[Collection[str]], None] = lambda names: None,
        way: str = "",
    ) -> None:
        self.way = way
        self._views = Views(pixels)
        self._get_model, self._keep_only = get_model, keep_only
        self._batch_size, self._workers, self._skip_empty = batch_size, workers, skip_empty

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self._views.pixels.shape_px

    @cached_property
    def modality(self) -> str:
        """Of the image, as `analyse_sample` says."""
        return analyse_sample(self._views.sample)

    @cached_property
    def scene(self) -> Scene:
        """What the answers are held against."""
        pixels = read_all(self._views.pixels) if self._views.is_whole else None
        sample = self._views.sample
        return Scene(pixels, sample.is_blocky, sample.surroundings)

    @property
    def largest_scale(self) -> float:
        """At which the image is looked at."""
        return self._views.largest_scale

    def holds(self, scale: float) -> bool:
        """Say whether `segment` sees the whole image at a scale, not a mosaic."""
        return self._views.hold(scale)

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Segment what is looked at, as `systems.Case` says."""
        card, run_model = self._load(name, tta=tta)
        percentiles = card.percentiles
        return segment_view(
            lambda looked_at: self._views.at(looked_at, percentiles),
            card,
            run_model,
            self._batch_size,
            scale,
            self.largest_scale,
        )

    def classify(self, name: str) -> np.ndarray:
        """Say which class what is looked at belongs to, as `systems.Case` says."""
        model, session = self._get_model(name)
        if not isinstance(model, ImageClassifier):
            raise ValueError(f"{name} is of the kind {model.kind} and knows no classes")
        return classify(self._views.at(1.0, model.percentiles), lambda batch: session.run(batch)[0], model.card)

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Segment all of the image band by band, as `systems.Case` says."""
        plan = self.plan_bands(names, scale, sizes, judges, tta=tta)
        self._keep_only(list_needed(names, self._get_model))
        # the maps of the mosaics went with them
        self._views.forget()
        return_free_memory()
        return segment_bands(
            self._views.pixels,
            make_branches(plan, self._get_model),
            scale,
            judges,
            self._batch_size,
            self._workers,
            skip_empty=self._skip_empty,
        )

    def plan_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> BandPlan:
        """Return what `segment_bands` is to do, with the contrast that each branch sees."""
        cards = [self._get_model(name)[0] for name in names]
        contrasts = tuple(self._views.contrast(card.percentiles) for card in cards if isinstance(card, Card))
        return BandPlan(tuple(names), scale, tuple(sizes), contrasts, judges is not None, tta)

    def _load(self, name: str, *, tta: bool) -> tuple[Card, RunModel]:
        return load_branch(name, self._get_model, tta=tta)


class PlannedCase(ImageCase):
    """A slide that is planned and not segmented: a system's answer holds no cells, but the plan for all of them.

    Attributes
    ----------
    plan
        None until it was asked for.
    """

    plan: BandPlan | None = None

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Keep the plan, and return a slide without pixels."""
        self.plan = self.plan_bands(names, scale, sizes, judges, tta=tta)
        return Slide(np.zeros((0, 0), np.uint32), [0] * len(names), None, {})
