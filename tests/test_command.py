"""How the training commands end: known mistakes in one sentence, unknown ones with their traceback."""

from __future__ import annotations

import argparse

import pytest

from mosaicell.errors import ImageError, OptionError
from mosaicell.training.command import ends_in_one_sentence


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (OptionError("the folder is empty"), 2, "some command: error: the folder is empty\n"),
        (KeyboardInterrupt(), 130, "some command: interrupted\n"),
    ],
)
def test_what_is_known_ends_in_one_sentence(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop, ends_in_one_sentence(argparse.ArgumentParser(prog="some command")):
        raise error
    assert stop.value.code == code
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("error", [ValueError("shapes differ"), ImageError("is empty"), OSError("disk full")])
def test_what_is_not_known_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as seen, ends_in_one_sentence(argparse.ArgumentParser()):
        raise error
    assert seen.value is error
