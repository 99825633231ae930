"""Soft Teacher: a detector learns from the moving average of itself (Xu et al. 2021; MDE-CellMask, section 4.1.3)."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mosaicell.training.networks.rcnn import RCNN, Detection

#: share of its own weights that the teacher keeps in each step
MOMENTUM = 0.999
#: gain, offset and gamma of what the student sees, at most: factors and differences
MOST_GAIN, MOST_OFFSET, MOST_GAMMA = 1.5, 0.1, 1.5
#: standard deviation of added noise, at most
MOST_NOISE = 0.05
#: squares that are erased from an image at most, and their largest side as a share of it
MOST_HOLES, LARGEST_HOLE = 5, 0.2


class Lesson(NamedTuple):
    """Answers for a batch whose second half has no labels.

    Attributes
    ----------
    student
        For the whole batch, of which the second half was changed.
    teacher
        For the second half as it is, without a gradient.
    """

    student: Detection
    teacher: Detection


class Teacher(nn.Module):
    """The moving average of a detector; in the first step it is the detector itself."""

    steps: Tensor

    def __init__(self, detector: RCNN) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode whatever is asked for: what is taken for a cell must not depend on the batch."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, detector: nn.Module) -> None:
        """Move towards a detector."""
        keep = MOMENTUM if self.steps else 0.0
        current = detector.state_dict()
        for name, value in self.detector.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - keep)
            else:
                value.copy_(current[name])
        self.steps += 1

    @torch.no_grad()
    def forward(self, x: Tensor) -> Detection:
        """Map images (b, 3, h, w) to what the average says of them."""
        answer: Detection = self.detector(x)
        return answer


class TaughtRCNN(RCNN):
    """A detector with a teacher beside it, which only training asks."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.teacher: Teacher | None = Teacher(self)

    # a detector and its teacher answer a pair where another one answers once
    def forward(self, x: Tensor) -> Detection | Lesson:  # type: ignore[override]
        """Map images (b, 3, h, w) to what is learned; in train mode, the teacher has its say on the second half."""
        if not self.training or self.teacher is None:
            return super().forward(x)
        half = len(x) // 2
        self.teacher.follow(self)
        seen = torch.cat((x[:half], change_images(x[half:])))
        return Lesson(super().forward(seen), self.teacher(x[half:]))


def change_images(images: Tensor) -> Tensor:
    """Change the light of images (b, 3, h, w) in [0, 1], add noise and erase squares; boxes stay where they are."""
    count = len(images)

    def draw(most: float) -> Tensor:
        return most * (2 * torch.rand(count, 1, 1, 1, device=images.device) - 1)

    changed = images.clamp(0, 1) ** torch.pow(MOST_GAMMA, draw(1.0))
    changed = changed * torch.pow(MOST_GAIN, draw(1.0)) + draw(MOST_OFFSET)
    changed = changed + draw(MOST_NOISE) * torch.randn_like(changed)
    changed = changed.clamp(0, 1)
    for image in changed:
        for _ in range(int(torch.randint(MOST_HOLES + 1, ()))):
            sides = [int(1 + torch.rand(()) * LARGEST_HOLE * length) for length in image.shape[1:]]
            top, left = (
                int(torch.randint(length - side + 1, ())) for length, side in zip(image.shape[1:], sides, strict=True)
            )
            image[:, top : top + sides[0], left : left + sides[1]] = torch.rand((), device=images.device)
    return changed
