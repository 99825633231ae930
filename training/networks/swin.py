"""Swin transformer as an encoder of features (Liu et al. 2021): attention in windows that shift from block to block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Swin-T: channels and blocks of the four stages, and channels of one attention head
CHANNELS, DEPTHS, HEAD_CHANNELS = (96, 192, 384, 768), (2, 2, 6, 2), 32
WINDOW = 7
#: pixels between the features of the first stage
PATCH_PX = 4
EXPANSION = 4
#: added to the attention between pixels that only the shift has brought into one window
APART = -100.0
#: standard deviation of the initial weights, cut at two of it
WEIGHT_STD = 0.02


class WindowAttention(nn.Module):
    """Attention among the pixels of each window, with a learned bias for each of their distances (equation 4)."""

    index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("index", _index_distances(window), persistent=False)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        """Map windows (n, p, c) of p pixels to the same shape; `apart` (m, p, p) is added in each of m windows."""
        count, pixels, channels = x.shape
        parts = self.project_in(x).reshape(count, pixels, 3, self.heads, channels // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query * (channels // self.heads) ** -0.5) @ key.transpose(-2, -1)
        scores = scores + self.bias[self.index].permute(2, 0, 1)
        if apart is not None:
            windows = apart.shape[0]
            scores = scores.reshape(-1, windows, self.heads, pixels, pixels) + apart[:, None]
            scores = scores.reshape(-1, self.heads, pixels, pixels)
        return self.project_out((scores.softmax(-1) @ value).transpose(1, 2).reshape(count, pixels, channels))


class SwinBlock(nn.Module):
    """Attention in windows and two linear layers, each after a layer normalisation and beside a shortcut.

    Parameters
    ----------
    channels, heads, window
        Of the attention.
    shift
        Pixels by which the windows lie further down and to the right than those of the block before, 0 for none.
    drop
        Share of the images of a batch for which the block is left out in training.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop = window, shift, drop
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window)
        self.expand = nn.Linear(channels, EXPANSION * channels)
        self.contract = nn.Linear(EXPANSION * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, h, w, c) to the same shape."""
        x = x + self._leave_out(self._attend(self.norm1(x)))
        return x + self._leave_out(self.contract(functional.gelu(self.expand(self.norm2(x)))))

    def _attend(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        side = self.window
        x = functional.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        _, full_height, full_width, _ = x.shape
        apart = None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
            apart = self._separate(full_height, full_width, x)
        windows = _cut(x, side)
        windows = self.attention(windows, apart)
        x = windows.reshape(-1, full_height // side, full_width // side, side, side, channels)
        x = x.transpose(2, 3).reshape(-1, full_height, full_width, channels)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width]

    def _separate(self, height: int, width: int, like: Tensor) -> Tensor:
        """Return what is added to the scores (m, p, p) of each window: pixels see those of their own region alone."""
        regions = []
        for length in (height, width):
            place = torch.arange(length, device=like.device)
            regions.append((place >= length - self.window).long() + (place >= length - self.shift).long())
        region = 3 * regions[0][:, None] + regions[1]
        inside = _cut(region[None, :, :, None], self.window)[..., 0]
        return (inside[:, None] != inside[:, :, None]).to(like.dtype) * APART

    def _leave_out(self, x: Tensor) -> Tensor:
        if not (self.training and self.drop):
            return x
        kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.drop
        return x * kept / (1 - self.drop)


class PatchMerging(nn.Module):
    """Squares of four pixels become one, with twice the channels."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, h, w, c) to (b, h/2, w/2, outputs)."""
        corners = [x[:, y::2, x_::2] for x_ in (0, 1) for y in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, -1)))


class SwinEncoder(nn.Module):
    """Four stages of blocks; the answer of each is normalised.

    Parameters
    ----------
    channels, depths
        Of the four stages.
    head_channels
        Channels of an attention head, which divide those of each stage.
    window
        Side of a window, in features.
    drop
        Share of the images for which the last block is left out in training; earlier ones less, in even steps.
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        depths: Sequence[int] = DEPTHS,
        head_channels: int = HEAD_CHANNELS,
        window: int = WINDOW,
        drop: float = 0.2,
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.embed = nn.Conv2d(3, channels[0], PATCH_PX, PATCH_PX)
        self.embed_norm = nn.LayerNorm(channels[0])
        self.merges, self.stages, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        rates = torch.linspace(0, drop, sum(depths), device="cpu").tolist()
        for level, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            self.merges.append(PatchMerging(channels[level - 1], width) if level else nn.Identity())
            blocks = (
                SwinBlock(width, width // head_channels, window, window // 2 * (block % 2), rates.pop(0))
                for block in range(depth)
            )
            self.stages.append(nn.Sequential(*blocks))
            self.norms.append(nn.LayerNorm(width))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=WEIGHT_STD, a=-2 * WEIGHT_STD, b=2 * WEIGHT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, WindowAttention):
                nn.init.trunc_normal_(module.bias, std=WEIGHT_STD, a=-2 * WEIGHT_STD, b=2 * WEIGHT_STD)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (b, 3, h, w) to features at 1/4, 1/8, 1/16 and 1/32 of the size; h and w are multiples of 32."""
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))
        levels = []
        for merge, stage, norm in zip(self.merges, self.stages, self.norms, strict=True):
            x = stage(merge(x))
            levels.append(norm(x).permute(0, 3, 1, 2))
        return levels


def _cut(x: Tensor, side: int) -> Tensor:
    """Cut (b, h, w, c) into windows (n, side * side, c), row by row."""
    _, height, width, channels = x.shape
    x = x.reshape(-1, height // side, side, width // side, side, channels)
    return x.transpose(2, 3).reshape(-1, side * side, channels)


def _index_distances(window: int) -> Tensor:
    """Return where in the table of biases the distance of each two pixels of a window stands, (p, p)."""
    places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    apart = places[:, :, None] - places[:, None] + window - 1
    return apart[0] * (2 * window - 1) + apart[1]
