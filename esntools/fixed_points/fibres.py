r"""Directional fibres: curves that pass through fixed points, one after the other.

For a direction c the solutions (x, alpha) of :math:`F(x) - x = \alpha c` form curves, and every crossing of
:math:`\alpha = 0` is a fixed point. Followed from a point that is known, such a curve leads to others,
however small their basins are for an iteration. Signs of :math:`\det(I - DF)` alternate along it.

A network with few outputs fed back has the fibres of its reduced map :math:`y \mapsto \psi(x(y))`, x(y) being
the state at which the reservoir settles with its feedback held at y: the offset alpha c is then added to the
feedback, :math:`x = \varphi(W x + W_\mathrm{fb}(\psi(x) + \alpha c) + b)`, which asks for nothing to settle.
"""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray
from esntools.fixed_points.equations import Equation, NetworkEquation

__all__ = ["fibre_crossings"]

# Of a bounded map, only the two ends of the curve lie beyond this multiple of a known root.
_FAR: Final = 8.0


class _Fibre:
    """H(x, alpha) = 0, with its Jacobian (n, n + 1)."""

    def __init__(self, equation: Equation, direction: FloatArray, *, in_feedback: bool) -> None:
        self.equation, self.n = equation, equation.n_unknowns
        self.offset = direction
        self.inside = in_feedback
        if in_feedback:
            assert isinstance(equation, NetworkEquation)
            assert equation.network.W_fb is not None
            self.offset = equation.network.W_fb @ direction

    def __call__(self, y: FloatArray) -> FloatArray:
        x, shift = y[None, : self.n], y[self.n] * self.offset
        if self.inside and isinstance(self.equation, NetworkEquation):
            return np.asarray(self.equation.image(x, shift)[0] - x[0])
        return np.asarray(self.equation.image(x)[0] - x[0] - shift)

    def jacobian(self, y: FloatArray) -> FloatArray:
        x, shift = y[None, : self.n], y[self.n] * self.offset
        A = np.empty((self.n, self.n + 1))
        if self.inside and isinstance(self.equation, NetworkEquation):
            derivative = self.equation.linearise(x, shift)[1]
            z = self.equation.preactivation(x)[0] + shift
            A[:, self.n] = self.equation.network.activation.slope(z) * self.offset
        else:
            derivative = self.equation.linearise(x)[1]
            A[:, self.n] = -self.offset
        A[:, : self.n] = derivative.matrices()[0] - np.eye(self.n)
        return A


def _factors(A: FloatArray, row: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    bordered = np.vstack([A, row])
    if not np.all(np.isfinite(bordered)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        lu, pivots = scipy.linalg.lu_factor(bordered, check_finite=False, overwrite_a=True)
    return None if np.min(np.abs(np.diag(lu))) == 0.0 else (lu, pivots)


def _corrected(
    fibre: _Fibre, lu: tuple[FloatArray, FloatArray], row: FloatArray, y: FloatArray, size: float
) -> FloatArray | None:
    """Return the point of the curve next to y in the plane with normal `row`, by chord iteration."""
    last = np.inf
    for _ in range(10):
        r = fibre(y)
        norm = float(np.max(np.abs(r)))
        if norm < 1e-9 * size:
            return y
        if not norm < 0.7 * last:
            return None
        last = norm
        y = y - scipy.linalg.lu_solve(lu, np.append(r, 0.0), check_finite=False)
    return None


def fibre_crossings(
    equation: Equation,
    x: FloatArray,
    direction: FloatArray,
    *,
    in_feedback: bool = False,
    max_steps: int = 400,
    first_step: float = 0.02,
) -> FloatArray:
    """Return the states next to which the fibre through the root x in that direction crosses alpha = 0.

    Both ways from x, by pseudo-arclength continuation (one dense LU per step, for predictor and chord
    corrector alike), until the curve is far away, comes back to x, or the steps are used up. The states
    (rows) are interpolated and have to be polished. With `in_feedback` the direction has the length of the
    network's outputs.

    References
    ----------
    G. E. Katz, J. A. Reggia, IEEE Trans. Neural Networks and Learning Systems 29 (2018) 3636,
    doi:10.1109/TNNLS.2017.2733544.
    """
    n = len(x)
    size = max(1.0, float(np.max(np.abs(x))))
    scale = float(np.sqrt(n))
    fibre = _Fibre(equation, direction, in_feedback=in_feedback)
    found: list[FloatArray] = []
    start = np.append(x, 0.0)
    A = fibre.jacobian(start)
    # Any row that is not orthogonal to the curve will do for the first tangent.
    row = np.append(np.zeros(n), 1.0)
    for sign in (1.0, -1.0):
        y, step, k = start.copy(), first_step * scale, 0
        t = sign * row
        lu = _factors(A, t)
        for k in range(max_steps):
            if lu is None:
                break
            new = scipy.linalg.lu_solve(lu, np.append(np.zeros(n), 1.0), check_finite=False)
            norm = float(np.linalg.norm(new))
            if not np.isfinite(norm):
                break
            old, t = t, new / norm
            y_new = None
            while y_new is None and step > 1e-6 * scale:
                y_new = _corrected(fibre, lu, old, y + step * t, size)
                if y_new is not None:
                    chord = y_new - y
                    # A sharp turn may be a jump to another branch.
                    if float(chord @ t) < 0.9 * float(np.linalg.norm(chord)):
                        y_new = None
                if y_new is None:
                    step *= 0.5
            if y_new is None:
                break
            if k and y[n] * y_new[n] <= 0.0 and y[n] != y_new[n]:
                s = y[n] / (y[n] - y_new[n])
                found.append((1.0 - s) * y[:n] + s * y_new[:n])
                if float(np.max(np.abs(found[-1] - x))) < 1e-2 * step + 1e-9:
                    break
            y = y_new
            step = min(step * 1.3, 0.5 * scale)
            reach = max(float(np.max(np.abs(y[:n]))), float(abs(y[n])) if in_feedback else 0.0)
            if reach > _FAR * size:
                break
            lu = _factors(fibre.jacobian(y), t)
    return np.array(found).reshape(len(found), n)
