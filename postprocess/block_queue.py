"""Blocks that are decoded on other threads, and taken in the order in which they were submitted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from mosaicell.postprocess.blocks import Decode, Owned, decode_block
from mosaicell.postprocess.bounds import Bounds

#: so many blocks are left to one thread, those of two rows at the end of a strip; each one more has another thread
SPARE_BLOCKS = 3


class BlockQueue:
    """Blocks of an image that are decoded on other threads.

    Parameters
    ----------
    shape_px
        Height and width of the image.
    workers
        Number of threads.
    take
        Given what each block contributes, in the order in which they were submitted, on the caller's thread.

    Attributes
    ----------
    shape_px
        Height and width of the image.

    Notes
    -----
    Decoding takes much more memory than waiting does. One block at a time is decoded while few wait, as that keeps pace
    with a network on the CPU; as many as there are threads when the caller waits.
    """

    def __init__(self, shape_px: tuple[int, int], workers: int, take: Callable[[Bounds, Owned], None]) -> None:
        self.shape_px = shape_px
        self._take = take
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers)
        self._waiting: deque[tuple[Bounds, Future[Owned]]] = deque()
        self._turn = threading.Condition()
        self._running, self._allowed = 0, 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, decode: Decode, core: Bounds, margin_px: int, max_margin_px: int) -> None:
        """Have a block decoded, as `decode_block` does; waits while too many are under way."""
        # those that are done hold their labels
        while self._waiting and (len(self._waiting) >= self._workers + SPARE_BLOCKS or self._waiting[0][1].done()):
            self._take_first()
        self._waiting.append((core, self._pool.submit(self._decode, decode, core, margin_px, max_margin_px)))
        self._allow(len(self._waiting) - SPARE_BLOCKS)

    def take_all(self) -> None:
        """Wait for all blocks."""
        while self._waiting:
            self._take_first()

    def _decode(self, decode: Decode, core: Bounds, margin_px: int, max_margin_px: int) -> Owned:
        """Decode a block as soon as another one may be."""
        with self._turn:
            self._turn.wait_for(lambda: self._running < self._allowed)
            self._running += 1
        try:
            return decode_block(decode, core, self.shape_px, margin_px, max_margin_px)
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify_all()

    def _allow(self, threads: int) -> None:
        """Let so many threads decode, but at least one; what is under way goes on."""
        with self._turn:
            self._allowed = max(1, threads)
            self._turn.notify_all()

    def _take_first(self) -> None:
        """Take the block that was submitted first; while it is waited for all threads decode."""
        core, decoding = self._waiting.popleft()
        if not decoding.done():
            self._allow(self._workers)
        self._take(core, decoding.result())
