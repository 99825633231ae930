"""What segments pictures: a system with its models and judges, whatever the pictures come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from mosaicell.answers.band_plan import BandPlan, list_needed, make_branches
from mosaicell.answers.case import ImageCase, PlannedCase
from mosaicell.answers.judges import read_judges
from mosaicell.answers.slide import Division
from mosaicell.answers.strip import Strip
from mosaicell.contrast.stains import GLAND_SIZE, CounterstainPixels, Glass, find_glass
from mosaicell.machine.capacity import available_bytes
from mosaicell.machine.heap import return_free_memory
from mosaicell.machine.limits import Limits
from mosaicell.networks.scale import median_diameter
from mosaicell.options import Options
from mosaicell.postprocess.block_queue import BlockQueue
from mosaicell.postprocess.blocks import Owned
from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.pixels import ArrayPixels, Pixels
from mosaicell.runs.models import Models
from mosaicell.systems import JUDGED_WAY, Choice, load_system

SomeCase = TypeVar("SomeCase", bound=ImageCase)


class Segmentation:
    """A system, made ready for pictures.

    Parameters
    ----------
    options
        Of a run, with a way to choose that the system knows.

    Attributes
    ----------
    models
        Of the system, each loaded when a picture first needs it.
    model_names
        Of all that it may ask for.
    judges
        By what they judge; None where the way to choose asks none.

    Raises
    ------
    OptionError
        As `Models` and `read_judges` say.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._system = load_system(options.system)
        self.model_names = self._system.models
        self.models = Models(options, self._system.models, self._system.models_at_once)
        is_judged = options.choose_by == JUDGED_WAY
        self.judges = read_judges(options.weights_path, options.system, self._system.judged) if is_judged else None

    @property
    def threads(self) -> int:
        """How many threads the networks use."""
        return self.models.threads

    def measure_limits(self) -> Limits:
        """Return what a picture may take now."""
        most_px, models = round(self._options.max_megapixels * 1e6), self.models
        return Limits(most_px, available_bytes(), models.batch_size, models.most_networks, self._options.tta)

    def answer(self, pixels: Pixels, limits: Limits, *, tta: bool) -> tuple[str, Choice]:
        """Return a picture's modality and the system's answer."""
        case = self._make_case(pixels, limits, ImageCase)
        seen, glass = self._choose_stains(case, pixels, limits)
        choice = self._system.answer(seen, self.judges, tta=tta)
        return case.modality, replace(choice, counterstain=glass is not None)

    def attempt(self, pixels: Pixels, limits: Limits, *, glance: bool) -> tuple[str, Choice]:
        """Return a picture's modality and what the system answers, at a glance or without test-time augmentation."""
        if not glance:
            return self.answer(pixels, limits, tta=False)
        case = self._make_case(pixels, limits, ImageCase)
        choice = self._system.glance(case, self.judges)
        return case.modality, choice

    def plan(self, pixels: Pixels, limits: Limits, *, tta: bool) -> tuple[str, Choice, BandPlan]:
        """Return a slide's modality, an answer without cells, and how all of it is to be segmented."""
        case = self._make_case(pixels, limits, PlannedCase)
        seen, glass = self._choose_stains(case, pixels, limits)
        choice = self._system.answer(seen, self.judges, tta=tta)
        assert seen.plan is not None, "no slide is held whole"
        return case.modality, replace(choice, counterstain=glass is not None), replace(seen.plan, glass=glass)

    def segment_rows(
        self,
        pixels: Pixels,
        plan: BandPlan,
        division: Division,
        block_rows: list[list[Bounds]],
        limits: Limits,
        take: Callable[[Bounds, Owned], None],
    ) -> None:
        """Segment some rows of blocks of a strip of a slide as it was planned.

        Parameters
        ----------
        pixels
            The slide.
        plan
            From `plan`.
        division
            Of the slide.
        block_rows
            One below the other.
        limits
            What it may take.
        take
            Given what each block contributes, row by row.
        """
        models, judges = self.models, self.judges if plan.is_judged else None
        models.keep_only(list_needed(plan.names, models.get))
        workers = limits.slide_workers(pixels.shape_px, 0, models.threads)
        strip = Strip(
            CounterstainPixels(pixels, plan.glass) if plan.glass else pixels,
            make_branches(plan, models.get),
            division.grid,
            block_rows,
            division.margins_px,
            models.batch_size,
            skip_empty=not self._options.all_tiles,
        )
        with BlockQueue(pixels.shape_px, workers, take) as queue:
            strip.decode(judges, queue)
            queue.take_all()
        return_free_memory()

    def _choose_stains(self, case: SomeCase, pixels: Pixels, limits: Limits) -> tuple[SomeCase, Glass | None]:
        """Leave the brown of a section in brown and blue out, where the judges expect more of that.

        What is far larger in the brown than the nuclei without it are glands, of which judges may expect much.

        Returns
        -------
        The case, or that of the section without the brown, with what bare glass shows.
        """
        glass = find_glass(pixels) if self.judges and case.modality == "brightfield" else None
        if glass is None:
            return case, None
        blue = self._make_case(CounterstainPixels(pixels, glass), limits, type(case))
        with_brown, without = (self._system.glance(one, self.judges) for one in (case, blue))
        is_better = (without.predicted_f1 or 0.0) > (with_brown.predicted_f1 or 0.0)
        # neither is larger where one has no cells
        shows_glands = median_diameter(with_brown.labels) > GLAND_SIZE * median_diameter(without.labels)
        return (blue, glass) if is_better or shows_glands else (case, None)

    def _make_case(self, pixels: Pixels, limits: Limits, kind: type[SomeCase]) -> SomeCase:
        held_bytes = pixels.array.nbytes if isinstance(pixels, ArrayPixels) else 0
        models = self.models
        return kind(
            pixels,
            models.get,
            models.batch_size,
            limits.slide_workers(pixels.shape_px, held_bytes, models.threads),
            skip_empty=not self._options.all_tiles,
            keep_only=models.keep_only,
            way=self._options.choose_by,
        )
