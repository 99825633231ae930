"""Train the classifier of images: python -m training.classifier --data DIR --val DIR -o FOLDER --minutes N.

Source: sribdmed paper, section 2.1 (step 3). The classes come from pixels as stored and labels, by the rule of
`training.image_classes`; the network sees the normalised image alone.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.contrast.normalize import PERCENTILES, normalize
from mosaicell.errors import OptionError
from mosaicell.networks.classifier import ClassifierCard, classify
from mosaicell.networks.manifest import file_sha256, read_manifest
from mosaicell.networks.session import Session, available_threads
from mosaicell.training.class_samples import ClassSample, draw_class_samples, draw_window, load_class_samples
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.export import MAX_DIFFERENCE, fold_batch_norm, largest_difference, write_manifest
from mosaicell.training.folder import in_sources, list_images, read_pixels
from mosaicell.training.image_classes import CLASSES, DEFAULT_RULE
from mosaicell.training.networks.image_classifier import INPUT_PX, ImageClassifier, ResNet18
from mosaicell.training.onnx_file import round_weights, write_onnx
from mosaicell.writing.parts import write_whole

CARD = ClassifierCard(INPUT_PX, reduction=2, most_windows=9, classes=CLASSES)
NETWORKS: dict[str, Callable[[], nn.Module]] = {"small": ImageClassifier, "resnet18": ResNet18}
NAME = "image-classifier"
#: one image of so many of a source is held out
HELD_OUT_EVERY = 6
#: scenes of each kind that are drawn, and the share of the windows that are cut from them
SCENES_PER_KIND = 6
DRAWN_FRACTION = 0.25
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
WARMUP_STEPS = 30
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
LOG_EVERY = 50
log = logging.getLogger("training")


@dataclass(frozen=True)
class Options:
    """How a classifier is trained.

    Attributes
    ----------
    network
        A key of `NETWORKS`.
    minutes, steps
        Wall-clock budget of the learning; where `steps` is not 0 it ends after so many, the same on any machine.
    held_out
        Sources to be judged by, as in `hold_out`.
    """

    network: str = "small"
    minutes: float = 10.0
    steps: int = 0
    held_out: tuple[str, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.minutes < math.inf or self.steps < 0:
            raise OptionError(f"minutes must be above 0, steps 0 or more, got {self.minutes} and {self.steps}")


class Probabilities(nn.Module):
    """A classifier as the program runs it: probabilities instead of logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Map windows (b, 3, y, x) to probabilities (b, classes)."""
        return (self.network(images).softmax(1),)


def hold_out(
    samples: Sequence[ClassSample], sources: tuple[str, ...] = ()
) -> tuple[list[ClassSample], list[ClassSample]]:
    """Split images into those to learn from and those to be judged by.

    Parameters
    ----------
    sources
        Whose images are held out, as in `in_sources`; without any, the last of every `HELD_OUT_EVERY` of each source.
    """
    kept: list[ClassSample] = []
    held: list[ClassSample] = []
    seen: dict[str, int] = {}
    for sample in samples:
        seen[sample.source] = seen.get(sample.source, 0) + 1
        is_last = seen[sample.source] % HELD_OUT_EVERY == 0
        (held if (in_sources(sample.source, sources) if sources else is_last) else kept).append(sample)
    return kept, held


def draw_weights(samples: Sequence[ClassSample]) -> np.ndarray:
    """Return the probability with which each image is drawn: by the root of the size of its class and of its source.

    Returns
    -------
    float64 (n,) of sum 1.
    """
    labels = np.array([sample.label for sample in samples])
    _, sources = np.unique([sample.source for sample in samples], return_inverse=True)
    weights = np.bincount(sources)[sources] ** -0.5
    by_class = np.bincount(labels, weights)
    weights *= (np.bincount(labels) ** 0.5 / np.maximum(by_class, 1e-9))[labels]
    return weights / weights.sum()


def train_classifier(
    network: nn.Module,
    samples: Sequence[ClassSample],
    scenes: Sequence[ClassSample],
    rng: np.random.Generator,
    done: Callable[[int], float],
) -> int:
    """Train a network in place until `done`, which maps the step to the part of the training that is over, is 1.

    Returns
    -------
    Steps taken.
    """
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs leave it out
    network.train()
    weights = draw_weights(samples)
    step, losses, right = 0, 0.0, 0
    while (share := done(step)) < 1:
        rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * share)) * min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        windows, labels = _draw_batch(samples, scenes, weights, rng)
        logits = network(windows)
        loss = functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        losses += loss.item()
        right += int((logits.argmax(1) == labels).sum())
        if step % LOG_EVERY == 0:
            accuracy = right / (LOG_EVERY * BATCH_SIZE)
            log.info("step %d, %.0f %%: loss %.3f, accuracy %.3f", step, 100 * share, losses / LOG_EVERY, accuracy)
            losses, right = 0.0, 0
    network.eval()
    return step


def _draw_batch(
    samples: Sequence[ClassSample], scenes: Sequence[ClassSample], weights: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    windows, labels = [], []
    for _ in range(BATCH_SIZE):
        drawn = scenes and rng.random() < DRAWN_FRACTION
        sample = scenes[int(rng.integers(len(scenes)))] if drawn else samples[int(rng.choice(len(samples), p=weights))]
        window, label = draw_window(sample, CARD.input_px, rng)
        windows.append(window)
        labels.append(label)
    batch = torch.from_numpy(np.stack(windows)).contiguous(memory_format=torch.channels_last)
    return batch, torch.tensor(labels)


def count_answers(
    root: Path, samples: Sequence[ClassSample], run_model: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Classify images as the program does.

    Parameters
    ----------
    root
        Folder in the challenge's layout.
    samples
        Which of its images, with their classes.
    run_model
        As in `classify`.

    Returns
    -------
    int64 (classes, classes): images by class and answer.
    """
    paths = {path.name: path for path in list_images(root)}
    table = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for sample in samples:
        answer = classify(normalize(read_pixels(paths[sample.name])), run_model, CARD)
        table[sample.label, answer.argmax()] += 1
    return table


def format_answers(table: np.ndarray) -> list[str]:
    """Write a table of `count_answers` as lines, with the share of right answers of each class and of all images."""
    lines = ["| class | images | right | " + " | ".join(CLASSES) + " |", "|---|---:|---:|" + "---:|" * len(CLASSES)]
    for index, name in enumerate(CLASSES):
        lines.append(_format_row(name, table[index], table[index, index]))
    return [*lines, _format_row("all", table.sum(0), table.trace())]


def _format_row(name: str, answers: np.ndarray, right: int) -> str:
    share = f"{right / answers.sum():.1%}" if answers.any() else "-"
    return f"| {name} | {answers.sum()} | {share} | " + " | ".join(str(number) for number in answers) + " |"


def export_classifier(network: nn.Module, training: dict[str, object], folder: Path) -> Path:
    """Write the ONNX file of a trained network, compare it with torch, and enter its card into the manifest.

    Raises
    ------
    RuntimeError
        When onnxruntime and torch disagree; an earlier version of the model stays as it was.
    """
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    fold_batch_norm(network)
    round_weights(network)
    model = Probabilities(network).eval()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.onnx"
    window = torch.linspace(0, 1, 3 * INPUT_PX**2).reshape(3, INPUT_PX, INPUT_PX)
    with write_whole(path) as part:
        write_onnx(model, window[None], part, {0: "batch"}, {"probabilities": {0: "batch"}})
        difference = largest_difference(model, part, [window.numpy(), window.numpy()[:, ::-1].copy()])
        if not difference <= MAX_DIFFERENCE:  # NaN too
            raise RuntimeError(f"{NAME}: onnxruntime and torch differ by {difference:.2g}, allowed {MAX_DIFFERENCE}")
    cards = read_manifest(folder) if (folder / "manifest.json").exists() else {}
    cards[NAME] = {
        "file": path.name,
        "sha256": file_sha256(path),
        "kind": "classifier",
        "architecture": type(network).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "outputs": ["probabilities"],
        **asdict(CARD),
        "normalization": {"percentiles": list(PERCENTILES)},
        "training": {"rule": DEFAULT_RULE, **training},
        "data": "sources and terms: weights/README.md; research use only",
    }
    write_manifest(folder, cards)
    return path


def run(data: Path, val: Path, folder: Path, cache: Path, options: Options) -> Path:
    """Read, draw, learn, export, judge; return the ONNX file.

    Parameters
    ----------
    data, val
        Folders in the challenge's layout: to learn from and be judged by, and to be judged by alone.
    folder
        Gets the ONNX file and its card.
    cache
        Folder for the reduced images.

    Raises
    ------
    OptionError
        When no image is left to learn from, or the images cannot be used.
    """
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    kept, held = hold_out(load_class_samples(data, cache, CARD.reduction), options.held_out)
    if not kept:
        raise OptionError(f"no image of {data} is left to learn from")
    judges = load_class_samples(val, cache, CARD.reduction)
    scenes = draw_class_samples(SCENES_PER_KIND, CARD.reduction, rng)
    model = NETWORKS[options.network]()
    log.info("%d images to learn from, %d held out, %d drawn", len(kept), len(held), len(scenes))
    start_s = time.monotonic()

    def done(step: int) -> float:
        return step / options.steps if options.steps else (time.monotonic() - start_s) / (60 * options.minutes)

    steps = train_classifier(model, kept, scenes, rng, done)
    minutes = round((time.monotonic() - start_s) / 60, 1)
    training: dict[str, object] = {"steps": steps, "minutes": minutes, "images": len(kept), "scenes": len(scenes)}
    path = export_classifier(model, training, folder)
    session = Session(path, "cpu", available_threads(), 0)
    for title, root, samples in (("held-out images", data, held), ("validation images", val, judges)):
        table = count_answers(root, samples, lambda windows: session.run(windows)[0])
        log.info("%s\n%s", title, "\n".join(format_answers(table)))
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.classifier", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--val", type=Path, required=True, help="folder of the same layout, judged by at the end")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the ONNX file and its card")
    parser.add_argument("--minutes", type=float, default=10, help="wall-clock budget of the learning (default: 10)")
    parser.add_argument("--steps", type=int, default=0, help="end after so many steps instead, the same on any machine")
    parser.add_argument("--held-out", nargs="+", default=(), metavar="SOURCE", help="judge by these instead")
    parser.add_argument("--network", choices=sorted(NETWORKS), default="small")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for reduced images")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        options = Options(arguments.network, arguments.minutes, arguments.steps, tuple(arguments.held_out))
        path = run(arguments.data, arguments.val, arguments.output, arguments.cache, options)
        log.info("done: %s", path)


if __name__ == "__main__":
    main()
