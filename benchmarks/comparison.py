"""Two ways to do one task: timed in one run, their results compared, printed as a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mosaicell.evaluation.matching import count_overlaps, match_overlaps
from mosaicell.evaluation.metrics import f1_score

Result = TypeVar("Result")
Labels = NDArray[np.integer]

RUNS = 5
#: what takes longer than this is run once
LONG_S = 3.0
#: F1 at IoU 0.5 and mean IoU from which two decodings count as the same
LEAST_AGREEMENT = 0.95


@dataclass(frozen=True)
class Row:
    """One task done in two ways.

    Attributes
    ----------
    task, input : str
        What is done to what.
    seconds : float
        Shortest wall time of this project's way.
    peer : str
        The other way.
    peer_seconds : float or None
        Its wall time; None where it was not run.
    agreement : str
        How alike the results are, or why the other way was not run.
    agrees : bool
        Whether the results are as alike as they must be.
    least_ratio : float or None
        How many times faster than the other way this one should be.
    most_s : float or None
        How long it should take at most.
    """

    task: str
    input: str
    seconds: float
    peer: str
    peer_seconds: float | None
    agreement: str
    agrees: bool = True
    least_ratio: float | None = None
    most_s: float | None = None

    @property
    def ratio(self) -> float | None:
        """Times that this way is faster."""
        return self.peer_seconds / self.seconds if self.peer_seconds is not None else None

    @property
    def meets_target(self) -> bool:
        """Whether the results agree and no target of speed is missed."""
        slow = self.ratio is not None and self.least_ratio is not None and self.ratio < self.least_ratio
        return self.agrees and not slow and (self.most_s is None or self.seconds <= self.most_s)


@dataclass(frozen=True)
class Chain:
    """All steps from maps to labels, on one thread and on two at once.

    Attributes
    ----------
    task : str
    input : str
    seconds_per_megapixel, on_two_threads : float
        Wall time over the size of all images decoded.
    """

    task: str
    input: str
    seconds_per_megapixel: float
    on_two_threads: float


def time_call(function: Callable[[], Result]) -> tuple[Result, float]:
    """Return a function's result and the shortest wall time of five calls, of one where that takes long.

    Parameters
    ----------
    function
        Called without arguments; each call must do the same work.

    Returns
    -------
    result
        Of the last call.
    seconds : float
    """
    shortest = float("inf")
    for _ in range(RUNS):
        start_s = time.perf_counter()
        result = function()
        shortest = min(shortest, time.perf_counter() - start_s)
        if shortest > LONG_S:
            break
    return result, shortest


def compare_arrays(
    task: str, subject: str, ours: Callable[[], np.ndarray], peer: str, theirs: Callable[[], np.ndarray]
) -> Row:
    """Time two functions that should return the same array.

    Parameters
    ----------
    task, subject : str
        What is done, and to what.
    ours, theirs
        The functions, called without arguments.
    peer : str
        Name of the other way.
    """
    (one, seconds), (other, peer_seconds) = time_call(ours), time_call(theirs)
    equal = np.array_equal(one, other)
    return Row(task, subject, seconds, peer, peer_seconds, "equal" if equal else "not equal", equal)


def compare_cells(one: Labels, other: Labels) -> tuple[str, bool]:
    """Return how alike two label images are, and whether that is enough; numbers of cells and some pixels may differ.

    Parameters
    ----------
    one, other : integer arrays (y, x)
        Label images, 0 = background.
    """
    matching = match_overlaps(count_overlaps(one, other), 0.5)
    f1 = f1_score(matching.n_truth, matching.n_prediction, matching.ious.size)
    iou = float(matching.ious.mean()) if matching.ious.size else 0.0
    return f"F1 {f1:.4f}, IoU {iou:.4f}", min(f1, iou) >= LEAST_AGREEMENT


def time_chain(task: str, subject: str, megapixels: float, decode: Callable[[], Labels]) -> Chain:
    """Time a decoder alone, and twice at once on two threads, as the blocks of a slide are decoded.

    Parameters
    ----------
    task, subject : str
        What is decoded, and from what.
    megapixels : float
        Size of what `decode` decodes.
    decode
        Called without arguments.
    """
    _, one_s = time_call(decode)
    with ThreadPoolExecutor(2) as pool:
        _, two_s = time_call(lambda: [done.result() for done in [pool.submit(decode) for _ in range(2)]])
    return Chain(task, subject, one_s / megapixels, two_s / (2 * megapixels))


def print_rows(rows: Sequence[Row]) -> None:
    """Print the comparisons as a Markdown table."""
    print("| task | input | s | other way | s | times faster | results |")
    print("| --- | --- | ---: | --- | ---: | ---: | --- |")
    for row in rows:
        times = ("-", "-") if row.ratio is None else (f"{row.peer_seconds:.3g}", f"{row.ratio:.1f}")
        print(f"| {row.task} | {row.input} | {row.seconds:.3g} | {row.peer} | {' | '.join(times)} | {row.agreement} |")


def print_chains(chains: Sequence[Chain]) -> None:
    """Print the whole decoders as a Markdown table."""
    print("| maps to labels | input | s/MP | s/MP on two threads | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    for chain in chains:
        one_s, two_s = chain.seconds_per_megapixel, chain.on_two_threads
        print(f"| {chain.task} | {chain.input} | {one_s:.3f} | {two_s:.3f} | {one_s / two_s:.2f} |")
