"""Every error that esntools raises, and the shape of its message: place, value, rule, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "EsntoolsError",
    "EsntoolsWarning",
    "FileFormatError",
    "InvalidInputError",
    "UnsupportedError",
    "nearest_name",
]


class EsntoolsError(Exception):
    """Base class of every error that esntools raises on purpose.

    Parameters
    ----------
    place : str
        Where it is wrong: an argument, a file and line, a key path.
    value : str
        What stands there.
    rule : str
        What would have been accepted.
    remedy : str, optional
        What to do about it.
    """

    def __init__(self, place: str, value: str, rule: str, remedy: str = "") -> None:
        self.place = place
        self.value = value
        self.rule = rule
        self.remedy = remedy
        super().__init__(f"{place}: {value}; {rule}" + (f"; {remedy}" if remedy else ""))


class InvalidInputError(EsntoolsError, ValueError):
    """A value given by the caller breaks a stated rule."""


class FileFormatError(EsntoolsError, ValueError):
    """A file is not what its name or header says: truncated, altered, too new, or of another kind."""


class UnsupportedError(EsntoolsError, NotImplementedError):
    """A model or expression that this map cannot represent; the message names what and why."""


class EsntoolsWarning(UserWarning):
    """Something was dropped or replaced; the result stands, the message says what was done."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the known name nearest to `name`, or the list of known names.

    >>> nearest_name("spectral_raduis", ["leak_rate", "spectral_radius"])
    "did you mean 'spectral_radius'?"
    """
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(options)
