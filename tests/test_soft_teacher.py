"""Soft Teacher: a moving average that teaches, what it is sure of, and what the student sees."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mosaicell.training.networks.detectors import compact_detector
from mosaicell.training.networks.teacher import MOMENTUM, Lesson, TaughtRCNN, change_images
from mosaicell.training.rcnn_losses import RcnnLossWeights
from mosaicell.training.soft_teacher import find_cells, measure_spread, taught_loss
from tests.test_rcnn_losses import ANCHORS, TRUTH, knowing_judge, make_answer


def make_network() -> TaughtRCNN:
    torch.manual_seed(1)
    network = compact_detector("resnext-one-stage", 0.25, network=TaughtRCNN)
    assert isinstance(network, TaughtRCNN)
    return network


def test_the_teacher_begins_as_the_student_and_follows_it() -> None:
    network, images = make_network(), torch.rand(4, 3, 64, 64)
    assert network.teacher is not None
    torch.nn.init.ones_(network.proposals.objectness.weight)
    network(images)
    taught = network.teacher.detector.proposals.objectness.weight
    assert (taught == 1).all()
    torch.nn.init.zeros_(network.proposals.objectness.weight)
    network(images)
    torch.testing.assert_close(taught, torch.full_like(taught, MOMENTUM))
    assert not any(weight.requires_grad for weight in network.teacher.parameters())


def test_a_lesson_is_about_the_second_half_alone() -> None:
    network, images = make_network(), torch.rand(4, 3, 64, 64)
    lesson = network.train()(images)
    assert isinstance(lesson, Lesson)
    assert len(lesson.student.logits) == 4
    assert len(lesson.teacher.logits) == 2
    assert network.teacher is not None
    assert not network.teacher.detector.training
    with torch.no_grad():
        expected = network.teacher.detector(images[2:])
    torch.testing.assert_close(lesson.teacher.logits, expected.logits)
    assert not lesson.teacher.logits.requires_grad
    assert not isinstance(network.eval()(images), Lesson)


def test_what_the_student_sees_differs_and_stays_an_image() -> None:
    torch.manual_seed(4)
    images = torch.rand(3, 3, 40, 50)
    changed = change_images(images)
    assert changed.shape == images.shape
    assert (changed >= 0).all()
    assert (changed <= 1).all()
    assert ((changed - images).abs().mean((1, 2, 3)) > 0.005).all()
    assert not torch.equal(change_images(images), changed)


def test_what_is_found_are_the_cells_each_once() -> None:
    found = find_cells(make_answer(knowing_judge), ANCHORS)[0]
    sure = found.boxes[found.scores > 0.9]
    assert len(sure) == 3
    for box in TRUTH[0]:
        assert (sure - box).abs().max(1).values.min() < 1e-3


def test_boxes_that_come_together_again_have_no_spread() -> None:
    torch.manual_seed(5)

    def stubborn(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(boxes), 2), torch.zeros(len(boxes), 4)

    together = measure_spread(make_answer(knowing_judge), 0, TRUTH[0])
    apart = measure_spread(make_answer(stubborn), 0, TRUTH[0])
    assert (together < 1e-3).all()
    # the jitter itself
    assert apart.tolist() == pytest.approx([0.06] * 3, rel=0.5)
    assert measure_spread(make_answer(stubborn), 0, TRUTH[1]).shape == (0,)


def judge_all(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
    """Take everything for a cell that does not move."""
    return torch.tensor([[9.0, 0.0]]).repeat(len(boxes), 1), torch.zeros(len(boxes), 4)


def make_lesson(teacher_judge: object) -> Lesson:
    """Let the student see the known image twice, the second time without labels, and the teacher that one."""
    known = make_answer(knowing_judge)

    def twice(tensor: Tensor) -> Tensor:
        return tensor[:1].repeat(2, *[1] * (tensor.ndim - 1))

    levels = [twice(level) for level in known.levels]
    student = known._replace(levels=levels, logits=twice(known.logits), codes=twice(known.codes))
    teacher = known._replace(
        levels=[level[:1] for level in levels],
        logits=known.logits[:1],
        codes=known.codes[:1],
        judge=teacher_judge,  # type: ignore[arg-type]
    )
    return Lesson(student, teacher)


def test_who_agrees_with_the_teacher_loses_nothing() -> None:
    torch.manual_seed(6)
    weights = RcnnLossWeights(unlabelled=2.0)
    terms = taught_loss(make_lesson(knowing_judge), TRUTH[:1], ANCHORS, weights)
    assert set(terms) == {
        f"{prefix}{name}"
        for prefix in ("", "taught_")
        for name in ("objectness", "anchor_box", "classification", "box")
    }
    assert max(float(term) for term in terms.values()) < 1e-4


def test_only_what_the_teacher_is_sure_of_is_a_cell() -> None:
    """A teacher that finds nothing: the student's cells cost what the teacher's background weighs."""

    def blind(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        return torch.tensor([[0.0, 9.0]]).repeat(len(boxes), 1), torch.zeros(len(boxes), 4)

    torch.manual_seed(7)
    weights = RcnnLossWeights(unlabelled=2.0)
    terms = taught_loss(make_lesson(blind), TRUTH[:1], ANCHORS, weights)
    assert float(terms["taught_classification"]) > 0.1
    assert float(terms["taught_box"]) == 0
    assert float(terms["classification"]) < 1e-4
    none = taught_loss(make_lesson(blind), TRUTH[:1], ANCHORS, RcnnLossWeights())
    assert float(none["taught_classification"]) == 0


def test_boxes_that_the_teacher_does_not_know_well_are_cells_without_a_place() -> None:
    torch.manual_seed(8)
    weights = RcnnLossWeights(unlabelled=1.0)
    terms = taught_loss(make_lesson(judge_all), TRUTH[:1], ANCHORS, weights)
    # jittered boxes stay where they are, further apart than allowed
    assert float(terms["taught_box"]) == 0
    sure = taught_loss(make_lesson(judge_all), TRUTH[:1], ANCHORS, RcnnLossWeights(unlabelled=1.0, most_spread=1.0))
    assert float(sure["taught_box"]) > 0
