"""Images of a run done one after the other, by a system whose models stay loaded in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaicell.answers.judges import QUALITY_FILE
from mosaicell.networks.manifest import file_sha256
from mosaicell.options import Options
from mosaicell.reading.enclosure import Opener
from mosaicell.runs.image_work import ImageWork
from mosaicell.runs.inputs import Source
from mosaicell.runs.origin import Origin
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.settings import digest_settings
from mosaicell.runs.shared_work import SharedWork
from mosaicell.systems import JUDGED_WAY
from mosaicell.writing.outputs import Results

if TYPE_CHECKING:
    from mosaicell.runs.slide_work import SlideWork

log = logging.getLogger(__name__)


class OneProcess:
    """Does the images of a run one after the other.

    Parameters
    ----------
    options
        Of the run, with a way to choose that the system knows.
    openers
        What opens the files of each input.

    Attributes
    ----------
    settings
        Digest of the options and weights.

    Raises
    ------
    OptionError
        As `Segmentation`.
    """

    def __init__(self, options: Options, openers: Mapping[Path, Opener]) -> None:
        self._options, self._openers = options, openers
        self._segmentation = Segmentation(options)
        self._work = ImageWork(options, self._segmentation)
        self.settings = digest_settings(options, self._segmentation.model_names)

    def do_all(self, images: list[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Segment files, and give the entry of each for run.json.

        Parameters
        ----------
        images
            The files.
        known
            What earlier runs say of each.

        Raises
        ------
        OptionError
            As `ImageWork.do`.
        """
        models = self._segmentation.models
        log.info("%d images, %s, %d threads", len(images), models.device, models.threads)
        with _show_progress(images) as shown:
            yield from self.segment(shown, known)

    def segment(self, images: Iterable[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Do the same, without a word about how many there are."""
        return SharedWork(self._options, self._openers, self.settings, known, self._segment_one).segment_all(images)

    def _segment_one(self, source: Source, results: Results, origin: Origin) -> dict[str, Any]:
        return self._work.do(source, results, origin, self._openers[source.root])

    def open_slide(self, source: Source) -> SlideWork:
        """Return the work on a slide that other processes share."""
        # not at the start of other runs
        from mosaicell.runs.slide_work import SlideWork

        return SlideWork(self._options, self._segmentation, source.path, self._openers[source.root])

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of the device, and of the weights that were used so far."""
        models = self._segmentation.models
        hashes = models.hashes()
        if self._options.choose_by == JUDGED_WAY:
            hashes[QUALITY_FILE] = file_sha256(self._options.weights_path / QUALITY_FILE)
        return {"device": models.device, "threads": models.threads, "weights_sha256": hashes}


@contextmanager
def _show_progress(images: list[Source]) -> Iterator[Iterable[Source]]:
    """Show how many images are done, on a terminal; elsewhere the import alone would be a tenth of a small run."""
    if not sys.stderr.isatty():
        yield images
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm(), tqdm(images, unit="image") as progress:
        yield progress
