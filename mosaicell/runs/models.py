"""Models of a run: loaded when an image first needs them, on the device and in the memory that there is."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import cv2

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import ModelCard, check_file, read_models
from mosaicell.networks.session import Session, available_threads, resolve_device
from mosaicell.options import Options

log = logging.getLogger(__name__)

#: so many models stay loaded on a GPU, and more only where one image needs them: each has memory set aside
KEPT_MODELS = 4


class Models:
    """Models of a run, each loaded when an image first needs it.

    Parameters
    ----------
    options
        Of the run.
    names
        Of all models that may be needed.
    at_once
        How many of them one image needs at most.

    Raises
    ------
    OptionError
        When there is no such device, a file is missing or a card is wrong. Whether a file is the one that its card
        describes is seen when it is loaded: hashing all would take longer than most images.
    """

    def __init__(self, options: Options, names: Sequence[str], at_once: int) -> None:
        self.device = resolve_device(options.device)
        self.threads = options.threads or available_threads()
        cv2.setNumThreads(self.threads)
        self._asked_batch_size = options.batch_size
        self._may_fall_back = options.device == "auto"
        self._cards = read_models(names, options.weights_path)
        self._at_once = at_once
        # on a GPU each session has an arena of its own
        self._most_on_gpu = min(len(names), max(at_once, KEPT_MODELS))
        self._gpu_mem_limit_gb = options.gpu_mem_limit_gb / self._most_on_gpu
        # the one that was used last comes last
        self._loaded: dict[str, Session] = {}
        self._used: set[str] = set()

    def get(self, name: str) -> tuple[ModelCard, Session]:
        """Return a model's card and session.

        Raises
        ------
        OptionError
            When the model is not the file that its card describes, or cannot be loaded.
        """
        card = self._cards[name]
        session = self._loaded.pop(name, None) or self._find_same_file(card)
        if session is None:
            if self.device != "cpu":
                for other in list(self._loaded)[: len(self._loaded) + 1 - self._most_on_gpu]:
                    del self._loaded[other]
            check_file(card)
            session = self._load(card)
        self._used.add(name)
        self._loaded[name] = session
        return card, session

    def keep_only(self, names: Collection[str]) -> None:
        """Let go of the memory of all other models; one that is needed again is loaded again."""
        self._loaded = {name: session for name, session in self._loaded.items() if name in names}

    def _find_same_file(self, card: ModelCard) -> Session | None:
        """Return the session of a loaded model that has the file of this one: an ensemble has that of its first."""
        loaded = (session for name, session in self._loaded.items() if self._cards[name].path == card.path)
        return next(loaded, None)

    def _load(self, card: ModelCard) -> Session:
        try:
            return Session(card.path, self.device, self.threads, self._gpu_mem_limit_gb)
        except OptionError as error:
            if not self._may_fall_back or self.device == "cpu":
                raise
            log.warning("%s; going on with the CPU", error)
            self.device = "cpu"
            return Session(card.path, self.device, self.threads, self._gpu_mem_limit_gb)

    @property
    def batch_size(self) -> int:
        """Tiles per network call."""
        return self._asked_batch_size or (1 if self.device == "cpu" else 4)

    @property
    def most_networks(self) -> int:
        """How many networks may be loaded once the next image is segmented: it may need none of those that are."""
        return min(len(self._loaded) + self._at_once, len(self._cards))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights that were used, by model name."""
        return {name: self._cards[name].sha256 for name in sorted(self._used)}
