"""What the commands of documents print, with made-up figures: a printer for each entry whose columns are tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks import empty_results, measurements, scaling, sizes, slide, startup, step, trials
from benchmarks.command import Measurement
from benchmarks.comparison import Row, print_rows
from benchmarks.seams import Comparison, Crossing
from mosaicell.evaluation import score, timed_image
from mosaicell.evaluation.metrics import score_image
from mosaicell.evaluation.scored_masks import ScoredImage
from mosaicell.training.image_classes import CLASSES, format_counts
from mosaicell.training.validate import log_scores

RUN = Measurement(30.0, 50.0, {"read": 1.0}, 1_500_000_000, 2, 50_391, ("awf-fluorescence", "omnipose"), Path("mask"))


def print_scores() -> str:
    labels = np.zeros((40, 40), np.uint32)
    labels[10:20, 10:20] = 1
    names = ("fluorescence", "brightfield", "phase-contrast")
    images = [ScoredImage(name, name, tuple(score_image(labels, labels, (0.5, 0.7)))) for name in names]
    return score.format_table(score.summarise(images))


def print_disturbances() -> str:
    rows = {
        "frames": ["frame of 0, 10%", "turned by 8 degrees", "turned by 35 degrees", "black around tissue"],
        "casts": [f"{what}, colour cast of {cast}%" for what in ("images", "real images") for cast in (4, 8, 15)]
        + [f"dim cells beside {what} 100 times as bright" for what in ("a haze", "cells")],
        "debris": ["5 times as bright, 0.2%"],
    }
    return "\n\n".join(
        trials.format_table(group, [trials.Row(group, name, 2, 0.9, 0.8, 0.7, 0.6, 0.03) for name in names])
        for group, names in rows.items()
    )


def print_fields() -> str:
    empty = [empty_results.Field(kind, kind, "dark") for kind in empty_results.KINDS]
    truth = np.zeros((64, 64), np.uint32)
    truth[20:30, 20:30] = 1
    nuclei = [empty_results.Field(name, "nuclei", name, truth) for name in ("weak", "strong")]
    return empty_results.tabulate([*empty, *nuclei], lambda _: truth)[0]


def print_sizes() -> str:
    return sizes.format_table({"phase_round": dict.fromkeys(sizes.DIAMETERS_PX, 0.9)})


def print_step() -> str:
    one = step.Step("a, fluorescence", 2, (0.8, 0.8), (0.8, 0.8), (1.0, 1.0), (1.0, 1.0))
    return step.format_table([one, one], step.MEGAPIXELS)


def print_decoders() -> str:
    inputs = [f"drawn, 4 MP, {cells} cells" for cells in ("1,347", "853", "99,856")]
    rows = [
        Row(task, subject, 1.0, "other", 2.0, "F1 1.0000, IoU 1.0000")
        for task in ("two-step watershed", "three watershed passes", "score")
        for subject in inputs
    ]
    rows.append(Row("suppression of boxes", "100,000 boxes", 1.0, "numpy", 2.0, "equal"))
    rows += [
        Row("weighted boxes fusion", f"{count} boxes of 4 detectors", 1.0, "a", 2.0, "5 boxes")
        for count in ("8,000", "100,000")
    ]
    print_rows(rows)
    return ""


def print_validation() -> str:
    groups = ("all", "grey", "fluorescence", "brightfield")
    log_scores("awf-baseline", dict.fromkeys(groups, ((0.8, 0.7), 5)))
    return ""


def print_slide() -> str:
    seams = Comparison((5584, 4476), (6, 2), Crossing(1000, 1, 1), Crossing(1000, 1, 0))
    return slide.format_table(slide.SlideResult(slide.SHAPE_PX, slide.KIND, 50_573, RUN, 0.99, seams))


def print_scaling() -> str:
    found = tuple(scaling.SizeResult(megapixels, 100, RUN) for megapixels in scaling.MEGAPIXELS)
    return scaling.format_table(scaling.ScalingResult(replace(RUN, wall_s=1.0, cpu_s=1.0), found))


def print_times() -> str:
    names = ("drawn_0p3MP_brightfield_blood.png", "drawn_25MP_fluorescence_nuclei.tif")
    images = [timed_image.TimedImage(name, (1.0,), (480, 640), 10**9, None, 0, "valid", "") for name in names]
    return timed_image.summarise("made up", images)


def print_startup() -> str:
    stages = ("python, nothing done", "import numpy", "import onnxruntime", "import cv2")
    later = ("import the rest of the program", "load one network", "first tile")
    rows = [(name, 0.1) for name in (*stages, *later, *(f"{kind}, start to mask" for kind in startup.SCENES))]
    with mock.patch.object(startup, "measure", return_value=rows), mock.patch("sys.argv", ["startup"]):
        startup.main()
    return ""


def print_measurements() -> str:
    measurements.main(["--side", "200"])
    return ""


def print_classes() -> str:
    counts = {rule: {"a source": np.arange(len(CLASSES))} for rule in ("paper", "code", "content")}
    return "\n".join(format_counts(counts))


PRINTERS: dict[str, Callable[[], str]] = {
    "results": print_scores,
    "systems": print_scores,
    "systems-times": print_times,
    "systems-slide": print_slide,
    "disturbances": print_disturbances,
    "empty-fields": print_fields,
    "lone-nuclei": print_fields,
    "sizes": print_sizes,
    "step": print_step,
    "decoders": print_decoders,
    "decoders-maunet": print_decoders,
    "decoders-fusion": print_decoders,
    "baseline": print_validation,
    "maunet": print_validation,
    "slide": print_slide,
    "scaling": print_scaling,
    "startup": print_startup,
    "startup-stages": print_startup,
    "startup-ranges": print_startup,
    "measurements": print_measurements,
    "image-classes": print_classes,
}
