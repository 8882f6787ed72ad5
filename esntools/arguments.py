"""What a caller hands over, checked: real arrays, whole and positive numbers, seeds."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, RandomState
from esntools.errors import InvalidInputError

__all__ = ["no_input", "positive_number", "real_array", "real_number", "seeded", "whole_number"]


def real_array(value: ArrayLike, place: str) -> FloatArray:
    """Return the value as a float64 array, which may share its memory.

    NumPy itself would read text as numbers, None as NaN, the entries under a mask as data, and leave out
    imaginary parts.

    Examples
    --------
    >>> real_array([1, 2], "x")
    array([1., 2.])
    >>> real_array([1j], "x")
    Traceback (most recent call last):
    esntools.errors.InvalidInputError: x: complex128; must be an array of real numbers
    """
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError):
        raise InvalidInputError(place, "a ragged list", "must be an array of real numbers") from None
    if raw.dtype.kind not in "biuf":
        kind = raw.dtype.name if raw.dtype.kind != "O" else type(value).__name__
        raise InvalidInputError(place, kind, "must be an array of real numbers")
    if isinstance(value, np.ma.MaskedArray) and bool(np.any(np.ma.getmaskarray(value))):
        raise InvalidInputError(place, "masked entries", "must be an array of real numbers", "fill them")
    return np.asarray(raw, dtype=np.float64)


def whole_number(value: Any, place: str, least: int = 1, most: int | None = None) -> int:
    """Return the value as an int between `least` and `most`; a float or True is no whole number.

    Examples
    --------
    >>> whole_number(np.int64(3), "n_steps")
    3
    """
    number: int | None = None
    if not isinstance(value, bool | np.bool_):
        try:
            number = operator.index(value)
        except TypeError:
            number = None
    if number is None or number < least or (most is not None and number > most):
        rule = f"at least {least}" if most is None else f"in {least} ... {most}"
        raise InvalidInputError(place, repr(value), f"must be a whole number, {rule}")
    return number


def real_number(value: Any, place: str) -> float:
    """Return the value as a finite float."""
    number = None
    if not isinstance(value, bool | np.bool_ | str | bytes):
        try:
            number = float(value) if np.ndim(value) == 0 else None
        except (TypeError, ValueError, OverflowError):
            number = None
    if number is None or not math.isfinite(number):
        raise InvalidInputError(place, repr(value), "must be a finite number")
    return number


def positive_number(value: Any, place: str, remedy: str = "") -> float:
    """Return the value as a finite float above zero."""
    try:
        number = real_number(value, place)
    except InvalidInputError:
        number = -1.0
    # The reciprocal must exist too: rates are divided by the time of a step.
    if not (number > 0.0 and math.isfinite(1.0 / number)):
        raise InvalidInputError(place, repr(value), "must be positive and finite", remedy)
    return number


def seeded(rng: RandomState) -> np.random.Generator:
    """Return the generator that `rng` is or seeds."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise InvalidInputError(
            "rng", repr(rng), "must be a whole number that is not negative, a Generator, or None"
        ) from None


def no_input(u: ArrayLike | None, what: str) -> None:
    """Refuse an input that is given to an autonomous `what`; None and an empty one pass.

    Examples
    --------
    >>> no_input(None, "map")
    >>> no_input([0.5], "map")
    Traceback (most recent call last):
    esntools.errors.InvalidInputError: u: size 1; the map has no inputs; leave u out
    """
    if u is None:
        return
    size = real_array(u, "u").size
    if size:
        raise InvalidInputError("u", f"size {size}", f"the {what} has no inputs", "leave u out")
