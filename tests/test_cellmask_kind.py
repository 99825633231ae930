"""Training of MDE-CellMask: every body learns, what is exported, recipes, and its parts in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from mosaicell.decoders.cellmask import MASK_SIDE
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import PART, file_sha256, read_manifest
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training import parts
from mosaicell.training.export import Exported, export_onnx, fold_batch_norm, load_exported, write_card
from mosaicell.training.kinds.cellmask import KIND, MASKS
from mosaicell.training.mask_losses import MaskNetwork, draw_crops
from mosaicell.training.networks.awf import AWF
from mosaicell.training.networks.rcnn import RCNN, STRIDES
from mosaicell.training.networks.teacher import TaughtRCNN
from mosaicell.training.onnx_file import round_weights
from mosaicell.training.parts import Masks, export_part, make_heads, make_masks, write_part
from mosaicell.training.recipe import Recipe, read_recipe
from mosaicell.training.restart import find_body, is_head, load_exported_weights
from mosaicell.training.sampling import join_crops
from mosaicell.training.state import Training
from tests.test_roi_align import draw_boxes

ANCHORS = torch.tensor([[8.0 * 1.3**k, 9.0 * 1.3**k] for k in range(12)])
DETECTORS = [body for body in KIND.bodies if body not in MASKS]
RECIPES = ("swin", "resnext", "resnest", "teacher", "masks", "cascade", "faster", "crops")
UPERNET, AWF_MASKS = MASKS


def make_recipe(body: str, folder: Path, *settings: str) -> Recipe:
    path = folder / "tiny.toml"
    path.write_text(f"[network]\nkind = 'cellmask'\nbody = '{body}'\nwidth = 0.25\n", encoding="utf-8")
    return read_recipe(str(path), settings)


def draw_batch(recipe: Recipe, size: int = 64) -> tuple[Tensor, dict[str, Tensor]]:
    """Return four crops that show their foreground, and their targets: cells, the same mirrored, none, cells."""
    labels = np.zeros((size, size), np.uint16)
    labels[5:30, 8:28] = 1
    labels[12:50, 30:55] = 2
    labels[44:60, 4:20] = 3
    crops = [recipe.make_targets(crop) for crop in (labels, labels[:, ::-1], np.zeros_like(labels), labels[::-1])]
    targets = {name: join_crops([crop[name] for crop in crops]) for name in crops[0]}
    return targets["pixels"].expand(-1, 3, -1, -1).contiguous(), targets


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "setting"),
    [
        ("resnest", ""),
        ("resnext-one-stage", "loss.unlabelled = 2.0"),
        (UPERNET, "loss.crops = 6"),
        (AWF_MASKS, "loss.crops = 6"),
    ],
)
def test_a_training_step_lowers_the_losses(body: str, setting: str, tmp_path: Path) -> None:
    recipe = make_recipe(body, tmp_path, *([setting] if setting else []))
    torch.manual_seed(5)
    network = KIND.build_network(recipe)
    images, targets = draw_batch(recipe)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    totals = []
    for _ in range(14):
        terms = KIND.losses(network(images), targets, recipe, ANCHORS)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
        assert np.isfinite(totals[-1])
    # crops of 64 px of a body that begins at random are learned slowly
    assert np.mean(totals[-5:]) < (0.96 if body == AWF_MASKS else 0.85) * np.mean(totals[:2])
    assert KIND.crop_losses(network(images), targets, recipe).shape == (4,)


@pytest.mark.parametrize("body", DETECTORS)
def test_detectors_name_their_losses(body: str, tmp_path: Path) -> None:
    recipe = make_recipe(body, tmp_path)
    torch.manual_seed(6)
    images, targets = draw_batch(recipe)
    terms = KIND.losses(KIND.build_network(recipe)(images), targets, recipe, ANCHORS)
    assert set(terms) == {"objectness", "anchor_box", "classification", "box", "foreground"}


@pytest.mark.parametrize(
    ("body", "setting"),
    [
        ("swin", "loss.unlabelled = 2.0"),
        ("resnest", "loss.box = 1.0"),
        (UPERNET, "loss.crops = 4"),
        (AWF_MASKS, "loss.crops = 4"),
    ],
)
def test_networks_learn_in_half_precision(body: str, setting: str, tmp_path: Path) -> None:
    """As `Training.update` asks them: the answer in bfloat16, the losses not."""
    recipe = make_recipe(body, tmp_path, setting)
    torch.manual_seed(10)
    network = KIND.build_network(recipe)
    images, targets = draw_batch(recipe)
    with torch.autocast("cpu", torch.bfloat16):
        answer = network(images)
    total = torch.stack(list(KIND.losses(answer, targets, recipe, ANCHORS).values())).sum()
    total.backward()
    assert torch.isfinite(total)
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_crop_shows_one_cell_and_its_mask(tmp_path: Path) -> None:
    recipe = make_recipe(UPERNET, tmp_path)
    images, targets = draw_batch(recipe)
    torch.manual_seed(7)
    crops, masks = draw_crops(images, targets, 100, 0.0, 128)
    assert len(crops) == len(masks) == len(targets["boxes"]) == 9
    # these cells are rectangles: each fills its own box, but for the middles of the corners
    assert masks.mean() > 0.99
    torch.testing.assert_close((crops[:, :1] > 0.5).float(), masks)
    _, moved = draw_crops(images, targets, 100, 0.1, 64)
    assert 0.7 < float(moved.mean()) < 1
    few, _ = draw_crops(images, targets, 4, 0.0, 64)
    assert len(few) == 4


@pytest.mark.parametrize("body", MASKS)
def test_crops_without_cells_teach_no_masks(body: str, tmp_path: Path) -> None:
    recipe = make_recipe(body, tmp_path)
    network = KIND.build_network(recipe)
    target = recipe.make_targets(np.zeros((64, 64), np.uint16))
    targets = {name: join_crops([values]) for name, values in target.items()}
    terms = KIND.losses(network(torch.rand(1, 3, 64, 64)), targets, recipe, ANCHORS)
    torch.stack(list(terms.values())).sum().backward()
    assert {term.item() for term in terms.values()} == {0}


def test_a_teacher_is_left_behind(tmp_path: Path) -> None:
    recipe = make_recipe("resnext-one-stage", tmp_path, "loss.unlabelled = 2.0")
    network = KIND.build_network(recipe).eval()
    assert isinstance(network, TaughtRCNN)
    KIND.make_head(network, recipe, ANCHORS)
    plain = make_recipe("resnext-one-stage", tmp_path).build_network()
    assert {n: p.shape for n, p in network.named_parameters()} == {n: p.shape for n, p in plain.named_parameters()}
    with pytest.raises(OptionError, match="2 crops or more"):
        make_recipe("resnext-one-stage", tmp_path, "loss.unlabelled = 2.0", "schedule.batch_size = 1").build_network()


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_make_networks(name: str) -> None:
    recipe = read_recipe(f"cellmask-{name}")
    with torch.device("meta"):
        network = recipe.build_network()
    assert isinstance(network, TaughtRCNN) == (name == "teacher")
    assert (recipe.anchors, KIND.missing(recipe)) == (12, [])
    assert recipe.describe_body()


def rounded(body: str, folder: Path) -> torch.nn.Module:
    torch.manual_seed(8)
    network = make_recipe(body, folder).build_network().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
    fold_batch_norm(network)
    round_weights(network)
    return network


@pytest.mark.parametrize("body", DETECTORS)
def test_detectors_in_onnx_answer_as_in_torch(body: str, tmp_path: Path) -> None:
    """Features and proposals of any tile by one graph, and by the other one heads for any number of boxes."""
    recipe, network = make_recipe(body, tmp_path), rounded(body, tmp_path)
    assert isinstance(network, RCNN)
    model = Exported(network, recipe, ANCHORS, "cellmask").eval()
    export_onnx(model, tmp_path / "features.onnx")
    write_part(*make_heads(network), tmp_path / "heads.onnx")
    features = onnxruntime.InferenceSession(tmp_path / "features.onnx")
    heads = onnxruntime.InferenceSession(tmp_path / "heads.onnx")
    for height, width, count in ((64, 96, 20), (128, 64, 1), (96, 160, 0)):
        image = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = model(image)
        answers = features.run(None, {"image": image.numpy()})
        assert len(answers) == len(KIND.outputs)
        for answer, values in zip(answers, expected, strict=True):
            np.testing.assert_allclose(answer, values.numpy(), atol=2e-3)
        boxes = draw_boxes(count, 1, height, width).clamp(min=0)
        inputs = {f"features_{stride}": level for stride, level in zip(STRIDES, answers[2:], strict=True)}
        refined, scores = heads.run(None, inputs | {"boxes": boxes.numpy()})
        with torch.no_grad():
            levels = [torch.from_numpy(level) for level in answers[2:]]
            expected_boxes, expected_scores = network.refine(levels, boxes)
        np.testing.assert_allclose(refined, expected_boxes.numpy(), atol=0.02)
        np.testing.assert_allclose(scores, expected_scores.numpy(), atol=1e-3)


@pytest.mark.parametrize("body", MASKS)
def test_masks_in_onnx_answer_as_in_torch(body: str, tmp_path: Path) -> None:
    network = rounded(body, tmp_path)
    assert isinstance(network, MaskNetwork)
    write_part(*make_masks(network.masks), tmp_path / "masks.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "masks.onnx")
    for height, width, count in ((64, 96, 5), (96, 64, 1)):
        image, boxes = torch.rand(1, 3, height, width), draw_boxes(count, 2, height, width)
        (masks,) = session.run(None, {"image": image.numpy(), "boxes": boxes.numpy()})
        assert masks.shape == (count, MASK_SIDE, MASK_SIDE)

        with torch.no_grad():
            np.testing.assert_allclose(masks, Masks(network.masks).eval()(image, boxes)[0].numpy(), atol=2e-3)


@pytest.mark.parametrize(
    ("body", "name"), [("resnest", "tiny-heads.onnx"), (UPERNET, "tiny.onnx"), (AWF_MASKS, "tiny.onnx")]
)
def test_a_trained_recipe_is_exported_in_parts(body: str, name: str, tmp_path: Path) -> None:
    recipe = make_recipe(body, tmp_path)
    torch.manual_seed(9)
    state = Training(recipe, tmp_path / "runs", torch.device("cpu"))
    state.anchors = ANCHORS.numpy()
    state.save()
    path = export_part(recipe, tmp_path / "runs", tmp_path / "weights")
    assert path == tmp_path / "weights" / name
    inputs = [given.name for given in onnxruntime.InferenceSession(path).get_inputs()]
    assert inputs[-1] == "boxes"
    (card,) = read_manifest(path.parent).values()
    assert (card["kind"], card["file"], card["sha256"]) == (PART, path.name, file_sha256(path))
    if body in MASKS:
        with pytest.raises(OptionError, match=r"training\.parts tiny"):
            load_exported(recipe, tmp_path / "runs")


def test_a_new_card_names_the_parts_and_an_old_one_keeps_its_choice(tmp_path: Path) -> None:
    recipe = read_recipe("cellmask-resnest")
    made = KIND.card_entries(recipe, {})["detection"]
    assert (made["heads"], made["masks"], made["weight"]) == ("cellmask-resnest-heads", "cellmask-masks", 3.0)
    made = KIND.card_entries(read_recipe("cellmask-faster"), {})["detection"]
    assert (made["masks"], made["weight"]) == ("cellmask-crops", 2.0)
    assert KIND.card_entries(recipe, {"detection": {"weight": 9}}) == {"detection": {"weight": 9}}


def test_only_this_kind_has_parts(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is a maunet"):
        export_part(read_recipe("maunet-awf"), tmp_path, tmp_path)


def test_a_part_that_disagrees_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(UPERNET, tmp_path)
    state = Training(recipe, tmp_path / "runs", torch.device("cpu"))
    state.anchors = ANCHORS.numpy()
    state.save()
    monkeypatch.setattr(parts, "part_difference", lambda *_: float("nan"))
    with pytest.raises(RuntimeError, match="differ by nan"):
        export_part(recipe, tmp_path / "runs", tmp_path / "weights")
    assert not list((tmp_path / "weights").iterdir())


def test_a_training_starts_from_the_files_of_an_exported_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector takes body, proposals and heads; the network of masks all that it has."""
    monkeypatch.setattr("mosaicell.training.recipe.RECIPE_FOLDER", tmp_path)
    monkeypatch.setattr("mosaicell.training.kinds.cellmask.AWF_MASKS_MODEL", "masks")
    weights = tmp_path / "weights"
    for name, body in (("masks", AWF_MASKS), ("boxes", "awf-cascade")):
        text = f"[network]\nkind = 'cellmask'\nbody = '{body}'\nwidth = 0.25\n"
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        recipe = read_recipe(name)
        torch.manual_seed(11)
        state = Training(recipe, tmp_path / "runs", torch.device("cpu"))
        with torch.no_grad():
            for module in state.average.modules():
                for values in () if isinstance(module, torch.nn.BatchNorm2d) else module.parameters(recurse=False):
                    # equal tensors are stored once, under one name
                    values.add_(0.01 * torch.randn_like(values))
        state.anchors = ANCHORS.numpy()
        state.save()
        export_part(recipe, tmp_path / "runs", weights)
        if body not in MASKS:
            model = load_exported(recipe, tmp_path / "runs")
            export_onnx(model, weights / f"{name}.onnx")
            write_card(recipe, model, weights / f"{name}.onnx", weights, 1, 0.1)
        (tmp_path / "again.toml").write_text(text + f"start_from = '{name}'\n", encoding="utf-8")
        again = Training(read_recipe("again"), tmp_path / "new", torch.device("cpu"), weights)
        if body not in MASKS:
            # the boxes that it has learned are corrections of these
            assert again.anchors is not None
            np.testing.assert_allclose(again.anchors, ANCHORS)
        else:
            assert again.anchors is None
        theirs = dict(state.average.named_parameters())
        for key, values in again.network.named_parameters():
            if values.ndim > 1:
                torch.testing.assert_close(values, theirs[key], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ["faster", "cascade", "crops"])
def test_a_model_of_another_kind_lends_its_body(name: str, tmp_path: Path) -> None:
    state = Training(read_recipe(f"cellmask-{name}"), tmp_path, torch.device("cpu"))
    grey = AWF(2, 15, 0.5)
    load_exported_weights(grey, WEIGHTS_FOLDER / "awf-grey.onnx", ("foreground", "energy"), ("foreground", "energy"))
    body = find_body(state.network).state_dict()
    assert {"stem.0.weight", "decode1.join.0.weight"} <= set(body)
    lent = {key: values for key, values in grey.state_dict().items() if key in body and not is_head(key)}
    assert set(body) - set(lent) == ({"pixels.weight", "pixels.bias"} if name == "crops" else set())
    for key, values in lent.items():
        torch.testing.assert_close(body[key], values)
    # those of the grey model are three, a detector has four times as many
    assert state.anchors is None
