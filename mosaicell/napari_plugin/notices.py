"""What goes wrong, as a notification of one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error

from mosaicell.errors import OptionError


@contextmanager
def notify_of_errors(subject: str) -> Iterator[None]:
    """Show what cannot be done as a notification, from any thread; errors of other kinds go on.

    Parameters
    ----------
    subject
        Name of what it is about, before the sentence; those about an option or a folder have a subject.
    """
    try:
        yield
    except OptionError as error:
        show_error(str(error))
    except (ValueError, OSError) as error:
        show_error(f"{subject}: {error}")
