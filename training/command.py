"""What the commands of this folder share: which recipe, and how they end when they cannot do what was asked."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from mosaicell.errors import OptionError


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which recipe, and what is changed in it, as `recipe.read_recipe` takes them."""
    parser.add_argument("recipe", help="name in training/recipes or a .toml file")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--name", default="", help="of the changed recipe (default: the recipe's)")


@contextmanager
def ends_in_one_sentence(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Turn a known mistake and Ctrl-C into one sentence on stderr; other errors keep their traceback.

    Parameters
    ----------
    parser
        Names the command in the sentence.

    Raises
    ------
    SystemExit
        With 2 for an `OptionError`, with 130 for an interruption, as predict.py ends.
    """
    try:
        yield
    except OptionError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
