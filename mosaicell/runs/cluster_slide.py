"""One slide done by all workers of a cluster together: planned once, segmented in rows of blocks, numbered, written.

No process holds the slide or its labels. Blocks wait in a hidden folder beside the mask until the ids of all are known.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, get_worker

from mosaicell.answers.judges import Judges
from mosaicell.answers.slide import UNDECIDED, divide_slide, predict_from
from mosaicell.contrast.stains import SEEN_WITHOUT_BROWN
from mosaicell.errors import ImageError
from mosaicell.postprocess.contested import Key, Meetings, settle
from mosaicell.reading.enclosure import Opener
from mosaicell.runs.cluster_tasks import Progress, complete, receive
from mosaicell.runs.cluster_worker import Assignment, Done, do_step
from mosaicell.runs.inputs import Source
from mosaicell.runs.origin import PROGRAM, Origin
from mosaicell.runs.shared_work import do_or_fail
from mosaicell.runs.slide_blocks import BlockFiles, Contested, Summary
from mosaicell.runs.slide_division import divide_rows, find_blocks
from mosaicell.runs.slide_record import Found, Numbered, describe_slide
from mosaicell.runs.slide_work import SIDE_PX, SlidePlan, SlideWork
from mosaicell.systems import HOPELESS_F1
from mosaicell.writing.cell_table import join_cell_tables
from mosaicell.writing.ome_zarr_parts import LabelParts
from mosaicell.writing.outputs import Results
from mosaicell.writing.parts import write_whole_folder

log = logging.getLogger(__name__)

#: where blocks wait, in the folder of the mask
WAITING = ".blocks"
#: ids are uint32, of which the highest stands for none
MOST_CELLS = 2**32 - 2


class ClusterSlide:
    """Slides done by the workers of a cluster, one after the other, each by all of them.

    Parameters
    ----------
    client
        Of the cluster.
    assignment
        What its workers have to know.
    judges
        By what the system judges; None where it is asked to choose in another way.
    openers
        What opens the files of each input.
    note
        Keeps what a worker used, and returns what it gave.
    count_workers
        Counts the workers.
    """

    def __init__(
        self,
        client: Client,
        assignment: Assignment,
        judges: Judges | None,
        openers: Mapping[Path, Opener],
        note: Callable[[Done[Any]], Any],
        count_workers: Callable[[], int],
    ) -> None:
        self._client, self._assignment, self._options = client, assignment, assignment.options
        self._judges, self._openers, self._note, self._count_workers = judges, openers, note, count_workers

    def do(self, source: Source, results: Results, origin: Origin) -> dict[str, Any]:
        """Segment a slide, write its labels as OME-Zarr, and return its entry of run.json; a failure is logged.

        Raises
        ------
        OptionError
            When no image can be done.
        """
        return do_or_fail(source, results, lambda: self._segment_and_write(source, results, origin))

    def _segment_and_write(self, source: Source, results: Results, origin: Origin) -> dict[str, Any]:
        started_s = time.perf_counter()
        ((_, (plan, decided)),) = self._run(source, SlideWork.plan, [()])
        for sentence in decided:
            log.warning("%s: %s", source.name, sentence)
        origin = origin.with_digest(source.path, self._openers[source.root])
        try:
            with write_whole_folder(results.mask) as folder:
                waiting = folder / WAITING
                waiting.mkdir()
                labels = LabelParts(folder, plan.shape_px, self._options.ome_zarr_version, SIDE_PX, waiting)
                labels.describe(plan.pixel_um, {PROGRAM: origin.describe()})
                files = BlockFiles(waiting)
                found = self._segment(source, plan, files)
                segmented_s = time.perf_counter()
                numbered = self._number(source, files, labels, found)
                self._write(source, files, labels, numbered)
                if self._options.table:
                    self._measure(source, plan, files, found, numbered, results.extras["table"])
                shutil.rmtree(waiting)
        except OSError as error:
            parent = results.mask.parent
            reason = error.strerror or error if parent.is_dir() else f"the folder {parent} is gone"
            raise ImageError(f"its mask cannot be written: {reason}") from error
        for outdated in results.remove_outdated(origin, self._options.extras):
            log.info("%s: %s of an earlier run is removed, as its mask is another one now", source.name, outdated)
        ended_s = time.perf_counter()
        seconds = {
            "plan": plan.seconds,
            "segment": segmented_s - started_s - plan.seconds,
            "write": ended_s - segmented_s,
            "total": ended_s - started_s,
        }
        record = describe_slide(source, results, origin, plan, found, numbered.cells.sum(axis=0), seconds)
        log.info(
            "%s: %s, %s, %d cells, %.2f s",
            source.name,
            record["modality"],
            record["branch"],
            record["cells"],
            seconds["total"],
        )
        if record["doubtful"]:
            log.warning(
                "%s: doubtful, most of it may be wrong: the predicted F1 is %.2f", source.name, found.predicted_f1
            )
        return record

    def _segment(self, source: Source, plan: SlidePlan, files: BlockFiles) -> Found:
        """Have all rows of blocks segmented."""
        division = divide_slide(plan.shape_px, plan.bands.scale)
        items = [(plan, replace(division, strips=[]), rows, files) for rows in divide_rows(division)]
        height, width = plan.shape_px
        log.info("%s: %.0f megapixels, segmented in %d parts", source.name, height * width / 1e6, len(items))
        summaries: dict[int, Summary] = {}
        notes = {SEEN_WITHOUT_BROWN} if plan.bands.glass else set()
        with Progress(len(items), self._count_workers, "part") as progress:
            for _, (found, said) in self._run(source, SlideWork.segment, items):
                summaries |= {summary.number: summary for summary in found}
                notes |= set(said)
                progress.advance()
        ordered = [summaries[number] for number in sorted(summaries)]
        undecided = sum(summary.undecided for summary in ordered)
        if undecided:
            log.warning("%s: " + UNDECIDED, source.name, undecided)
        totals = None
        for summary in ordered:
            totals = summary.totals if totals is None else totals + summary.totals
        judges = self._judges if plan.bands.is_judged else None
        for note in sorted(notes):
            log.info("%s: %s", source.name, note)
        return Found(ordered, predict_from(totals, judges), sorted(notes))

    def _number(self, source: Source, files: BlockFiles, labels: LabelParts, found: Found) -> Numbered:
        """Settle which block's a contested cell is, and give all cells that the user wants their ids."""
        cells = np.array([summary.wanted for summary in found.summaries])
        if found.predicted_f1 is not None and found.predicted_f1 < HOPELESS_F1:
            return Numbered([], np.zeros_like(cells), {}, {})
        parts = find_blocks(found.summaries, labels.list_parts())
        meetings: Meetings = Counter()
        contested: dict[Key, Contested] = {}
        shared = [(files, numbers, region) for region, numbers in parts if len(numbers) > 1]
        for _, (met, described) in self._run(source, SlideWork.meet, shared):
            meetings.update(met)
            contested |= described
        left = settle(meetings, {key: one.area_px for key, one in contested.items()})
        for (number, label), one in contested.items():
            before, after = (one.is_wanted(area_px, self._options) for area_px in (one.area_px, left[number, label]))
            cells[number, one.source] += after - before
        counts = cells.sum(axis=1)
        if counts.sum() > MOST_CELLS:
            raise ImageError(f"shows {counts.sum():,} cells; a mask holds {MOST_CELLS:,}")
        return Numbered(parts, cells, dict(enumerate((1 + np.cumsum(counts) - counts).tolist())), left)

    def _write(self, source: Source, files: BlockFiles, labels: LabelParts, numbered: Numbered) -> None:
        """Have the labels of all parts written, and then the levels above them."""
        items = [(files, numbered.choose(numbers), labels, region) for region, numbers in numbered.parts]
        for _ in self._run(source, SlideWork.write, items):
            pass
        if items:
            for _ in self._run(source, SlideWork.reduce, [(labels,)]):
                pass

    def _measure(
        self, source: Source, plan: SlidePlan, files: BlockFiles, found: Found, numbered: Numbered, table: Path
    ) -> None:
        """Have the cells of all blocks measured, and write the table of them."""
        full = [number for number, count in enumerate(numbered.cells.sum(axis=1).tolist()) if count]
        contested = {number for number, _ in numbered.left}
        items: list[tuple[Any, ...]] = []
        for number in full:
            # others have pixels of this one's cells only where some are contested
            bounds = found.summaries[number].bounds
            near = find_blocks(found.summaries, [bounds])[0][1] if number in contested else [number]
            items.append((plan, files, numbered.choose(near), number))
        # without cells the names of the columns alone
        items = items or [(plan, files, numbered.choose([]), None)]
        names = [columns for _, columns in self._run(source, SlideWork.measure, items)]
        join_cell_tables(table, names[0], map(files.find_table, full))

    def _run(
        self, source: Source, step: Callable[..., Any], items: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Have a step of the work done for each item, its arguments; give what each comes to, in any order."""

        def submit(item: tuple[Any, ...], priority: int) -> Any:
            return self._client.submit(_do_step, self._assignment, source, step, item, pure=False, priority=priority)

        for item, task in complete(self._client, items, submit):
            yield item, self._note(receive(task))


def _do_step(assignment: Assignment, source: Source, step: Callable[..., Any], arguments: tuple[Any, ...]) -> Done[Any]:
    """Do a step on the worker that this runs on."""
    name = str(get_worker().name)
    return do_step(assignment, source, int(name) if name.isdecimal() else 0, step, *arguments)
