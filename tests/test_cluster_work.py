"""What a run makes of the tasks of a cluster: those that ended their workers, failed or went away."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mosaicell.errors import OptionError
from mosaicell.options import Options
from mosaicell.runs.cluster_worker import Done
from mosaicell.runs.inputs import Source
from tests.toys import write_weights

pytestmark = pytest.mark.consumers
pytest.importorskip("distributed")

from distributed.scheduler import KilledWorker  # noqa: E402

from mosaicell.runs import cluster_tasks  # noqa: E402
from mosaicell.runs.cluster_work import ClusterWork, as_absolute  # noqa: E402

SOURCE = Source(Path("/in/a.png"), Path("/in"))


class Task:
    """A task with this outcome."""

    def __init__(self, outcome: object, status: str = "finished") -> None:
        self.outcome, self.status, self.released = outcome, status, False

    def result(self) -> object:
        """Give the outcome."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def release(self) -> None:
        """Let go of the outcome."""
        self.released = True


@pytest.fixture
def work(tmp_path: Path) -> ClusterWork:
    weights = write_weights(tmp_path / "weights")
    client: Any = None
    options = Options(tmp_path, tmp_path / "out", weights_path=weights, choose_by="cells")
    return ClusterWork(client, options, {}, split_above_px=10**9)


def receive(work: ClusterWork, task: Any) -> dict[str, Any]:
    try:
        return work._receive(task, SOURCE)
    finally:
        assert task.released


def test_an_image_that_ends_every_worker_fails_alone(work: ClusterWork, caplog: pytest.LogCaptureFixture) -> None:
    last: Any = SimpleNamespace(clean=lambda: None, address="tcp://a:1")
    record = receive(work, Task(KilledWorker("key", last, 3)))
    assert record == {"image": "a.png", "error": "4 workers died while they had it"}
    assert caplog.messages == ["a.png: 4 workers died while they had it"]
    assert "RuntimeError: odd" in receive(work, Task(RuntimeError("odd"), "error"))["error"]


def test_what_no_worker_can_do_ends_the_run(work: ClusterWork) -> None:
    with pytest.raises(OptionError, match="other weights"):
        receive(work, Task(OptionError("other weights"), "error"))
    with pytest.raises(OptionError, match="the cluster is gone; --skip-existing goes on"):
        receive(work, Task(RuntimeError("lost"), "cancelled"))
    # it was done, but its record does not arrive
    with pytest.raises(OptionError, match="the cluster is gone"):
        receive(work, Task(OSError("connection reset")))


def test_what_workers_said_and_used_is_put_together(work: ClusterWork, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for number, device in enumerate(("cuda:1", "cpu", "cpu")):
            used = {"device": device, "threads": 1 + number, "weights_sha256": {f"m{number}": "0"}}
            receive(work, Task(Done({"image": "a.png"}, used, f"host:{number}", [("mosaicell.x", 20, f"{number} %s")])))
    assert caplog.messages == ["0 %s", "1 %s", "2 %s"]
    assert work.describe() == {
        "device": "cpu, cuda:1",
        "threads": 3,
        "workers": 3,
        "weights_sha256": {"m0": "0", "m1": "0", "m2": "0"},
    }


def test_lines_of_progress_have_an_end_in_sight(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = iter([0.0, 10, 20, 30, 240, 250])
    monkeypatch.setattr(cluster_tasks.time, "monotonic", lambda: float(next(seconds)))
    with caplog.at_level(logging.INFO), cluster_tasks.Progress(6, lambda: 4) as progress:
        for _ in range(5):
            progress.advance()
    assert caplog.messages == [
        "2 of 6 images, 4 workers, about 40 s left",
        "4 of 6 images, 4 workers, about 2 min left",
    ]


def test_paths_mean_the_same_for_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = as_absolute(Options(Path("in"), Path("out"), further_inputs=(Path("more"),), weights_path=Path("w")))
    assert options.inputs == (tmp_path / "in", tmp_path / "more")
    assert (options.output_path, options.weights_path) == (tmp_path / "out", tmp_path / "w")
