"""Segment every cell in microscopy images: python predict.py -i IN -o OUT."""

from __future__ import annotations

from mosaicell.command_line import build_parser, main, start

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    start()
