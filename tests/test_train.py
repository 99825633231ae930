"""Training: the loss falls, an interrupted run goes on where it was, a fine-tune starts from its baseline."""

from __future__ import annotations

import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mosaicell.errors import OptionError
from mosaicell.training import recipe as recipe_module
from mosaicell.training import state as state_module
from mosaicell.training import train as train_module
from mosaicell.training.dataset import load_samples
from mosaicell.training.export import export, load_exported
from mosaicell.training.recipe import OPTIMIZERS, Recipe, Schedule, checkpoint_path, read_recipe
from mosaicell.training.restart import is_head
from mosaicell.training.sampling import Batch, CropStream
from mosaicell.training.state import Training, computes_bfloat16
from mosaicell.training.synthesis import draw_scene
from mosaicell.training.train import (
    MAX_WORKERS,
    learning_rate,
    main,
    mean_terms,
    progress,
    train,
    worker_count,
)
from mosaicell.writing.masks import write_labels

CPU = torch.device("cpu")
BASELINE = """
[network]
width = 0.125
pixel_channels = ["foreground", "energy", "boundary", "flow_y", "flow_x"]
[schedule]
batch_size = 2
warmup_steps = 5
[augment]
crop_px = 64
"""
FLOWS = BASELINE.replace("[schedule]", 'start_from = "tiny"\nanchors = 0\n[schedule]').replace('"energy", ', "")
ANCHORS = np.array([[10, 10], [20, 20], [40, 40]], np.float32)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Write a recipe for an eighth of the width under the name "tiny", and one that starts from it."""
    monkeypatch.setattr(recipe_module, "RECIPE_FOLDER", tmp_path)
    (tmp_path / "tiny.toml").write_text(BASELINE, encoding="utf-8")
    (tmp_path / "flows.toml").write_text(FLOWS, encoding="utf-8")
    return read_recipe("tiny")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass whenever the clock is read: once at the start, then once in every step."""
    seconds = itertools.count()
    monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def write_data(root: Path) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for seed, kind in enumerate(("fluorescence_nuclei", "brightfield_blood")):
        pixels, labels = draw_scene(kind, (96, 96), np.random.default_rng(seed), diameter_px=24)
        cv2.imwrite(str(root / "images" / f"{kind}.png"), pixels[..., ::-1])
        write_labels(root / "labels" / f"{kind}_label.tiff", labels)
    return root


def draw_batch(recipe: Recipe, tmp_path: Path) -> Batch:
    samples = load_samples(write_data(tmp_path / "data"), tmp_path / "cache")
    return next(iter(CropStream(samples, recipe.sampling, recipe.augment, recipe.make_targets, 2, (1,))))


def start(recipe: Recipe, runs: Path) -> Training:
    torch.manual_seed(1)
    state = Training(recipe, runs, CPU)
    if state.anchors is None:
        state.anchors = ANCHORS
    state.network.train()
    return state


def weights_of(state: Training) -> dict[str, torch.Tensor]:
    weights = {f"network.{k}": v.clone() for k, v in state.network.state_dict().items()}
    return weights | {f"average.{k}": v.clone() for k, v in state.average.state_dict().items()}


def with_seconds(recipe: Recipe, seconds: float) -> Recipe:
    return replace(recipe, schedule=replace(recipe.schedule, hours=seconds / 3600))


def run_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str, data: Path, code: int) -> None:
    """Run the command, which must end with `code`."""
    folders = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["train", "--device", "cpu", *folders, *arguments])
    with pytest.raises(SystemExit, match=str(code)):
        main()


def test_the_rate_warms_up_and_falls_along_half_a_cosine() -> None:
    schedule = Schedule(learning_rate=4e-3, final_rate_fraction=0.1, warmup_steps=10)
    warm = [learning_rate(schedule, step, 0.0) for step in range(12)]
    np.testing.assert_allclose(warm, [4e-4 * min(step, 10) for step in range(1, 13)])
    rates = [learning_rate(schedule, 1000, done) for done in np.linspace(0, 1, 21)]
    assert rates[0] == pytest.approx(4e-3)
    assert rates[10] == pytest.approx((4e-3 + 4e-4) / 2)
    assert rates[-1] == pytest.approx(4e-4)
    assert (np.diff(rates) < 0).all()


def test_a_schedule_follows_its_steps_or_else_the_clock() -> None:
    hours, steps = Schedule(hours=2.0), Schedule(hours=2.0, steps=400)
    assert [progress(hours, 100, second) for second in (0, 1800, 7200, 9000)] == [0, 0.25, 1, 1]
    assert [progress(steps, step, 9000) for step in (0, 100, 400, 401)] == [0, 0.25, 1, 1]
    assert progress(Schedule(hours=0.0), 0, 0.0) == 1


def test_the_loss_falls(recipe: Recipe, tmp_path: Path) -> None:
    batch, state = draw_batch(recipe, tmp_path), start(recipe, tmp_path / "runs")
    losses = [state.update(batch, 1e-2)[0] for _ in range(30)]
    assert set(losses[0]) == {"foreground", "energy", "boundary", "flow", "objectness", "box"}
    for name in losses[0]:
        assert losses[-1][name] < 0.8 * losses[0][name], name
    assert sum(losses[-1].values()) < 0.5 * sum(losses[0].values())
    assert state.step == 30


def test_a_step_of_gradient_descent_goes_by_nesterovs_momentum(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, schedule=replace(recipe.schedule, optimizer="sgd", weight_decay=0.1))
    batch, state = draw_batch(recipe, tmp_path), start(recipe, tmp_path / "runs")
    velocities = [torch.zeros_like(p) for p in state.network.parameters()]
    for _ in range(2):
        before = [p.detach().clone() for p in state.network.parameters()]
        state.update(batch, 1e-2)
        for index, (old, parameter) in enumerate(zip(before, state.network.parameters(), strict=True)):
            assert parameter.grad is not None
            gradient = parameter.grad + (0.1 * old if old.ndim > 1 else 0)
            velocities[index] = 0.9 * velocities[index] + gradient
            expected = old - 1e-2 * (gradient + 0.9 * velocities[index])
            torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_training_goes_on_as_if_never_interrupted(optimizer: str, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, schedule=replace(recipe.schedule, optimizer=optimizer))
    batch = draw_batch(recipe, tmp_path)
    whole, first = start(recipe, tmp_path / "whole"), start(recipe, tmp_path / "parts")
    for _ in range(3):
        whole.update(batch, 1e-3)
    for _ in range(2):
        first.update(batch, 1e-3)
    first.elapsed_s = 12.5
    first.save()
    second = start(recipe, tmp_path / "parts")
    assert (second.step, second.elapsed_s) == (2, 12.5)
    np.testing.assert_array_equal(second.anchors, ANCHORS)
    second.update(batch, 1e-3)
    assert second.step == whole.step
    expected = weights_of(whole)
    for name, value in weights_of(second).items():
        assert torch.equal(value, expected[name]), name


def test_an_interrupted_write_leaves_the_previous_state(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(recipe, tmp_path)
    state.save()

    def run_out_of_space(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", run_out_of_space)
    state.step = 99
    with pytest.raises(OSError, match="no space"):
        state.save()
    assert [path.name for path in state.path.parent.iterdir()] == ["checkpoint.pt"]
    assert Training(recipe, tmp_path, CPU).step == 0


def test_crops_are_judged_for_mining_alone(recipe: Recipe, tmp_path: Path) -> None:
    batch = draw_batch(recipe, tmp_path)
    mining = replace(recipe, sampling=replace(recipe.sampling, mining_power=0.5))
    assert start(recipe, tmp_path / "runs").update(batch, 1e-3)[1] is None
    crops = start(mining, tmp_path / "runs").update(batch, 1e-3)[1]
    assert crops is not None
    assert crops.shape == (2,)
    assert (crops > 0).all()


def test_logged_terms_are_means_over_steps() -> None:
    steps = [
        {"box": torch.tensor(1.0), "flow": torch.tensor(4.0)},
        {"box": torch.tensor(2.0), "flow": torch.tensor(0.0)},
    ]
    assert mean_terms(steps) == {"box": 1.5, "flow": 2.0}


def test_the_average_follows_the_network_by_its_decay(recipe: Recipe, tmp_path: Path) -> None:
    batch = draw_batch(recipe, tmp_path)
    follower = start(replace(recipe, schedule=replace(recipe.schedule, ema_decay=0.0)), tmp_path / "runs")
    slow = start(recipe, tmp_path / "runs")
    before = weights_of(slow)
    for state in (follower, slow):
        state.update(batch, 1e-3)
    for name, value in follower.average.state_dict().items():
        assert torch.equal(value, follower.network.state_dict()[name]), name
    # early on the average forgets faster than its decay: 1/10 in the first step
    weights = weights_of(slow)
    expected = torch.lerp(before["average.stem.0.weight"], weights["network.stem.0.weight"], 0.9)
    torch.testing.assert_close(weights["average.stem.0.weight"], expected)


def test_a_step_without_finite_gradients_is_left_out(recipe: Recipe, tmp_path: Path) -> None:
    batch = draw_batch(recipe, tmp_path)
    state = start(recipe, tmp_path / "runs")
    before = {name: value.clone() for name, value in state.network.named_parameters()}
    average = {name: value.clone() for name, value in state.average.state_dict().items()}
    state.update(batch._replace(images=batch.images * torch.nan), 1e-3)
    for name, value in state.network.named_parameters():
        assert torch.equal(value, before[name]), name
    for name, value in state.average.state_dict().items():
        assert torch.equal(value, average[name]), name


def test_a_fine_tune_takes_over_the_rows_of_its_outputs(recipe: Recipe, tmp_path: Path) -> None:
    baseline = start(recipe, tmp_path / "runs")
    baseline.update(draw_batch(recipe, tmp_path), 1e-2)
    baseline.save()
    flows = read_recipe("flows")
    tuned = Training(flows, tmp_path / "runs", CPU)
    rows = [recipe.pixel_channels.index(name) for name in flows.pixel_channels]
    assert rows == [0, 2, 3, 4]
    assert (tuned.step, tuned.elapsed_s) == (0, 0.0)
    np.testing.assert_array_equal(tuned.anchors, ANCHORS)
    expected = baseline.average.state_dict()
    for state in (tuned.network.state_dict(), tuned.average.state_dict()):
        assert not any(name.startswith("detection") for name in state)
        for name, value in state.items():
            taken = expected[name][rows] if name.startswith("pixels") else expected[name]
            assert torch.equal(value, taken), name


def test_a_fine_tune_without_its_baseline_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'flows' starts from 'tiny': train that first"):
        Training(read_recipe("flows"), tmp_path / "runs", CPU, tmp_path / "weights")


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_a_fine_tune_starts_from_an_exported_baseline(recipe: Recipe, tmp_path: Path) -> None:
    data, cache = write_data(tmp_path / "data"), tmp_path / "cache"
    train(with_seconds(recipe, 3), data, tmp_path / "runs", cache, CPU)
    export(recipe, tmp_path / "runs", data, tmp_path / "weights")
    flows = read_recipe("flows")
    tuned = Training(flows, tmp_path / "new", CPU, tmp_path / "weights")
    assert tuned.folded
    batch = draw_batch(flows, tmp_path / "more")
    expected = load_exported(recipe, tmp_path / "runs")(batch.images)[0][:, 0]
    tuned.unfold([batch.images])
    assert not tuned.folded
    for network in (tuned.network.eval(), tuned.average):
        torch.testing.assert_close(network(batch.images)[1][:, 0].sigmoid(), expected, atol=1e-4, rtol=0)
    losses = [tuned.update(batch, 1e-3)[0] for _ in range(3)]
    assert losses[-1]["foreground"] < losses[0]["foreground"]


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_training_stops_at_its_budget_and_resumes_with_a_larger_one(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "LOG_EVERY", 2)
    data, runs, cache = write_data(tmp_path / "data"), tmp_path / "runs", tmp_path / "cache"
    with caplog.at_level(logging.INFO, "training"):
        path = train(with_seconds(recipe, 3), data, runs, cache, CPU)
        state = torch.load(path, weights_only=True)
        assert path == checkpoint_path(runs, "tiny")
        assert (state["step"], state["elapsed_s"]) == (3, 3.0)
        assert state["anchors"].shape == (3, 2)
        train(with_seconds(recipe, 3), data, runs, cache, CPU)
        assert torch.load(path, weights_only=True)["step"] == 3
        train(with_seconds(recipe, 5), data, runs, cache, CPU)
    resumed = torch.load(path, weights_only=True)
    assert (resumed["step"], resumed["elapsed_s"]) == (5, 5.0)
    assert torch.equal(resumed["anchors"], state["anchors"])
    steps = [record.getMessage() for record in caplog.records if record.getMessage().startswith("step")]
    assert [line.split(",")[0] for line in steps] == ["step 2", "step 4"]
    assert all("foreground" in line and "box" in line for line in steps)


@pytest.mark.usefixtures("clock")
def test_a_resumed_training_draws_new_crops(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[tuple[int, ...]] = []

    class Recorded(CropStream):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            seeds.append(self.seed)

    monkeypatch.setattr(train_module, "CropStream", Recorded)
    data = write_data(tmp_path / "data")
    for seconds in (1, 2):
        train(with_seconds(recipe, seconds), data, tmp_path / "runs", tmp_path / "cache", CPU)
    assert seeds == [(recipe.schedule.seed, 0), (recipe.schedule.seed, 1)]


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_the_seed_decides_the_trained_weights(recipe: Recipe, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    weights = []
    for folder, seed in (("one", 1), ("again", 1), ("other", 2)):
        seeded = replace(recipe, schedule=replace(recipe.schedule, seed=seed))
        path = train(with_seconds(seeded, 1), data, tmp_path / folder, tmp_path / "cache", CPU)
        weights.append(torch.load(path, weights_only=True)["network"])
    one, again, other = weights
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["stem.0.weight"], other["stem.0.weight"])


@pytest.mark.usefixtures("clock", "recipe")
def test_the_command_trains_for_the_hours_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "data")
    arguments = ["tiny", "--data", str(data), "--hours", str(1.5 / 3600), "--device", "cpu"]
    folders = ["--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["train", *arguments, *folders])
    main()
    assert torch.load(checkpoint_path(tmp_path / "runs", "tiny"), weights_only=True)["step"] == 2


@pytest.mark.usefixtures("clock", "recipe")
def test_the_command_trains_for_the_steps_set_whatever_the_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data")
    arguments = ["tiny", "--data", str(data), "--set", "schedule.steps=3", "--device", "cpu"]
    folders = ["--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["train", *arguments, *folders, "--set", "schedule.hours=0.0"])
    main()
    assert torch.load(checkpoint_path(tmp_path / "runs", "tiny"), weights_only=True)["step"] == 3


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 1), (8, 7), (128, MAX_WORKERS)])
def test_a_gpu_gets_as_many_workers_as_the_machine_has_threads_to_spare(
    threads: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "available_threads", lambda: threads)
    assert worker_count(torch.device("cuda")) == workers
    assert worker_count(CPU) == 1


@pytest.mark.usefixtures("clock")
def test_an_interrupted_training_keeps_its_steps(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = Training.update

    def interrupt_the_third(
        state: Training, batch: Batch, rate: float
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        if state.step == 2:
            raise KeyboardInterrupt
        return update(state, batch, rate)

    monkeypatch.setattr(Training, "update", interrupt_the_third)
    run_command(monkeypatch, tmp_path, "tiny", data=write_data(tmp_path / "data"), code=130)
    assert capsys.readouterr().err.endswith("python -m training.train: interrupted\n")
    kept = torch.load(checkpoint_path(tmp_path / "runs", recipe.name), weights_only=True)
    assert (kept["step"], kept["elapsed_s"]) == (2, 2.0)


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("other", "data", "no recipe 'other'"),
        ("flows", "data", "'flows' starts from 'tiny': train that first"),
        ("tiny", "nowhere", "nowhere/images is not a folder"),
        ("tiny", "empty", "empty/images holds no image"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    name: str,
    data: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_data(tmp_path / "data")
    (tmp_path / "empty" / "images").mkdir(parents=True)
    run_command(monkeypatch, tmp_path, name, data=tmp_path / data, code=2)
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("python -m training.train: error: ")
    assert complaint in sentence
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("device", "complaint"), [("tpu", "'tpu' is unknown"), ("cuda:99", "'cuda:99' is not there: torch finds")]
)
def test_a_device_that_is_not_there_is_refused(
    device: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(monkeypatch, tmp_path, "tiny", "--device", device, data=tmp_path, code=2)
    assert complaint in capsys.readouterr().err


def test_a_fine_tune_keeps_its_own_start_for_outputs_that_its_baseline_lacks(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(recipe, pixel_channels=("foreground", "energy"))
    start(plain, tmp_path / "runs").save()
    monkeypatch.setattr(state_module, "read_recipe", lambda name: plain)
    tuned = Training(read_recipe("flows"), tmp_path / "runs", CPU)
    parent = torch.load(checkpoint_path(tmp_path / "runs", "tiny"), weights_only=True)["average"]
    weights = tuned.network.state_dict()
    assert torch.equal(weights["pixels.weight"][0], parent["pixels.weight"][0])
    assert weights["pixels.weight"][1:].std() > 0
    assert torch.equal(weights["stem.0.weight"], parent["stem.0.weight"])


@pytest.mark.parametrize(
    ("flags", "half"),
    [("avx2 avx512f avx512_vnni", False), ("avx512f avx512_bf16", True), ("avx512f amx_bf16 amx_tile", True)],
)
def test_processors_that_do_not_multiply_bfloat16_train_in_float32(tmp_path: Path, flags: str, half: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n", encoding="utf-8")
    assert computes_bfloat16(CPU, tmp_path / "cpuinfo") == half
    assert computes_bfloat16(torch.device("cuda"), tmp_path / "missing")
    assert not computes_bfloat16(CPU, tmp_path / "missing")


def test_a_start_on_another_body_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    start(recipe, tmp_path / "runs").save()
    text = "[network]\nkind = 'hover'\nbody = 'convnext'\nwidth = 0.125\nstart_from = 'tiny'\n"
    (tmp_path / "other.toml").write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=r"'other' \(ConvNeXt-UNet body.*cannot start from 'tiny' \(AWF body"):
        Training(read_recipe("other"), tmp_path / "runs", CPU)


@pytest.mark.parametrize("stored", ["checkpoint", "exported"])
def test_a_wider_recipe_starts_with_the_answers_of_its_parent(recipe: Recipe, tmp_path: Path, stored: str) -> None:
    parent = start(recipe, tmp_path / "runs")
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    parent.save()
    if stored == "exported":
        export(recipe, runs, write_data(tmp_path / "val"), weights)
        runs = tmp_path / "others"
    text = FLOWS if stored == "checkpoint" else BASELINE.replace("[network]", '[network]\nstart_from = "tiny"')
    (tmp_path / "wide.toml").write_text(text.replace("width = 0.125", "width = 0.25"), encoding="utf-8")
    tuned = Training(read_recipe("wide"), runs, CPU, weights)
    batch = draw_batch(tuned.recipe, tmp_path)
    images = batch.images.to(memory_format=torch.channels_last)
    if stored == "exported":
        tuned.unfold([images])
    with torch.no_grad():
        common = [0, 2] if stored == "checkpoint" else [0, 1]
        expected = parent.average.eval()(images)[1][:, common]
        answers = [network.eval()(images)[1][:, :2] for network in (tuned.network, tuned.average)]
    for answer in answers:
        # the exported file holds fp16
        assert float((answer - expected).abs().max()) < 0.02 * float(expected.abs().max())
    tuned.network.train()
    losses = [sum(tuned.update(batch, 1e-2)[0].values()) for _ in range(10)]
    assert losses[-1] < 0.9 * losses[0]


def test_other_networks_are_not_widened(recipe: Recipe, tmp_path: Path) -> None:
    start(recipe, tmp_path / "runs").save()
    text = BASELINE.replace("[network]", '[network]\nkind = "cellpose"\nbody = "awf"\nstart_from = "tiny"')
    lines = [line for line in text.splitlines() if not line.startswith("pixel_channels")]
    (tmp_path / "wide.toml").write_text("\n".join(lines).replace("0.125", "0.25"), encoding="utf-8")
    with pytest.raises(
        OptionError, match=r"'wide' \(AWF body, width 0.25\) cannot start from 'tiny' \(AWF body, width 0.125\)"
    ):
        Training(read_recipe("wide"), tmp_path / "runs", CPU)


@pytest.mark.parametrize("kind", ["stardist", "hover", "maunet"])
def test_another_kind_starts_from_the_body_of_its_parent(kind: str, recipe: Recipe, tmp_path: Path) -> None:
    parent = start(recipe, tmp_path / "runs")
    parent.save()
    text = BASELINE.replace("[network]", f'[network]\nkind = "{kind}"\nstart_from = "tiny"')
    lines = [line for line in text.splitlines() if not line.startswith("pixel_channels")]
    (tmp_path / "other.toml").write_text("\n".join(lines), encoding="utf-8")
    tuned = Training(read_recipe("other"), tmp_path / "runs", CPU)
    expected = parent.average.state_dict()
    for state in (tuned.network.state_dict(), tuned.average.state_dict()):
        assert torch.equal(state["pixels.weight"][0], expected["pixels.weight"][0])
        body = [name for name in expected if not name.startswith(("pixels", "detection"))]
        assert all(torch.equal(state[name], expected[name]) for name in body)
        assert all(is_head(name) for name in state if name not in expected)
    tuned.network.train()
    batch = draw_batch(tuned.recipe, tmp_path)
    losses = [sum(tuned.update(batch, 1e-2)[0].values()) for _ in range(10)]
    assert losses[-1] < 0.9 * losses[0]


def test_two_networks_that_teach_each_other_train_resume_and_leave_one(recipe: Recipe, tmp_path: Path) -> None:
    text = (
        BASELINE.replace("[network]", '[network]\nkind = "maunet"\nbody = "residual"') + "[loss]\nconsistency = 1.5\n"
    )
    lines = [line for line in text.splitlines() if not line.startswith("pixel_channels")]
    (tmp_path / "twins.toml").write_text("\n".join(lines), encoding="utf-8")
    twins = read_recipe("twins")
    state = start(twins, tmp_path / "runs")
    batch = draw_batch(twins, tmp_path)
    terms, _ = state.update(batch, 1e-3)
    assert set(terms) == {"dice", "focal", "distance", "consistency"}
    state.save()
    saved, resumed = weights_of(state), weights_of(Training(twins, tmp_path / "runs", CPU))
    assert any(name.startswith("network.twin.") for name in saved)
    assert all(torch.equal(resumed[name], value) for name, value in saved.items())
    model = load_exported(twins, tmp_path / "runs")
    assert not any("twin" in name for name, _ in model.named_parameters())
    # what learned with a twin can be the start of what learns alone
    (tmp_path / "alone.toml").write_text(
        "\n".join(lines).replace("consistency = 1.5", "").replace("[schedule]", 'start_from = "twins"\n[schedule]'),
        encoding="utf-8",
    )
    alone = Training(read_recipe("alone"), tmp_path / "runs", CPU).network.state_dict()
    assert torch.equal(alone["stem.0.weight"], saved["average.stem.0.weight"])
    assert not any(name.startswith("twin") for name in alone)
