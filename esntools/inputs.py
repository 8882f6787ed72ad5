"""What drives a network. A claim about a network quantifies over exactly one of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esntools._typing import Document, FloatArray
from esntools.errors import InvalidInputError
from esntools.readout import checked_array

__all__ = ["AnyInput", "Constant", "InputAlphabet", "InputBox", "InputClass", "InputSignal", "Zero"]


def _array(value: ArrayLike, place: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError:
        raise InvalidInputError(place, "a ragged list", "must be an array of real numbers") from None


def _vector(value: ArrayLike, place: str) -> FloatArray:
    return checked_array(np.atleast_1d(_array(value, place)), place, (None,), "a number or (n_inputs,)")


def _end(value: ArrayLike, place: str) -> FloatArray:
    ends = np.atleast_1d(_array(value, place))
    if ends.dtype.kind == "f" and ends.ndim == 1 and bool(np.any(np.isinf(ends))):
        j = int(np.argmax(np.isinf(ends)))
        raise InvalidInputError(
            f"{place}[{j}]", str(ends[j]), "every entry must be finite",
            "for inputs without bounds use AnyInput()",
        )  # fmt: skip
    return _vector(ends, place)


def _matrix(value: ArrayLike, place: str) -> FloatArray:
    matrix = _array(value, place)
    if matrix.dtype == object and matrix.ndim == 0:
        # Another input class, a verdict, None: its shape would say nothing.
        raise InvalidInputError(
            place, type(value).__name__, "must be an array of real numbers", "give the values of the series"
        )
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or len(matrix) == 0:
        raise InvalidInputError(place, f"shape {matrix.shape}", "must be (n_steps, n_inputs), n_steps >= 1")
    return checked_array(matrix, place, (None, None), "(n_steps, n_inputs)")


@final
@dataclass(frozen=True)
class Zero:
    """The input that is zero for ever; also the claim about a network without inputs (a closed loop)."""

    def to_document(self) -> Document:
        return {"kind": "zero"}


@final
@dataclass(frozen=True, eq=False)
class Constant:
    """One constant input u[k] = c for all k."""

    c: FloatArray

    def __init__(self, c: ArrayLike) -> None:
        object.__setattr__(self, "c", _vector(c, "Constant.c"))

    def to_document(self) -> Document:
        return {"kind": "constant", "c": self.c.tolist()}


@final
@dataclass(frozen=True, eq=False)
class InputBox:
    """Every input sequence, varying in time, with low <= u[k] <= high componentwise.

    An end that is one number holds for every component of the other end.

    >>> InputBox(-1, 1).low, InputBox([-1, 0], [1, 2]).high
    (array([-1.]), array([1., 2.]))
    """

    low: FloatArray
    high: FloatArray

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        lows, highs = _end(low, "InputBox.low"), _end(high, "InputBox.high")
        if len(lows) != len(highs) and 1 not in (len(lows), len(highs)):
            raise InvalidInputError(
                "InputBox", f"{len(lows)} lower and {len(highs)} upper ends", "must be equally many, or one"
            )
        lows, highs = np.broadcast_arrays(lows, highs)
        for j, (a, b) in enumerate(zip(lows, highs, strict=True)):
            if a > b:
                raise InvalidInputError(
                    f"InputBox[{j}]", f"[{a}, {b}]", "low must not exceed high", "swap the two ends"
                )
        object.__setattr__(self, "low", _vector(lows, "InputBox.low"))
        object.__setattr__(self, "high", _vector(highs, "InputBox.high"))

    def to_document(self) -> Document:
        return {"kind": "box", "low": self.low.tolist(), "high": self.high.tolist()}


@final
@dataclass(frozen=True)
class AnyInput:
    """Every input sequence, every input weight and every bias: any drive v[k] in R^N at any time."""

    def to_document(self) -> Document:
        return {"kind": "any"}


@final
@dataclass(frozen=True, eq=False)
class InputSignal:
    """One recorded input series u of shape (n_steps, n_inputs), or (n_steps,) for one input.

    A function that asks for the series itself may be given an `InputSignal` as well.

    >>> InputSignal(InputSignal([0.5, 1.0])).u.shape
    (2, 1)
    """

    u: FloatArray

    def __init__(self, u: ArrayLike | InputSignal) -> None:
        series = u.u if isinstance(u, InputSignal) else u
        object.__setattr__(self, "u", _matrix(series, "InputSignal.u"))

    def hull(self) -> InputBox:
        """Return the smallest box that holds the series."""
        return InputBox(self.u.min(axis=0), self.u.max(axis=0))

    def to_document(self) -> Document:
        return {"kind": "signal", "u": self.u.tolist()}


@final
@dataclass(frozen=True, eq=False)
class InputAlphabet:
    """Every sequence over finitely many input vectors (the rows of `symbols`)."""

    symbols: FloatArray

    def __init__(self, symbols: ArrayLike) -> None:
        object.__setattr__(self, "symbols", _matrix(symbols, "InputAlphabet.symbols"))

    def hull(self) -> InputBox:
        """Return the smallest box that holds the symbols."""
        return InputBox(self.symbols.min(axis=0), self.symbols.max(axis=0))

    def to_document(self) -> Document:
        return {"kind": "alphabet", "symbols": self.symbols.tolist()}


#: What a claim can quantify over.
InputClass: TypeAlias = Zero | Constant | InputBox | AnyInput | InputSignal | InputAlphabet
