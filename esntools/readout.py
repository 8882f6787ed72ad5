"""The readout psi, affine in x or in [x, x∘x], and the check that every weight array passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError

__all__ = ["Readout", "checked_array"]


def checked_array(value: ArrayLike, place: str, shape: tuple[int | None, ...], meaning: str) -> FloatArray:
    """Return a read-only C-contiguous float64 copy of that shape (None: any length), every entry finite."""
    try:
        raw = np.asarray(value)
    except ValueError:
        raise InvalidInputError(place, "a ragged list", "must be an array of real numbers") from None
    # Neither text that looks like numbers nor the real part of complex numbers.
    if raw.dtype.kind not in "biuf":
        kind = raw.dtype.name if raw.dtype.kind != "O" else type(value).__name__
        raise InvalidInputError(place, kind, "must be an array of real numbers")
    array = np.array(raw, dtype=np.float64, order="C")
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape)):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise InvalidInputError(place, f"shape {array.shape}", f"must have shape {wanted}, {meaning}")
    if not np.all(np.isfinite(array)):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(f"{place}{list(index)}", str(array[index]), "every entry must be finite")
    # -0.0 and 0.0 are the same weight and must hash alike.
    array += 0.0
    array.setflags(write=False)
    return array


@final
@dataclass(frozen=True, eq=False, repr=False)
class Readout:
    r"""The readout :math:`\psi(x) = W_\mathrm{out}\, x + W_\mathrm{sq}\, (x \circ x) + b_\mathrm{out}`.

    Parameters
    ----------
    W_out : array_like, shape (n_outputs, n_units)
    W_sq : array_like, shape (n_outputs, n_units), optional
        Weights of the squares; None (the default) for an affine readout.
    b_out : array_like, shape (n_outputs,), optional
        Zero by default.

    Examples
    --------
    >>> Readout([[1.0, 0.0]], W_sq=[[0.0, 2.0]], b_out=[0.5])(np.array([1.0, 3.0]))
    array([19.5])
    """

    W_out: FloatArray
    W_sq: FloatArray | None = None
    b_out: FloatArray = None  # type: ignore[assignment]

    if TYPE_CHECKING:
        # The constructor takes more than the fields hold after it.
        def __init__(
            self, W_out: ArrayLike, W_sq: ArrayLike | None = None, b_out: ArrayLike | None = None
        ) -> None: ...

    def __post_init__(self) -> None:
        W_out = checked_array(self.W_out, "W_out", (None, None), "(n_outputs, n_units)")
        object.__setattr__(self, "W_out", W_out)
        if self.W_sq is not None:
            W_sq = checked_array(self.W_sq, "W_sq", W_out.shape, "(n_outputs, n_units)")
            object.__setattr__(self, "W_sq", W_sq)
        b_out = np.zeros(len(W_out)) if self.b_out is None else self.b_out
        object.__setattr__(self, "b_out", checked_array(b_out, "b_out", (len(W_out),), "(n_outputs,)"))

    def __repr__(self) -> str:
        kind = "affine" if self.is_affine else "affine in [x, x*x]"
        return f"Readout({kind}, n_outputs={self.n_outputs}, n_units={self.n_units})"

    @property
    def n_outputs(self) -> int:
        return int(self.W_out.shape[0])

    @property
    def n_units(self) -> int:
        return int(self.W_out.shape[1])

    @property
    def is_affine(self) -> bool:
        return self.W_sq is None

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return psi(x) for states of shape (..., n_units)."""
        x = np.asarray(x, dtype=np.float64)
        y = x @ self.W_out.T + self.b_out
        return y if self.W_sq is None else y + (x * x) @ self.W_sq.T

    def jacobian(self, x: FloatArray) -> FloatArray:
        """Return D psi(x) = W_out + 2 W_sq diag(x), shape (n_outputs, n_units), for one state x."""
        if self.W_sq is None:
            return self.W_out
        return np.asarray(self.W_out + 2.0 * self.W_sq * np.asarray(x, dtype=np.float64))
