"""Classifiers of whole images: a small network that learns on one core, and the ResNet18 of the sribdmed paper.

Source: sribdmed paper, section 2.1 (step 3) and table 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mosaicell.training.networks.awf import ConvBlock

#: side of the square input in px (paper section 2.1)
INPUT_PX = 224
#: the paper's four classes
CLASSES = 4


class ImageClassifier(nn.Module):
    """Strided convolutions, the mean and the largest value of each feature, one linear layer.

    The largest value sees a single large cell among small ones, the mean sees texture and background.

    Parameters
    ----------
    classes
        Number of outputs.
    width
        Factor of all channel numbers.
    """

    def __init__(self, classes: int = CLASSES, width: float = 1.0) -> None:
        super().__init__()
        first, second, third, last = (round(width * channels) for channels in (24, 48, 96, 128))
        self.features = nn.Sequential(
            # a stride of 4 at once takes a third of the time that two strides of 2 take
            ConvBlock(3, first, 5, 4),
            ConvBlock(first, second, 3, 2),
            ConvBlock(second, third, 3, 2),
            ConvBlock(third, third, 3),
            ConvBlock(third, last, 3, 2),
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * last, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) to logits (b, classes)."""
        features = self.features(images)
        return self.head(torch.cat((features.mean((2, 3)), features.amax((2, 3))), 1))


class ResNet18(nn.Module):
    """ResNet18 (He et al. 2016) with four outputs, as the paper uses it; random weights."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        inputs = 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            layers += [_ResidualBlock(inputs, outputs, stride), _ResidualBlock(outputs, outputs, 1)]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) to logits (b, classes)."""
        return self.head(self.features(images).mean((2, 3)))


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))
