"""The images of a run one after the other, where other runs may do some of them.

What is done is skipped, the mask of another file is left alone, and what another run is working on is left to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mosaicell.errors import ImageError, OptionError
from mosaicell.options import Options
from mosaicell.reading.enclosure import Opener
from mosaicell.runs.claims import claim
from mosaicell.runs.inputs import Source
from mosaicell.runs.origin import Origin
from mosaicell.writing.outputs import Results, Standing

log = logging.getLogger(__name__)

#: segments an image, writes its results, and returns its entry of run.json
Segment = Callable[[Source, Results, Origin], dict[str, Any]]


class SharedWork:
    """Images to segment in an output folder that other runs may write too.

    Parameters
    ----------
    options
        Of the run.
    openers
        What opens the files of each input.
    settings
        Digest of the options and weights.
    known
        What earlier runs say of each image.
    segment
        Does the work; called while the image is claimed.
    as_zarr
        As in `Results.of`.
    """

    def __init__(
        self,
        options: Options,
        openers: Mapping[Path, Opener],
        settings: str,
        known: Mapping[str, dict[str, Any]],
        segment: Segment,
        *,
        as_zarr: bool = False,
    ) -> None:
        self._options, self._openers, self._settings = options, openers, settings
        self._known, self._segment, self._as_zarr = known, segment, as_zarr

    def segment_all(self, sources: Iterable[Source]) -> Iterator[dict[str, Any]]:
        """Segment one file after the other, and give the entry of each for run.json."""
        left = []
        for source in sources:
            record = self._take(source)
            if record is not None:
                yield record
            else:
                left.append(source)
        # what others were working on is done by now, or left by a run that has ended
        for source in left:
            record = self._take(source)
            if record is None:
                log.info("%s: left to another run, which is working on it", source.name)
                record = {"image": source.name, "skipped": True}
            yield record

    def _take(self, source: Source) -> dict[str, Any] | None:
        """Segment one file if it is not done yet; return its entry of run.json, None while another run works on it."""
        skip = self._options.skip_existing
        origin = Origin.of(source.path, self._openers[source.root], self._settings)
        results, standing = self._look(source, origin)
        if skip and standing is Standing.DONE:
            return self._skip(source, results)
        with claim(results.mask, wait=not skip) as held:
            if not held:
                return None
            # another run may have written it before the claim
            results, standing = self._look(source, origin)
            if standing is Standing.ANOTHER:
                return fail(source, f"not segmented: {results.mask.name} is the mask of {_name_other(results, source)}")
            if skip and standing is Standing.DONE:
                return self._skip(source, results)
            if skip and standing is Standing.OUTDATED:
                log.info("%s: again: its mask is of other content, options or weights", source.name)
            return self._segment(source, results, origin)

    def _look(self, source: Source, origin: Origin) -> tuple[Results, Standing]:
        """Return the places of an image's results, and what stands there now."""
        folder = self._options.output_path / source.place
        results = Results.of(source.path, folder, self._options.names, as_zarr=self._as_zarr)
        opener = self._openers[source.root]
        return results, results.compare(origin, source.path, opener, extras=self._options.extras)

    def _skip(self, source: Source, results: Results) -> dict[str, Any]:
        """Return the entry of an image that is done, with the figures of the run that did it where they are known."""
        log.info("%s: skipped, %s exists", source.name, results.mask.name)
        made = {"settings": results.origin.settings, "digest": results.origin.digest} if results.origin else {}
        known = self._known.get(source.name, {})
        is_of_mask = all(known.get(key) == made.get(key) for key in ("settings", "digest"))
        figures = known if "cells" in known and is_of_mask else {}
        return {**figures, "image": source.name, "mask": str(source.place / results.mask.name), "skipped": True}


def do_or_fail(source: Source, results: Results, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work on an image, which gives its entry of run.json; a failure is logged and returned, not raised.

    Raises
    ------
    OptionError
        When no image can be done.
    """
    try:
        return work()
    except OptionError:
        raise
    except MemoryError as error:
        record = fail(source, f"out of memory ({error})")
    except (ImageError, OSError) as error:
        record = fail(source, str(error))
    except Exception as error:
        log.debug("%s: failed unexpectedly", source.name, exc_info=True)
        record = fail(source, f"failed unexpectedly ({type(error).__name__}: {error})")
    try:
        if results.remove_failed():
            log.warning("%s: %s of an earlier run is removed", source.name, results.mask.name)
    except OSError as error:
        log.error("%s: %s of an earlier run cannot be removed: %s", source.name, results.mask.name, error.strerror)
    return record


def fail(source: Source, reason: str) -> dict[str, Any]:
    """Say that an image failed, and return its entry of run.json."""
    log.error("%s: %s", source.name, reason)
    return {"image": source.name, "error": reason}


def _name_other(results: Results, source: Source) -> str:
    """Name the file that a mask is of, and say what helps."""
    other = results.origin
    assert other is not None
    if other.image != source.path.name:
        return f"{other.image}; take --names full or another output folder"
    return f"another file of this name, of {other.bytes:,} bytes; take another output folder"
