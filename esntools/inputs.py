"""What drives a network. A claim about a network quantifies over exactly one of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import Document, FloatArray
from esntools.errors import InvalidInputError

__all__ = ["AnyInput", "Constant", "InputAlphabet", "InputBox", "InputClass", "InputSignal", "Zero"]


def _vector(value: ArrayLike, place: str) -> FloatArray:
    vector = np.atleast_1d(np.array(value, dtype=np.float64))
    if vector.ndim != 1:
        raise InvalidInputError(place, f"shape {vector.shape}", "must be a number or a vector (n_inputs,)")
    if not np.all(np.isfinite(vector)):
        raise InvalidInputError(place, str(value), "every entry must be finite")
    vector.setflags(write=False)
    return vector


def _matrix(value: ArrayLike, place: str) -> FloatArray:
    matrix = np.array(value, dtype=np.float64)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or len(matrix) == 0:
        raise InvalidInputError(place, f"shape {matrix.shape}", "must be (n_steps, n_inputs), n_steps >= 1")
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        k, j = bad[0]
        raise InvalidInputError(f"{place}[{k}, {j}]", str(matrix[k, j]), "every entry must be finite")
    matrix.setflags(write=False)
    return matrix


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

    >>> InputBox(-1, 1).low, InputBox([-1, 0], [1, 2]).high
    (array([-1.]), array([1., 2.]))
    """

    low: FloatArray
    high: FloatArray

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        lows, highs = np.broadcast_arrays(_vector(low, "InputBox.low"), _vector(high, "InputBox.high"))
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
    """One recorded input series u of shape (n_steps, n_inputs)."""

    u: FloatArray

    def __init__(self, u: ArrayLike) -> None:
        object.__setattr__(self, "u", _matrix(u, "InputSignal.u"))

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
