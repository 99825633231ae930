"""What was decided for a user who did not say which picture of a file he wants, or the refusal to decide."""

from __future__ import annotations

from mosaicell.errors import ImageError


class Decisions:
    """The decisions about a file.

    Parameters
    ----------
    strict
        Refuse to take any.

    Attributes
    ----------
    said
        By what was decided, "scene", "pages", "t", "z" or "channels": what there is, and what is taken of it.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self.said: dict[str, str] = {}
        self._options: dict[str, str] = {}

    def refuse(self, options: str, there: str) -> None:
        """Refuse the file if nothing is to be decided.

        Parameters
        ----------
        options
            With which the user decides, as the sentence is to name them.
        there
            What there is to choose from.

        Raises
        ------
        ImageError
            If so.
        """
        if self._strict:
            raise ImageError(f"has {there}: say which with {options} (--strict)")

    def take(self, subject: str, options: str, there: str, taken: str) -> None:
        """Note a decision, unless `refuse` does not allow it.

        Parameters
        ----------
        subject
            A key of `said`.
        options, there
            As in `refuse`.
        taken
            What is taken, and why.
        """
        self.refuse(options, there)
        self.said[subject] = f"{self.said[subject]}; {taken}" if subject in self.said else f"{there}: {taken}"
        self._options[subject] = options

    def sentences(self) -> list[str]:
        """Return all that was decided, each with the options that decide otherwise."""
        return [f"{said} ({self._options[subject]})" for subject, said in self.said.items()]
