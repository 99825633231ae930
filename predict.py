"""Segment every cell in microscopy images: python predict.py -i IN -o OUT."""

from __future__ import annotations

from mosaicell.command_line import main, start
from mosaicell.command_options import build_parser

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    start()
