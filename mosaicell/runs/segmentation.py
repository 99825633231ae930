"""What segments pictures: a system with its models and judges, whatever the pictures come from."""

from __future__ import annotations

from dataclasses import replace

from mosaicell.answers.case import ImageCase
from mosaicell.answers.judges import read_judges
from mosaicell.contrast.stains import CounterstainPixels, find_glass
from mosaicell.machine.capacity import available_bytes
from mosaicell.machine.limits import Limits
from mosaicell.options import Options
from mosaicell.reading.pixels import ArrayPixels, Pixels
from mosaicell.runs.models import Models
from mosaicell.systems import JUDGED_WAY, Choice, load_system


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
        self._judges = read_judges(options.weights_path, options.system, self._system.judged) if is_judged else None

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
        case = self._make_case(pixels, limits)
        modality = case.modality
        seen = self._choose_stains(case, pixels, limits)
        choice = self._system.answer(seen, self._judges, tta=tta)
        return modality, choice if seen is case else replace(choice, counterstain=True)

    def attempt(self, pixels: Pixels, limits: Limits, *, glance: bool) -> tuple[str, Choice]:
        """Return a picture's modality and what the system answers, at a glance or without test-time augmentation."""
        if not glance:
            return self.answer(pixels, limits, tta=False)
        case = self._make_case(pixels, limits)
        choice = self._system.glance(case, self._judges)
        return case.modality, choice

    def _choose_stains(self, case: ImageCase, pixels: Pixels, limits: Limits) -> ImageCase:
        """Return a section stained in brown and blue without the brown, where the judges expect more of that."""
        if not self._judges or case.modality != "brightfield":
            return case
        glass = find_glass(pixels)
        if glass is None:
            return case
        blue = self._make_case(CounterstainPixels(pixels, glass), limits)
        expected = [self._system.glance(one, self._judges).predicted_f1 or 0.0 for one in (case, blue)]
        return blue if expected[1] > expected[0] else case

    def _make_case(self, pixels: Pixels, limits: Limits) -> ImageCase:
        held_bytes = pixels.array.nbytes if isinstance(pixels, ArrayPixels) else 0
        models = self.models
        return ImageCase(
            pixels,
            models.get,
            models.batch_size,
            limits.slide_workers(pixels.shape_px, held_bytes, models.threads),
            skip_empty=not self._options.all_tiles,
            keep_only=models.keep_only,
            way=self._options.choose_by,
        )
