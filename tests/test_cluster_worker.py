"""A worker of a cluster: what it keeps, what it refuses, and what it passes on of its log."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mosaicell.errors import OptionError
from mosaicell.options import Options
from mosaicell.runs import cluster_worker as module
from mosaicell.runs.cluster_worker import Assignment, do_image
from mosaicell.runs.inputs import Search, Source, find_images
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.settings import digest_settings
from mosaicell.writing.masks import read_labels
from tests.toys import write_discs, write_judges, write_weights


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Start with a worker that has done nothing."""
    yield
    while module._held:
        module._held.pop().openers.close()


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    write_weights(tmp_path / "weights")
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    write_discs(tmp_path / "in" / "a.png", 2)
    write_discs(tmp_path / "in" / "b.png", 3)
    options = Options(
        tmp_path / "in", tmp_path / "out", weights_path=tmp_path / "weights", device="cpu", threads=1, choose_by="cells"
    )
    return Assignment("run", options, digest_settings(options, Segmentation(options).model_names))


def sources(assignment: Assignment) -> list[Source]:
    return find_images(assignment.options.inputs, Search()).images


def test_an_image_is_done_and_its_log_passed_on(assignment: Assignment, caplog: pytest.LogCaptureFixture) -> None:
    source, other = sources(assignment)
    with caplog.at_level(logging.INFO):
        done = pickle.loads(pickle.dumps(do_image(*pickle.loads(pickle.dumps((assignment, source, {}))))))
    assert (done.record["image"], done.record["cells"]) == ("a.png", 2)
    assert read_labels(assignment.options.output_path / "a_label.tiff").max() == 2
    assert (done.used["device"], done.used["threads"]) == ("cpu", 1)
    (line,) = done.said
    assert line[1:] == (logging.INFO, caplog.messages[0] if caplog.messages else line[2])
    assert line[2].startswith("a.png: fluorescence, awf-fluorescence, 2 cells")
    # it is told where the run was started, not here
    assert not caplog.messages
    held = module._held[0].process
    assert do_image(assignment, other, {}).record["cells"] == 3
    assert module._held[0].process is held


def test_a_bad_image_is_a_record(assignment: Assignment) -> None:
    (assignment.options.input_path / "a.png").write_text("no image", encoding="ascii")
    done = do_image(assignment, sources(assignment)[0], {})
    assert "is no image" in done.record["error"]
    assert [level for _, level, _ in done.said] == [logging.ERROR]


def test_another_run_has_models_of_its_own(assignment: Assignment) -> None:
    source = sources(assignment)[0]
    do_image(assignment, source, {})
    held = module._held[0].process
    do_image(replace(assignment, run="other"), source, {})
    (now,) = module._held
    assert (now.run, now.process is held) == ("other", False)


def test_figures_of_earlier_runs_are_kept_for_what_is_skipped(assignment: Assignment) -> None:
    source = sources(assignment)[0]
    known = do_image(assignment, source, {}).record
    skipping = replace(assignment, run="next", options=replace(assignment.options, skip_existing=True))
    again = do_image(skipping, source, known).record
    assert (again["skipped"], again["cells"], again["predicted_f1"]) == (True, 2, known["predicted_f1"])


def test_workers_take_devices_by_turns(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Recorded(module.OneProcess):
        def __init__(self, options: Options, *arguments: object) -> None:
            asked.append(options.device)
            super().__init__(replace(options, device="cpu"), *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "OneProcess", Recorded)
    for number in range(3):
        shared = replace(assignment, run=str(number), devices=("cuda:0", "cuda:1"))
        do_image(shared, sources(assignment)[0], {}, number)
    assert asked == ["cuda:0", "cuda:1", "cuda:0"]


def test_another_version_and_other_weights_are_refused(assignment: Assignment) -> None:
    source = sources(assignment)[0]
    with pytest.raises(OptionError, match=r"the worker has version .* of mosaicell, the command 0\.0"):
        do_image(replace(assignment, version="0.0"), source, {})
    write_judges(assignment.options.weights_path, offset=1.0)
    with pytest.raises(OptionError, match="the worker has other weights in"):
        do_image(assignment, source, {})
    assert not list(assignment.options.output_path.iterdir())
