"""Which of several pictures in a file a user asks for; what is not asked for, `mosaicell.pictures.defaults` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mosaicell.errors import ImageError

#: what `--z`, `--t` and `--scene` may be beside a number from 1
PLANE_RULES = ("first", "focus", "max", "mean", "all")
TIME_RULES = ("all",)
SCENE_RULES = ("largest",)
#: channels that are seen together at most
MAX_JOINED = 3


@dataclass(frozen=True)
class Selection:
    """The choices of a user.

    Attributes
    ----------
    channels
        Numbers from 1 or names, in the order red, green, blue, or one to be seen as grey; several may stand in one
        text, between commas. Without any the program chooses.
    z, time, scene
        A number from 1, one of `PLANE_RULES`, `TIME_RULES` or `SCENE_RULES`, or None: the program chooses.
    strict
        Refuse a file where the program would have to choose.
    """

    channels: tuple[str, ...] = ()
    z: int | str | None = None
    time: int | str | None = None
    scene: int | str | None = None
    strict: bool = False


def read_choice(text: str, rules: tuple[str, ...]) -> int | str:
    """Read a number from 1 or one of the rules.

    Raises
    ------
    ValueError
        With the sentence to say.
    """
    if text in rules:
        return text
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise ValueError(f"{text!r} is neither a number from 1 nor one of {', '.join(rules)}")


def find_channels(asked: tuple[str, ...], names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers, from 0, of the channels that a user asks for.

    Parameters
    ----------
    asked
        As in `Selection`.
    names
        Of the channels that there are, "" for one without a name. Case does not matter.

    Raises
    ------
    ImageError
        If there is no such channel, or if there are more than can be seen together.
    """
    spelt = [name.casefold() for name in names]

    def find(text: str) -> int | None:
        if text.isdecimal() and 1 <= int(text) <= len(names):
            return int(text) - 1
        return spelt.index(text.casefold()) if text and text.casefold() in spelt else None

    found: list[int] = []
    for text in asked:
        # a name may hold a comma itself
        for part in [text.strip()] if find(text.strip()) is not None else text.split(","):
            number = find(part.strip())
            if number is None:
                raise ImageError(f"has no channel {part.strip()!r}: it has {list_channels(names)} (--channels)")
            found.append(number)
    if len(found) > MAX_JOINED:
        raise ImageError(f"can show {MAX_JOINED} channels at once, and {len(found)} are asked for (--channels)")
    return tuple(found)


def list_channels(names: Sequence[str]) -> str:
    """Say how many channels there are, and what they are called."""
    if len(names) == 1:
        return f"1 channel ({names[0]})" if names[0] else "1 channel"
    listed = ", ".join(f"{number} {name}".strip() for number, name in enumerate(names, 1))
    return f"{len(names)} channels ({listed})" if any(names) else f"{len(names)} channels without names"
